import { usernameKey, type UserDocument } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database, Sql, Transaction } from './open-database.ts';

/** What events of somebody erased go on telling: nothing a person typed, is called or is reached at. */
const KEPT_DETAILS = [
  'authenticator',
  'beginsLockout',
  'days',
  'degraded',
  'directory',
  'method',
  'mode',
  'mustChange',
  'protocol',
  'question',
  'repeated',
  'revision',
  'skipped',
  'stopFact',
  'type',
  'unanswered',
  'verification',
];
/** Rows changed in one statement. */
const SLICE = 1000;
/** An event that was being stored while the erasure was applied is found within this. */
const LOOKED_AFTER = '5 minutes';

/** Users who were removed and are kept, by the username they had; never those who were erased. */
export async function findKeptUsers(db: Database, username: string): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from removed_users
    where not document ? 'erasedAt' and lower(document ->> 'username') = ${username.toLowerCase()}
    order by id limit 10`;
  const key = usernameKey(username);
  return rows.map(({ document }) => document).filter((one) => usernameKey(one.username) === key);
}

/**
 * Takes from the events that this node stored before it knew whatever tells who an erased user was. What is stored
 * later never has it: see {@link detailsOfErased}. Nothing to do for whom it was done, so it may be called often.
 * @returns how many events were changed
 */
export async function eraseFromEvents(db: Database): Promise<number> {
  await db.sql`
    insert into erasures (user_id) select id from removed_users where document ? 'erasedAt'
    on conflict do nothing`;
  const due = await db.sql<{ id: string; pseudonym: string }[]>`
    select r.id, r.document ->> 'username' as pseudonym from removed_users r
    join erasures e on e.user_id = r.id
    where r.document ? 'erasedAt' and e.since > now() - ${LOOKED_AFTER}::interval order by r.id`;
  let changed = 0;
  for (const { id, pseudonym } of due) {
    for (;;) {
      const rows = await eraseSlice(db, id, pseudonym);
      changed += rows;
      if (rows < SLICE) break;
    }
  }
  return changed;
}

async function eraseSlice(db: Database, userId: string, pseudonym: string): Promise<number> {
  const done = await db.sql`
    update events set username = ${pseudonym}, username_key = ${usernameKey(pseudonym)},
      client_address = null, details = ${detailsOfErased(db.sql, db.sql`details`)}
    where (day, id) in (
      select day, id from events
      where user_id = ${userId} and username is distinct from ${pseudonym} limit ${SLICE})`;
  return done.count;
}

/** The SQL of what may stay of an event's details. */
export function detailsOfErased(sql: Sql | Transaction, details: ReturnType<Sql>): ReturnType<Sql> {
  return sql`(
    select coalesce(jsonb_object_agg(key, value), '{}') from jsonb_each(${details})
    where key in (select jsonb_array_elements_text(${jsonText(KEPT_DETAILS)}::text::jsonb)))`;
}
