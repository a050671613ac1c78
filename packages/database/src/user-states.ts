import type { UserState } from '@countersign/verification';
import { eq } from './drizzle.ts';
import { jsonText } from './json-text.ts';
import type { Database, Transaction } from './open-database.ts';
import { storePosition } from './positions.ts';
import { userStates } from './schema.ts';

export type StoredUserState = {
  userId: string;
  /** Revision of the user's key in the bucket. */
  revision: number;
  /** null: the key was deleted. */
  state: UserState | null;
};

/** Stores what is newer than what is here, together with the follower's position. */
export async function storeUserStates(
  db: Database,
  rows: readonly StoredUserState[],
  position: number,
): Promise<void> {
  await db.transaction(async (tx) => {
    await Promise.all([
      rows.length > 0 && upsertStates(tx, rows),
      storePosition(tx, 'states', position),
    ]);
  });
}

export async function readUserState(db: Database, userId: string): Promise<StoredUserState | null> {
  const [found] = await db.orm.select().from(userStates).where(eq(userStates.userId, userId));
  return found ?? null;
}

async function upsertStates(tx: Transaction, rows: readonly StoredUserState[]): Promise<void> {
  await tx`
    insert into user_states (user_id, revision, state)
    select distinct on ("userId") "userId", revision, state
    from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
      as input("userId" uuid, revision bigint, state jsonb)
    order by "userId", revision desc
    on conflict (user_id) do update set revision = excluded.revision, state = excluded.state
      where user_states.revision < excluded.revision`;
}

/** Known states by user id, from behind `after` on; users whose state was deleted are left out. */
export async function listUserStates(
  db: Database,
  options: { after: string | null; limit: number },
): Promise<{ userId: string; state: UserState }[]> {
  return db.sql<{ userId: string; state: UserState }[]>`
    select user_id as "userId", state from user_states
    where state is not null and user_id > ${options.after ?? '00000000-0000-0000-0000-000000000000'}
    order by user_id limit ${options.limit}`;
}

/**
 * The bucket is another one, or not what it was: the states here stay as what this node knows, and are compared with
 * the bucket's while that is followed from its beginning.
 */
export async function unplaceUserStates(db: Database): Promise<void> {
  await db.transaction(async (tx) => {
    await tx`update user_states set revision = 0`;
    await storePosition(tx, 'states', 0);
  });
}

/** Which of these users have a state here that was not yet compared with the bucket's. */
export async function readUnplacedStates(
  db: Database,
  userIds: readonly string[],
): Promise<{ userId: string; state: UserState }[]> {
  return db.sql<{ userId: string; state: UserState }[]>`
    select user_id as "userId", state from user_states
    join jsonb_array_elements_text(${jsonText(userIds)}::text::jsonb) as wanted(id)
      on user_id = wanted.id::uuid
    where revision = 0 and state is not null`;
}

/** States of known users, those removed and kept, and administrators that were not yet compared with the bucket's, `limit` at most. */
export async function listUnplacedStates(
  db: Database,
  limit: number,
): Promise<{ userId: string; state: UserState }[]> {
  return db.sql<{ userId: string; state: UserState }[]>`
    select user_id as "userId", state from user_states
    where revision = 0 and state is not null
      and exists (
        select 1 from users where users.id = user_states.user_id
        union all select 1 from removed_users where removed_users.id = user_states.user_id
        union all select 1 from administrators where administrators.id = user_states.user_id)
    limit ${limit}`;
}

/** Those written last, as the bucket counts. */
export async function listNewestStates(
  db: Database,
  limit: number,
): Promise<{ userId: string; revision: number }[]> {
  return db.sql<{ userId: string; revision: number }[]>`
    select user_id as "userId", revision from user_states
    where state is not null and revision > 0 order by revision desc limit ${limit}`;
}
