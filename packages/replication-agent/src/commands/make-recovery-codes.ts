import { spareCodeHash } from '@countersign/operations';
import { RECOVERY_CODES_MAX } from '@countersign/verification';
import { z } from 'zod';
import { newRecoveryCodes } from '../new-secrets.ts';
import { changeUser } from './change-user.ts';
import type { Plan, PlanContext } from './plan.ts';

export const makeRecoveryCodesArgs = z.strictObject({
  username: z.string(),
  count: z.number().int().min(1).max(RECOVERY_CODES_MAX).default(10),
});

/** New codes in place of all earlier ones; only their hashes are stored. */
export async function makeRecoveryCodes(
  context: PlanContext,
  { username, count }: z.output<typeof makeRecoveryCodesArgs>,
): Promise<Plan> {
  const { keys, commandId, now } = context;
  const at = now.toISOString();
  const codes = newRecoveryCodes(keys['new-secret'], { commandId, at }, count);
  const plan = await changeUser(context, username, (user) => ({
    ...user,
    recoveryCodes: {
      at,
      hashes: codes.map((code) => spareCodeHash(keys['spare-code'], 'recovery', user.id, code)),
    },
  }));
  if (plan.kind === 'change') plan.event.details = { count };
  return plan;
}
