import type { Database } from './open-database.ts';
import type { UserName } from './user-names.ts';

/** A document as the log brought it, beside what the tables that are queried show of it. */
export type ExaminedDocument = {
  kind: string;
  id: string;
  revision: number;
  removed: boolean;
  /** The message as received. */
  bytes: Buffer;
  /** In hex, as stored. */
  hash: string;
  /** null: no row shows it. `key` is the user name's key (null of a removed user) or the API key's hash. */
  shown: { document: unknown; revision: number; key: string | null; names?: UserName[] } | null;
};

/** The next documents by kind and id, each with its own row as of the same moment. */
export async function readDocumentSlice(
  db: Database,
  after: { kind: string; id: string },
  limit: number,
): Promise<ExaminedDocument[]> {
  // The casts stand inside the cases: an id is a uuid only for some kinds.
  return db.sql<ExaminedDocument[]>`
    select kind, id, revision, removed, bytes, encode(hash, 'hex') as hash, case kind
      when 'user' then coalesce((
        select jsonb_build_object('document', u.document, 'revision', u.revision,
          'key', username_key, 'names', coalesce((
            select jsonb_agg(jsonb_build_object('key', n.key, 'isMail', n.is_mail))
            from user_names n where n.user_id = u.id), '[]'))
        from users u where u.id = d.id::uuid), (
        select jsonb_build_object('document', r.document, 'revision', r.revision, 'key', null)
        from removed_users r where r.id = d.id::uuid))
      when 'api-key' then (
        select jsonb_build_object('document', k.document, 'revision', k.revision, 'key', secret_hash)
        from api_keys k where k.id = d.id::uuid)
      when 'settings' then (
        select jsonb_build_object('document', s.document, 'revision', s.revision, 'key', null)
        from settings_groups s where s.id = d.id)
      when 'application' then (
        select jsonb_build_object('document', a.document, 'revision', a.revision, 'key', null)
        from applications a where a.id = d.id::uuid)
      when 'administrator' then (
        select jsonb_build_object('document', a.document, 'revision', a.revision, 'key', null)
        from administrators a where a.id = d.id::uuid)
      when 'node' then (
        select jsonb_build_object('document', n.document, 'revision', n.revision, 'key', null)
        from nodes n where n.id = d.id)
      when 'directory' then (
        select jsonb_build_object('document', t.document, 'revision', t.revision, 'key', null)
        from directories t where t.id = d.id::uuid)
      when 'directory-sync' then (
        select jsonb_build_object('document', t.document, 'revision', t.revision, 'key', null)
        from directory_syncs t where t.id = d.id::uuid)
      when 'radius-client' then (
        select jsonb_build_object('document', t.document, 'revision', t.revision, 'key', null)
        from radius_clients t where t.id = d.id::uuid)
      when 'radius-target' then (
        select jsonb_build_object('document', t.document, 'revision', t.revision, 'key', null)
        from radius_targets t where t.id = d.id::uuid)
      end as shown
    from documents d
    where (kind, id) > (${after.kind}, ${after.id})
    order by kind, id limit ${limit}`;
}

const SUM_TIMEOUT_MS = 60_000;
const STRAYS_MAX = 5;

export type DocumentSum = {
  revision: number;
  incarnationId: string;
  /** What the hashes in `documents` sum up to, in hex. */
  digest: string;
  /** What was kept while applying. */
  stored: string;
  /** Rows that show documents which do not exist, or not any more; at most 5 of each kind. */
  strays: { kind: string; id: string }[];
};

/** Sums up the stored hashes and looks for rows without a document, in one snapshot. Locks nothing. */
export async function sumDocuments(db: Database): Promise<DocumentSum> {
  return db.transaction(async (tx) => {
    await tx`select set_config('statement_timeout', ${String(SUM_TIMEOUT_MS)}, true),
      set_config('max_parallel_workers_per_gather', '0', true)`;
    const [row] = await tx<(Omit<DocumentSum, 'digest' | 'strays'> & { bits: string | null })[]>`
      select revision, incarnation ->> 'id' as "incarnationId", encode(digest, 'hex') as stored,
        (select bit_xor(('x' || encode(hash, 'hex'))::bit(256))::text from documents) as bits
      from applied`;
    if (!row) throw new Error('the replica belongs to no incarnation');
    const strays = await tx<DocumentSum['strays']>`
      (select 'user' as kind, id::text from users u where not exists (
        select from documents where kind = 'user' and id = u.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'user', id::text from removed_users r where not exists (
        select from documents where kind = 'user' and id = r.id::text and not removed)
          or exists (select from users u where u.id = r.id)
        limit ${STRAYS_MAX})
      union all (select 'name of user', user_id::text from user_names n where not exists (
        select from users u where u.id = n.user_id)
        limit ${STRAYS_MAX})
      union all (select 'api-key', id::text from api_keys k where not exists (
        select from documents where kind = 'api-key' and id = k.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'settings', id from settings_groups s where not exists (
        select from documents where kind = 'settings' and id = s.id and not removed)
        limit ${STRAYS_MAX})
      union all (select 'application', id::text from applications a where not exists (
        select from documents where kind = 'application' and id = a.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'administrator', id::text from administrators a where not exists (
        select from documents where kind = 'administrator' and id = a.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'node', id from nodes n where not exists (
        select from documents where kind = 'node' and id = n.id and not removed)
        limit ${STRAYS_MAX})
      union all (select 'directory', id::text from directories t where not exists (
        select from documents where kind = 'directory' and id = t.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'directory-sync', id::text from directory_syncs t where not exists (
        select from documents where kind = 'directory-sync' and id = t.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'radius-client', id::text from radius_clients t where not exists (
        select from documents where kind = 'radius-client' and id = t.id::text and not removed)
        limit ${STRAYS_MAX})
      union all (select 'radius-target', id::text from radius_targets t where not exists (
        select from documents where kind = 'radius-target' and id = t.id::text and not removed)
        limit ${STRAYS_MAX})`;
    const { bits, ...rest } = row;
    const digest = BigInt(`0b${bits ?? '0'}`).toString(16);
    return { ...rest, digest: digest.padStart(64, '0'), strays: [...strays] };
  }, 'isolation level repeatable read read only');
}

/** What an examination found; `problem` is null where nothing was wrong. */
export type StoredExamination = { incarnationId: string; revision: number; problem: string | null };

/** What the last examination found, kept so that a restart does not forget it. */
export async function readExamination(db: Database): Promise<StoredExamination | null> {
  const [row] = await db.sql<StoredExamination[]>`
    select incarnation_id as "incarnationId", revision, problem from examination`;
  return row ?? null;
}

export async function storeExamination(db: Database, found: StoredExamination): Promise<void> {
  await db.sql`
    insert into examination (at, incarnation_id, revision, problem)
    values (now(), ${found.incarnationId}, ${found.revision}, ${found.problem})
    on conflict (only_row) do update set at = excluded.at,
      incarnation_id = excluded.incarnation_id, revision = excluded.revision,
      problem = excluded.problem`;
}
