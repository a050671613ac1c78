import { findUsersByKey } from '@countersign/database';
import { usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { signInArgs, withModes } from './sign-in-args.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const setUserArgs = z.strictObject({
  username: z.string(),
  changes: z.strictObject({
    username: z.string().optional(),
    displayName: z.string().nullish(),
    email: z.string().nullish(),
    enabled: z.boolean().optional(),
    ...signInArgs,
  }),
});

export async function setUser(
  context: PlanContext,
  args: z.output<typeof setUserArgs>,
): Promise<Plan> {
  const { username, displayName, email, enabled, method, modes, language } = args.changes;
  const plan = await changeUser(context, args.username, async (user) => {
    if (username !== undefined && usernameKey(username) !== usernameKey(user.username)) {
      const namesakes = await findUsersByKey(context.db, usernameKey(username));
      if (namesakes.length > 0) {
        return refuse(409, 'username_taken', `a user called ${username} exists already`);
      }
    }
    const edited: UserDocument = {
      ...user,
      username: username ?? user.username,
      enabled: enabled ?? user.enabled,
    };
    // Whoever says it by hand decides from now on: the directory gives back only what it took.
    if (enabled !== undefined && edited.directory) {
      const { isDisabledBySync: _, ...link } = edited.directory;
      edited.directory = link;
    }
    setOrClear(edited, 'displayName', displayName);
    setOrClear(edited, 'email', email);
    setOrClear(edited, 'method', method);
    setOrClear(edited, 'language', language);
    return withModes(edited, modes);
  });
  // Its user is told of it.
  if (plan.kind === 'change' && method !== undefined) plan.event.details = { method };
  return plan;
}

// undefined leaves it, null clears it.
function setOrClear<F extends 'displayName' | 'email' | 'method' | 'language'>(
  user: UserDocument,
  field: F,
  value: UserDocument[F] | null,
): void {
  if (value === null) delete user[field];
  else if (value !== undefined) user[field] = value;
}
