import type { ApiKeyDocument } from '@countersign/verification';
import { inArray } from './drizzle.ts';
import type { Database } from './open-database.ts';
import { apiKeys } from './schema.ts';

/**
 * The keys whose secrets have these hashes (lower-case hex), for several callers in one statement.
 * @returns a document for each hash, in their order; null where none or more than one has it
 */
export async function findApiKeys(
  db: Database,
  secretHashes: readonly string[],
): Promise<(ApiKeyDocument | null)[]> {
  const wanted = [...new Set(secretHashes)];
  const found = await db.orm
    .select({ secretHash: apiKeys.secretHash, document: apiKeys.document })
    .from(apiKeys)
    .where(inArray(apiKeys.secretHash, wanted));
  const byHash = Map.groupBy(found, (row) => row.secretHash);
  return secretHashes.map((hash) => {
    const rows = byHash.get(hash) ?? [];
    return rows.length === 1 ? rows[0]!.document : null;
  });
}
