import { readSettings } from '@countersign/database';
import { liftStopFacts } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import type { Plan, PlanContext } from './plan.ts';

export const blockUserArgs = z.strictObject({
  username: z.string(),
  reason: z.string(),
  days: z.number().int().min(1).max(3650).nullish(),
});

export async function blockUser(
  context: PlanContext,
  args: z.output<typeof blockUserArgs>,
): Promise<Plan> {
  const days = args.days ?? (await readSettings(context.db)).settings.blocks.days;
  const plan = await changeUser(context, args.username, (user) => ({
    // A block by command takes the place of one made of stop facts: it says how long, not they.
    ...liftStopFacts(user, []),
    blocked: {
      reason: args.reason,
      at: context.now.toISOString(),
      by: context.actor,
      expiresAt: new Date(context.now.getTime() + days * 86_400_000).toISOString(),
    },
  }));
  if (plan.kind === 'change') plan.event.details = { reason: args.reason, days };
  return plan;
}
