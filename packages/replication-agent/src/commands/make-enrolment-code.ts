import { readSettings } from '@countersign/database';
import { spareCodeHash } from '@countersign/operations';
import { z } from 'zod';
import { newEnrolmentCode } from '../new-secrets.ts';
import { changeUser } from './change-user.ts';
import { deriveId } from './derive-id.ts';
import type { Plan, PlanContext } from './plan.ts';

export const makeEnrolmentCodeArgs = z.strictObject({
  username: z.string(),
  days: z.number().int().min(1).max(90).nullish(),
});

/** Opens the user's enrolment window: one authenticator may be enrolled with the code, which is shown once. */
export async function makeEnrolmentCode(
  context: PlanContext,
  args: z.output<typeof makeEnrolmentCodeArgs>,
): Promise<Plan> {
  const { keys, commandId, now, actor } = context;
  const { settings } = await readSettings(context.db);
  const days = args.days ?? settings.enrolment.windowDays;
  const at = now.toISOString();
  const code = newEnrolmentCode(keys['new-secret'], { commandId, at });
  const plan = await changeUser(context, args.username, (user) => ({
    ...user,
    enrolment: {
      id: deriveId(commandId, 'enrolment'),
      codeHash: spareCodeHash(keys['spare-code'], 'enrolment', user.id, code),
      at,
      by: actor,
      expiresAt: new Date(now.getTime() + days * 86_400_000).toISOString(),
    },
  }));
  if (plan.kind === 'change') plan.event.details = { days };
  return plan;
}
