import type { ApiKeyDocument } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/** `revision` is the replica's when the key was read. */
export type StoredApiKey = { document: ApiKeyDocument; revision: number };

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
    select k.secret_hash as "secretHash", k.document, a.revision
    from api_keys k cross join applied a
    where k.secret_hash in (select jsonb_array_elements_text(${wanted}::text::jsonb))`;
  const byHash = Map.groupBy(found, (row) => row.secretHash);
  return secretHashes.map((hash) => {
    const [key, other] = byHash.get(hash) ?? [];
    return key && !other ? { document: key.document, revision: key.revision } : null;
  });
}
