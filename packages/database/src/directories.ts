import type {
  DirectoryDocument,
  DirectorySyncDocument,
  UserDocument,
} from '@countersign/verification';
import { eq, sql } from './drizzle.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import { directories, directorySyncs } from './schema.ts';

const LIST_MAX = 1000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/** Every directory, by name. */
export async function listDirectories(db: Database): Promise<DirectoryDocument[]> {
  const rows = await db.orm
    .select({ document: directories.document })
    .from(directories)
    .orderBy(sql`${directories.document} ->> 'name'`, directories.id);
  return rows.map((row) => row.document);
}

/** How far the synchronisation of that directory is; null: it has not begun. */
export async function readDirectorySync(
  db: Database,
  directoryId: string,
): Promise<DirectorySyncDocument | null> {
  const [row] = await db.orm
    .select({ document: directorySyncs.document })
    .from(directorySyncs)
    .where(eq(directorySyncs.id, directoryId));
  return row?.document ?? null;
}

/**
 * The users that these objects of the directory are, in no order. Removed ones that are kept are among them: they have
 * `removedAt`.
 */
export async function findUsersByObject(
  db: Database,
  directoryId: string,
  objects: readonly string[],
): Promise<UserDocument[]> {
  // `offset 0`: each object is looked up by itself, whatever the planner guesses of the directory's size.
  const rows = await db.sql<{ document: UserDocument }[]>`
    select found.document
    from jsonb_array_elements_text(${jsonText(objects)}::text::jsonb) as wanted(object)
    cross join lateral (
      select document from users
      where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
        and document -> 'directory' ->> 'object' = wanted.object
      union all
      select document from removed_users
      where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
        and document -> 'directory' ->> 'object' = wanted.object
      offset 0
    ) as found`;
  return rows.map((row) => row.document);
}

/** Users of the directory by id, removed ones that are kept (with `removedAt`) too; `limit` is ≤ 1000. */
export async function listDirectoryUsers(
  db: Database,
  directoryId: string,
  page: { afterId?: string | undefined; limit: number },
): Promise<UserDocument[]> {
  const [after, limit] = [page.afterId ?? FIRST_ID, Math.min(page.limit, LIST_MAX)];
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from (
      (select id, document from users
        where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
          and id > ${after} order by id limit ${limit})
      union all
      (select id, document from removed_users
        where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}
          and id > ${after} order by id limit ${limit})
    ) as both_kinds order by id limit ${limit}`;
  return rows.map((row) => row.document);
}

/** Domains of other directories, as they are written there. */
export async function listForeignDomains(db: Database, directoryId: string): Promise<string[]> {
  const rows = await db.sql<{ domain: string }[]>`
    select distinct jsonb_array_elements_text(document -> 'domains') as domain
    from directories where id <> ${directoryId}`;
  return rows.map(({ domain }) => domain);
}

/** How many users there are of the directory; those removed and kept are none. */
export async function countDirectoryUsers(db: Database, directoryId: string): Promise<number> {
  const [row] = await db.sql<{ count: number }[]>`
    select count(*)::int as count from users
    where document ? 'directory' and document -> 'directory' ->> 'id' = ${directoryId}`;
  return row!.count;
}

/** Every directory by name, with how far its synchronisation is; null: it has not begun. */
export async function listDirectoriesWithSync(
  db: Database,
): Promise<{ document: DirectoryDocument; sync: DirectorySyncDocument | null }[]> {
  return db.orm
    .select({ document: directories.document, sync: directorySyncs.document })
    .from(directories)
    .leftJoin(directorySyncs, eq(directorySyncs.id, directories.id))
    .orderBy(sql`${directories.document} ->> 'name'`, directories.id);
}

/** Users with a number from their directory that waits for an administrator, by id. */
export async function listUsersWithPendingPhones(
  db: Database,
  limit: number,
): Promise<UserDocument[]> {
  const rows = await db.sql<{ document: UserDocument }[]>`
    select document from users where document -> 'directory' ? 'pendingPhones'
    order by id limit ${Math.min(limit, LIST_MAX)}`;
  return rows.map((row) => row.document);
}
