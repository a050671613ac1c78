import { findUsersByKey } from '@countersign/database';
import { AUTHENTICATORS_MAX, usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { deriveId } from './derive-id.ts';
import {
  authenticatorArgs,
  isAuthenticator,
  newAuthenticator,
  refuseTwins,
  tooMany,
} from './enroll-authenticator.ts';
import { signInArgs, withModes } from './sign-in-args.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const addUserArgs = z.strictObject({
  username: z.string(),
  displayName: z.string().nullish(),
  email: z.string().nullish(),
  enabled: z.boolean().default(true),
  ...signInArgs,
  authenticators: z.array(authenticatorArgs).max(AUTHENTICATORS_MAX).default([]),
});

export async function addUser(
  context: PlanContext,
  args: z.output<typeof addUserArgs>,
): Promise<Plan> {
  const namesakes = await findUsersByKey(context.db, usernameKey(args.username));
  if (namesakes.length > 0) return usernameTaken(args.username);
  const plan = planNewUser(context, args);
  if (plan.kind !== 'change') return plan;
  const { authenticators } = plan.document.content as UserDocument;
  return (await refuseTwins(context, authenticators, ...args.authenticators)) ?? plan;
}

export function usernameTaken(username: string): Refusal {
  return refuse(409, 'username_taken', `a user called ${username} exists already`);
}

/** For a name and tokens that nobody has. */
export function planNewUser(
  context: Pick<PlanContext, 'keys' | 'commandId' | 'actor' | 'now'>,
  args: z.output<typeof addUserArgs>,
): Plan {
  const id = deriveId(context.commandId, 'user');
  const at = context.now.toISOString();
  const authenticators = args.authenticators.map((each, index) =>
    newAuthenticator(context, each, {
      id: deriveId(context.commandId, `authenticator ${index}`),
      vouchedBy: context.actor,
    }),
  );
  const refusal = authenticators.find((each): each is Refusal => !isAuthenticator(each));
  if (refusal) return refusal;
  const added = authenticators.filter(isAuthenticator);
  const surplus = tooMany(added);
  if (surplus) return surplus;
  const user: UserDocument = {
    id,
    username: args.username,
    ...(args.displayName && { displayName: args.displayName }),
    ...(args.email && { email: args.email }),
    enabled: args.enabled,
    blocked: null,
    unlockedAt: null,
    authenticators: added,
    ...(args.method && { method: args.method }),
    ...(args.language && { language: args.language }),
    createdAt: at,
    updatedAt: at,
  };
  const content = withModes(user, args.modes);
  return {
    kind: 'change',
    document: { kind: 'user', id, removed: false, content },
    result: { id },
    event: { userId: id, username: args.username },
  };
}
