import { findUsersByKey } from '@countersign/database';
import { usernameKey, type UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { changeUser } from './change-user.ts';
import { refuse, type Plan, type PlanContext } from './plan.ts';

export const setUserArgs = z.strictObject({
  username: z.string(),
  changes: z.strictObject({
    username: z.string().optional(),
    displayName: z.string().nullish(),
    email: z.string().nullish(),
    enabled: z.boolean().optional(),
  }),
});

export async function setUser(
  context: PlanContext,
  args: z.output<typeof setUserArgs>,
): Promise<Plan> {
  const { username, displayName, email, enabled } = args.changes;
  return changeUser(context, args.username, async (user) => {
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
    setOrClear(edited, 'displayName', displayName);
    setOrClear(edited, 'email', email);
    return edited;
  });
}

// undefined leaves it, null clears it.
function setOrClear(
  user: UserDocument,
  field: 'displayName' | 'email',
  value: string | null | undefined,
): void {
  if (value === null) delete user[field];
  else if (value !== undefined) user[field] = value;
}
