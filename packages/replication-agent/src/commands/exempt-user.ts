import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

const DAYS_MAX = 365;

export const exemptUserArgs = z.strictObject({
  username: z.string(),
  reason: z.string(),
  until: z.iso.datetime().max(30),
});

/** Skips the user's second step until then: it always ends. */
export async function exemptUser(
  context: PlanContext,
  { username, reason, until }: z.output<typeof exemptUserArgs>,
): Promise<Plan> {
  const nowMs = context.now.getTime();
  const untilMs = Date.parse(until);
  if (!(untilMs > nowMs)) return refuse(400, 'invalid_request', 'until: is not in the future');
  if (untilMs > nowMs + DAYS_MAX * 86_400_000) {
    return refuse(400, 'invalid_request', `until: an exemption lasts at most ${DAYS_MAX} days`);
  }
  const exempt = {
    reason,
    at: context.now.toISOString(),
    by: context.actor,
    until: new Date(untilMs).toISOString(),
  };
  const plan = await changeUser(context, username, (user) => ({ ...user, exempt }));
  if (plan.kind === 'change') plan.event.details = { reason, until: exempt.until };
  return plan;
}

export const endExemptionArgs = z.strictObject({ username: z.string() });

export async function endExemption(
  context: PlanContext,
  { username }: z.output<typeof endExemptionArgs>,
): Promise<Plan> {
  return changeUser(context, username, ({ exempt: _ended, ...user }) => user);
}
