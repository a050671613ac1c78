import type { UserDocument } from '@countersign/verification';
import type { Database } from './open-database.ts';

const CHORES_MAX = 500;

/** Users of the directory with a number that was approved until `before`, at most 500. */
export async function listApprovedPhones(
  db: Database,
  directoryId: string,
  before: Date,
): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from users
    where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
      and document -> 'directory' ? 'pendingPhones'
      and exists (
        select from jsonb_array_elements(document -> 'directory' -> 'pendingPhones') as phone
        where phone -> 'approved' ->> 'at' <= ${before.toISOString()})
    order by id limit ${CHORES_MAX}`;
  return rows.map((row) => row.document);
}

/** Users, of whatever directory, that were removed until `before` and are kept still, at most 500. */
export async function listRemovedUsers(db: Database, before: Date): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from removed_users
    where document ? 'directory' and document ->> 'removedAt' <= ${before.toISOString()}
    order by id limit ${CHORES_MAX}`;
  return rows.map((row) => row.document);
}

/** Directories that are there no more, and how far whose synchronisation was still is; by id. */
export async function listLeftSyncs(db: Database): Promise<string[]> {
  const rows = await db.sql<{ id: string }[]>`
    select id from directory_syncs where id not in (select id from directories) order by id`;
  return rows.map(({ id }) => id);
}
