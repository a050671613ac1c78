import { count, eq } from './drizzle.ts';
import type { ChangeKind } from './apply-changes.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import { documents } from './schema.ts';

/** How many documents of the kind there ever were: removed ones count. */
export async function countDocuments(db: Database, kind: ChangeKind): Promise<number> {
  const [row] = await db.orm
    .select({ count: count() })
    .from(documents)
    .where(eq(documents.kind, kind));
  return row?.count ?? 0;
}

/** A document as it stands in the log. */
export type DocumentRow = {
  kind: ChangeKind;
  id: string;
  revision: number;
  removed: boolean;
  bytes: Buffer;
};

/**
 * What people and the master wrote, by kind and id, from behind `after` on: no epochs, probes and seals.
 * `sinceRevision` leaves out what is older.
 */
export async function listDocuments(
  db: Database,
  options: {
    after: { kind: string; id: string } | null;
    limit: number;
    sinceRevision?: number;
    withRemoved?: boolean;
    withProbes?: boolean;
  },
): Promise<DocumentRow[]> {
  const { after, limit, sinceRevision = 0, withRemoved = false, withProbes = false } = options;
  return db.sql<DocumentRow[]>`
    select kind, id, revision, removed, bytes from documents
    where kind not in ('epoch', 'seal') and (kind <> 'probe' or ${withProbes})
      and revision >= ${sinceRevision} and (not removed or ${withRemoved})
      and (kind, id) > (${after?.kind ?? ''}, ${after?.id ?? ''})
    order by kind, id limit ${limit}`;
}

/** These documents as they stand in the log, in no order; those that there never were are missing. */
export async function readDocuments(
  db: Database,
  wanted: readonly { kind: string; id: string }[],
): Promise<DocumentRow[]> {
  const input = jsonText(wanted.map(({ kind, id }) => ({ kind, id })));
  return db.sql<DocumentRow[]>`
    select kind, id, revision, removed, bytes from documents
    join jsonb_to_recordset(${input}::text::jsonb) as wanted(kind text, id text) using (kind, id)`;
}

/** All that {@link listDocuments} lists with everything. */
export async function countAllDocuments(db: Database): Promise<number> {
  const [row] = await db.sql<{ count: number }[]>`
    select count(*)::int as count from documents where kind not in ('epoch', 'seal')`;
  return row?.count ?? 0;
}

/** One document as it stands in the log; null where there never was one. */
export async function readDocument(
  db: Database,
  kind: ChangeKind,
  id: string,
): Promise<DocumentRow | null> {
  const [row] = await db.sql<DocumentRow[]>`
    select kind, id, revision, removed, bytes from documents where kind = ${kind} and id = ${id}`;
  return row ?? null;
}

/** All of a kind that were not removed, by id: for kinds of which there are few. */
export async function listDocumentsOfKind(db: Database, kind: ChangeKind): Promise<DocumentRow[]> {
  return db.sql<DocumentRow[]>`
    select kind, id, revision, removed, bytes from documents
    where kind = ${kind} and not removed order by id`;
}

/** Where the rebuild that made this replica's incarnation ended; null in the first incarnation. */
export async function findSeal(db: Database): Promise<number | null> {
  const [row] = await db.sql<{ revision: number }[]>`
    select revision from documents where kind = 'seal' order by revision desc limit 1`;
  return row?.revision ?? null;
}

/** Names of users blocked now, by name. */
export async function listBlockedUsers(db: Database, limit: number): Promise<string[]> {
  const rows = await db.sql<{ username: string }[]>`
    select document ->> 'username' as username from users
    where document -> 'blocked' ->> 'expiresAt' > ${new Date().toISOString()}
    order by username_key limit ${limit}`;
  return rows.map(({ username }) => username);
}

/** Names of the API keys there are, by name. */
export async function listApiKeyNames(db: Database, limit: number): Promise<string[]> {
  const rows = await db.sql<{ name: string }[]>`
    select document ->> 'name' as name from api_keys order by 1 limit ${limit}`;
  return rows.map(({ name }) => name);
}
