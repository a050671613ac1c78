import { findUsersByKey } from '@countersign/database';
import { AUTHENTICATORS_MAX, usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import { authenticatorArgs, isAuthenticator, newAuthenticator } from './enroll-authenticator.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const addUserArgs = z.strictObject({
  username: z.string(),
  displayName: z.string().nullish(),
  email: z.string().nullish(),
  enabled: z.boolean().default(true),
  authenticators: z.array(authenticatorArgs).max(AUTHENTICATORS_MAX).default([]),
});

export async function addUser(
  context: PlanContext,
  args: z.output<typeof addUserArgs>,
): Promise<Plan> {
  const namesakes = await findUsersByKey(context.db, usernameKey(args.username));
  return namesakes.length > 0 ? usernameTaken(args.username) : planNewUser(context, args);
}

export function usernameTaken(username: string): Refusal {
  return refuse(409, 'username_taken', `a user called ${username} exists already`);
}

/** For a name that nobody has. */
export function planNewUser(
  context: Pick<PlanContext, 'seedKey' | 'commandId' | 'now'>,
  args: z.output<typeof addUserArgs>,
): Plan {
  const id = deriveId(context.commandId, 'user');
  const at = context.now.toISOString();
  const authenticators = args.authenticators.map((each, index) =>
    newAuthenticator(context, each, deriveId(context.commandId, `authenticator ${index}`)),
  );
  const refusal = authenticators.find((each): each is Refusal => !isAuthenticator(each));
  if (refusal) return refusal;
  const content: UserDocument = {
    id,
    username: args.username,
    ...(args.displayName && { displayName: args.displayName }),
    ...(args.email && { email: args.email }),
    enabled: args.enabled,
    blocked: null,
    unlockedAt: null,
    authenticators: authenticators.filter(isAuthenticator),
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
