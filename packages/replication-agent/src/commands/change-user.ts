import { isDeepStrictEqual } from 'node:util';
import type { UserDocument } from '@countersign/verification';
import { findOneUser, isRefusal } from './find-one-user.ts';
import type { Plan, PlanContext, Refusal } from './plan.ts';

/** Plans one change of an existing user's document; an edit that changes nothing writes nothing. */
export async function changeUser(
  context: PlanContext,
  username: string,
  edit: (user: UserDocument) => UserDocument | Refusal | Promise<UserDocument | Refusal>,
  result: Record<string, unknown> = {},
): Promise<Plan> {
  const user = await findOneUser(context, username);
  if (isRefusal(user)) return user;
  const edited = await edit(user);
  if (isRefusal(edited)) return edited;
  if (isDeepStrictEqual(edited, user)) return { kind: 'unchanged', result: { userId: user.id } };
  const content: UserDocument = { ...edited, updatedAt: context.now.toISOString() };
  return {
    kind: 'change',
    document: { kind: 'user', id: user.id, removed: false, content },
    result: { userId: user.id, ...result },
    event: { userId: user.id, username: content.username },
  };
}
