import { z } from 'zod';
import { findOneUser, isRefusal } from './find-one-user.ts';
import type { Plan, PlanContext } from './plan.ts';

export const removeUserArgs = z.strictObject({ username: z.string() });

export async function removeUser(
  context: PlanContext,
  args: z.output<typeof removeUserArgs>,
): Promise<Plan> {
  const user = await findOneUser(context, args.username);
  if (isRefusal(user)) return user;
  return {
    kind: 'change',
    document: { kind: 'user', id: user.id, removed: true, content: null },
    result: { id: user.id },
    event: { userId: user.id, username: user.username },
  };
}
