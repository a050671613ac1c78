import { usernameKey } from '@countersign/verification';
import type { UserDocument } from '@countersign/verification';

export type UserName = { key: string; isMail: boolean };

/** What a user is found by besides the username: all of it comes from the user's directory. */
export function namesOf({ username, directory }: UserDocument): UserName[] {
  if (!directory) return [];
  const names = new Map<string, UserName>();
  for (const mail of directory.mails) add(mail, true);
  for (const name of directory.names) add(name, false);
  names.delete(usernameKey(username));
  return [...names.values()];

  function add(name: string, isMail: boolean): void {
    const key = usernameKey(name);
    names.set(key, { key, isMail });
  }
}
