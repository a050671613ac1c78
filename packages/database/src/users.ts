import {
  failuresInForce,
  isLocked,
  LOCKED_UNTIL_UNLOCKED,
  usernameKey,
} from '@countersign/verification';
import type { StopFact, UserDocument, UserState } from '@countersign/verification';
import { and, asc, eq, gt, inArray, sql } from './drizzle.ts';
import type { SQL } from 'drizzle-orm';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import { users, userStates } from './schema.ts';
import { FITTING_USERS, usersMeant } from './user-names.ts';
import type { Fitting } from './user-names.ts';

export type StoredUser = {
  id: string;
  document: UserDocument;
  revision: number;
  /** As this node knows it; null where nothing was recorded yet. */
  state: UserState | null;
  /** Revision of the state's key; 0 where it is unknown. */
  stateRevision: number;
};

type SelectedUser = StoredUser & { stopFacts: StopFact[] };

/** ISO time; the far future where only an administrator ends the lockout. */
export type ListedUser = SelectedUser & { lockedUntil: string | null };

const LIST_MAX = 1000;
const NAMESAKES_MAX = 10;
const UNTIL_UNLOCKED = '9999-12-31T23:59:59.999Z';

/** The user of this name, as typed by an administrator; `ambiguous` where several have it. */
export async function findUser(
  db: Database,
  username: string,
): Promise<ListedUser | null | 'ambiguous'> {
  const found = await findUsersByName(db, username);
  if (found.length > 1) return 'ambiguous';
  return found[0] ? withLock(found[0]) : null;
}

/**
 * Users whom an administrator means by this name, as typed: by username, else by what their directory calls them (see
 * {@link usersMeant}). Several mean that the name is ambiguous; there may be more.
 */
export async function findUsersByName(db: Database, name: string): Promise<SelectedUser[]> {
  const key = usernameKey(name);
  if (key.includes('\0')) return [];
  const fitting = await db.sql<(Fitting & { id: string })[]>`
    select u.id, u.by, u.document ? 'directory' as "isOfDirectory" from (select ${key}::text collate "C" as key) as k
    cross join lateral (${db.sql.unsafe(FITTING_USERS)}) as u`;
  const ids = usersMeant(fitting, 'administration').map(({ id }) => id);
  if (ids.length === 0) return [];
  return selectUsers(db).where(inArray(users.id, ids)).orderBy(asc(users.id));
}

/** Users with this username: more than one means it is ambiguous. At most 10 are returned. */
export async function findUsersByKey(db: Database, key: string): Promise<SelectedUser[]> {
  if (key.includes('\0')) return [];
  return selectUsers(db)
    .where(eq(users.usernameKey, key))
    .orderBy(asc(users.id))
    .limit(NAMESAKES_MAX);
}

export async function findUserById(db: Database, userId: string): Promise<UserDocument | null> {
  const [user] = await selectUsers(db).where(eq(users.id, userId));
  return user?.document ?? null;
}

/** Which of these keys a user has. */
export async function findTakenKeys(db: Database, keys: readonly string[]): Promise<Set<string>> {
  const rows = await db.sql<{ key: string }[]>`
    select distinct u.username_key as key
    from jsonb_array_elements_text(${jsonText(keys)}::text::jsonb) as wanted(key)
    join users u on u.username_key = wanted.key`;
  return new Set(rows.map((row) => row.key));
}

/**
 * The usernames' keys of users who have these keys as other names: at most two for each, which is enough to tell that a
 * name is ambiguous.
 */
export async function findUsernamesBehind(
  db: Database,
  keys: readonly string[],
): Promise<string[]> {
  const rows = await db.sql<{ key: string }[]>`
    select u.username_key as key
    from jsonb_array_elements_text(${jsonText(keys)}::text::jsonb) as wanted(key)
    cross join lateral (
      select user_id from user_names where key = wanted.key order by is_mail limit 2) as n
    join users u on u.id = n.user_id`;
  return rows.map((row) => row.key);
}

/** The users whose usernames have these keys, in no order. */
export async function findUsersByKeys(
  db: Database,
  keys: readonly string[],
): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select u.document
    from (select distinct jsonb_array_elements_text(${jsonText(keys)}::text::jsonb) as key) as wanted
    join users u on u.username_key = wanted.key`;
  return rows.map((row) => row.document);
}

/** Those of these users that exist. */
export async function findUsersById(db: Database, ids: readonly string[]): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select u.document
    from jsonb_array_elements_text(${jsonText(ids)}::text::jsonb) as wanted(id)
    join users u on u.id = wanted.id::uuid`;
  return rows.map((row) => row.document);
}

/**
 * Users in the order of their keys. `after` and `search` are as typed; `limit` is ≤ 1000; `exempt`: only those who skip
 * the second step now.
 */
export async function listUsers(
  db: Database,
  page: { after?: string; limit: number; search?: string; exempt?: boolean },
): Promise<ListedUser[]> {
  const conditions: SQL[] = [];
  if (page.after !== undefined) {
    conditions.push(gt(users.usernameKey, usernameKey(withoutNul(page.after))));
  }
  if (page.exempt) {
    conditions.push(sql`${users.document} ? 'exempt'
      and ${users.document} -> 'exempt' ->> 'until' > ${new Date().toISOString()}`);
  }
  if (page.search) {
    const key = usernameKey(withoutNul(page.search));
    conditions.push(sql`(strpos(${users.usernameKey}, ${key}) > 0
      or strpos(lower(${users.document} ->> 'displayName'), ${key}) > 0
      or strpos(lower(${users.document} ->> 'email'), ${key}) > 0)`);
  }
  const found = await selectUsers(db)
    .where(and(...conditions))
    .orderBy(asc(users.usernameKey), asc(users.id))
    .limit(Math.min(page.limit, LIST_MAX));
  return found.map(withLock);
}

function selectUsers(db: Database) {
  return db.orm
    .select({
      id: users.id,
      document: users.document,
      revision: users.revision,
      state: userStates.state,
      stateRevision: sql<number>`coalesce(${userStates.revision}, 0)`,
      stopFacts: sql<StopFact[]>`coalesce((
        select jsonb_agg(f.fact order by f.at, f.id) from stop_facts f
        where f.kind = 'user' and f.subject = ${users.id}::text), '[]')`,
    })
    .from(users)
    .leftJoin(userStates, eq(userStates.userId, users.id));
}

function withLock(user: SelectedUser): ListedUser {
  return { ...user, lockedUntil: user.state && lockedUntil(user.document, user.state) };
}

function lockedUntil(document: UserDocument, state: UserState): string | null {
  const failures = failuresInForce(state.methods.code, document);
  if (!isLocked(failures, Date.now())) return null;
  if (failures.lockedUntil === LOCKED_UNTIL_UNLOCKED) return UNTIL_UNLOCKED;
  return new Date(failures.lockedUntil).toISOString();
}

/** PostgreSQL refuses NUL in text, and no name has one. */
function withoutNul(text: string): string {
  return text.replaceAll('\0', '');
}

/** Names of users who skip the second step now, those whose exemption ends last first. */
export async function listExemptUsers(db: Database, now: Date, limit: number): Promise<string[]> {
  const rows = await db.sql<{ username: string }[]>`
    select document ->> 'username' as username from users
    where document ? 'exempt' and document -> 'exempt' ->> 'until' > ${now.toISOString()}
    order by document -> 'exempt' ->> 'until' desc limit ${limit}`;
  return rows.map(({ username }) => username);
}
