import { readSettings } from '@countersign/database';
import { FRAUD_REASON } from '@countersign/operations';
import { liftStopFacts } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import type { Plan, PlanContext, PlannedEvent } from './plan.ts';

export const reportFraudArgs = z.strictObject({
  username: z.string(),
  reason: z.string().min(1).max(400).nullish(),
});

/** Somebody says that a verification was not theirs: always an event, and a block where the settings want it. */
export async function reportFraud(
  context: PlanContext,
  { username, reason }: z.output<typeof reportFraudArgs>,
): Promise<Plan> {
  const { settings } = await readSettings(context.db);
  const { onFraud, days } = settings.blocks;
  const expiresAt = new Date(context.now.getTime() + days * 86_400_000).toISOString();
  const blocked = {
    reason: reason ? `${FRAUD_REASON}: ${reason}` : FRAUD_REASON,
    at: context.now.toISOString(),
    by: context.actor,
    expiresAt,
  };
  const event: PlannedEvent = {
    type: 'fraud',
    userId: null,
    username: null,
    details: { blocks: onFraud, ...(reason && { reason }) },
  };
  const plan = await changeUser(
    context,
    username,
    (user) => {
      event.userId = user.id;
      event.username = user.username;
      // A block that lasts longer stays: no report shortens it.
      const isLonger = user.blocked !== null && user.blocked.expiresAt >= expiresAt;
      return onFraud && !isLonger ? { ...liftStopFacts(user, []), blocked } : user;
    },
    { blocked: onFraud },
  );
  if (plan.kind === 'refused') return plan;
  return { ...plan, result: { ...plan.result, blocked: onFraud }, event };
}
