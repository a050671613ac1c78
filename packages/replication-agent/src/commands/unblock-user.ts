import { listStopFactsOfUser } from '@countersign/database';
import { liftStopFacts } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import type { Plan, PlanContext } from './plan.ts';

export const unblockUserArgs = z.strictObject({ username: z.string() });

/** Lifts the block and every stop fact known here, and ends any lockout: failures recorded before now no longer count. */
export async function unblockUser(
  context: PlanContext,
  args: z.output<typeof unblockUserArgs>,
): Promise<Plan> {
  return changeUser(context, args.username, async (user) => {
    const facts = await listStopFactsOfUser(context.db, user.id);
    const lifted = liftStopFacts(
      user,
      facts.map(({ id }) => id),
    );
    return { ...lifted, blocked: null, unlockedAt: context.now.toISOString() };
  });
}
