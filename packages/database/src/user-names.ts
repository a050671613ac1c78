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

/** How a name fits a user. */
export type NameMatch = 'local username' | 'directory username' | 'directory name' | 'mail';

const RANKS: Record<'verification' | 'administration', Record<NameMatch, number>> = {
  verification: { 'local username': 0, 'directory username': 1, 'directory name': 1, mail: 2 },
  administration: { 'local username': 0, 'directory username': 0, 'directory name': 1, mail: 2 },
};

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
export function usersMeant<Row extends { match: NameMatch }>(
  rows: readonly Row[],
  use: keyof typeof RANKS,
): Row[] {
  const rankOf = ({ match }: Row) => RANKS[use][match];
  const lowest = Math.min(...rows.map(rankOf));
  return rows.filter((row) => rankOf(row) === lowest);
}

/**
 * SQL: id, document, revision and match of those whom the key `k.key` fits, each once, for {@link usersMeant}. Of the
 * names and mail addresses of directories two are enough to tell that they are ambiguous. Choosing in SQL costs a
 * verification 15 % more. No command makes namesakes, so there are not ten.
 */
export const FITTING_USERS = `
  (select id, document, revision,
    case when document ? 'directory' then 'directory username' else 'local username' end as match
    from users where username_key = k.key limit 10)
  union all
  select u.id, u.document, u.revision,
    case when n.is_mail then 'mail' else 'directory name' end as match
  from (select user_id, is_mail from user_names where key = k.key order by is_mail limit 2) as n
  join users u on u.id = n.user_id`;
