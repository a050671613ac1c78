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

/** A user whom a name fits, and by what: the username, a name that a directory has, or a mail address that it has. */
export type Fitting = { isOfDirectory: boolean; by: 'username' | 'name' | 'mail' };

/**
 * Whom a name means of all that it fits: none, one, or several where it is ambiguous. One rule, wherever people type a
 * name. The lowest rank with a match decides, and nobody is guessed:
 *
 * - 0: the username of a local user, who has no directory
 * - 1: the username of a user from a directory, or a name that the directory has for one
 * - 2: a mail address that the directory has for one: people share and reuse them
 *
 * So a directory cannot take a name away from a local user, such as an administrator's. For administration every
 * username is of rank 0, so that each user can be named, whatever aliases others have.
 */
export function usersMeant<Row extends Fitting>(
  rows: readonly Row[],
  use: 'verification' | 'administration',
): Row[] {
  const rankOf = ({ isOfDirectory, by }: Row) => {
    if (by === 'mail') return 2;
    if (by === 'name') return 1;
    return isOfDirectory && use === 'verification' ? 1 : 0;
  };
  const lowest = Math.min(...rows.map(rankOf));
  return rows.filter((row) => rankOf(row) === lowest);
}

/**
 * SQL: id, document, revision and `by` of those whom the key `k.key` fits, each once, for {@link usersMeant}. Of the
 * names and mail addresses of directories two are enough to tell that they are ambiguous; no command makes namesakes.
 * To choose in SQL too would cost a verification's read 15 % more.
 */
export const FITTING_USERS = `
  select id, document, revision, 'username' as by from users where username_key = k.key
  union all
  select u.id, u.document, u.revision, case when n.is_mail then 'mail' else 'name' end as by
  from (select user_id, is_mail from user_names where key = k.key order by is_mail limit 2) as n
  join users u on u.id = n.user_id`;
