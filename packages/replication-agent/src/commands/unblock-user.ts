import { z } from 'zod';
import { changeUser } from './change-user.ts';
import type { Plan, PlanContext } from './plan.ts';

export const unblockUserArgs = z.strictObject({ username: z.string() });

/** Lifts the block and ends any lockout: failures recorded before now no longer count. */
export async function unblockUser(
  context: PlanContext,
  args: z.output<typeof unblockUserArgs>,
): Promise<Plan> {
  return changeUser(context, args.username, (user) => ({
    ...user,
    blocked: null,
    unlockedAt: context.now.toISOString(),
  }));
}
