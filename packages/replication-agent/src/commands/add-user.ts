import { findUsersByKey } from '@countersign/database';
import { usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const addUserArgs = z.strictObject({
  username: z.string(),
  displayName: z.string().nullish(),
  email: z.string().nullish(),
  enabled: z.boolean().default(true),
});

export async function addUser(
  context: PlanContext,
  args: z.output<typeof addUserArgs>,
): Promise<Plan> {
  const namesakes = await findUsersByKey(context.db, usernameKey(args.username));
  if (namesakes.length > 0) {
    return refuse(409, 'username_taken', `a user called ${args.username} exists already`);
  }
  const id = deriveId(context.commandId, 'user');
  const at = context.now.toISOString();
  const content: UserDocument = {
    id,
    username: args.username,
    ...(args.displayName && { displayName: args.displayName }),
    ...(args.email && { email: args.email }),
    enabled: args.enabled,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
  return {
    kind: 'change',
    document: { kind: 'user', id, removed: false, content },
    result: { id },
    event: { userId: id, username: args.username },
  };
}
