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

/** Users of the directory that were removed before then and are kept still, at most 500. */
export async function listRemovedUsers(
  db: Database,
  directoryId: string,
  before: Date,
): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from removed_users
    where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
      and document ->> 'removedAt' <= ${before.toISOString()}
    order by id limit ${CHORES_MAX}`;
  return rows.map((row) => row.document);
}
