import type { ApiKeyDocument } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/**
 * The keys whose secrets have these hashes (lower-case hex), for several callers in one statement.
 * @returns a document for each hash, in their order; null where none or more than one has it
 */
export async function findApiKeys(
  db: Database,
  secretHashes: readonly string[],
): Promise<(ApiKeyDocument | null)[]> {
  const wanted = jsonText([...new Set(secretHashes)]);
  const found = await db.sql<{ secretHash: string; document: ApiKeyDocument }[]>`
    select secret_hash as "secretHash", document from api_keys
    where secret_hash in (select jsonb_array_elements_text(${wanted}::text::jsonb))`;
  const byHash = Map.groupBy(found, (row) => row.secretHash);
  return secretHashes.map((hash) => {
    const rows = byHash.get(hash) ?? [];
    return rows.length === 1 ? rows[0]!.document : null;
  });
}
