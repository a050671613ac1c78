import type { ApiKeyDocument } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/** `revision` is what {@link keysRevision} was when the key was read. */
export type StoredApiKey = { document: ApiKeyDocument; revision: number };

export type ListedApiKey = StoredApiKey & {
  /** By a stop fact: no node takes it any more. */
  isRevoked: boolean;
};

/** Grows with every change and every key revoked without the master: equal means that no key is another. */
export function keysRevision({ sql }: Database) {
  return sql`(select revision from applied)
    + (select count(*) from stop_facts where kind = 'api-key')`;
}

/**
 * The keys whose secrets have these hashes (lower-case hex), for several callers in one statement.
 * @returns a key for each hash, in their order; null where none or more than one has it
 */
export async function findApiKeys(
  db: Database,
  secretHashes: readonly string[],
): Promise<(StoredApiKey | null)[]> {
  const wanted = jsonText([...new Set(secretHashes)]);
  const found = await db.sql<(StoredApiKey & { secretHash: string })[]>`
    select k.secret_hash as "secretHash", k.document, ${keysRevision(db)} as revision
    from api_keys k
    where k.secret_hash in (select jsonb_array_elements_text(${wanted}::text::jsonb))
      and not exists (
        select from stop_facts f where f.kind = 'api-key' and f.subject = k.id::text)`;
  const byHash = Map.groupBy(found, (row) => row.secretHash);
  return secretHashes.map((hash) => {
    const [key, other] = byHash.get(hash) ?? [];
    return key && !other ? { document: key.document, revision: key.revision } : null;
  });
}

const LIST_MAX = 1000;

/** Every key, oldest first, at most 1000. */
export async function listApiKeys(db: Database): Promise<ListedApiKey[]> {
  return db.sql<ListedApiKey[]>`
    select k.document, k.revision, exists (
      select from stop_facts f where f.kind = 'api-key' and f.subject = k.id::text) as "isRevoked"
    from api_keys k order by k.document ->> 'createdAt', k.id limit ${LIST_MAX}`;
}
