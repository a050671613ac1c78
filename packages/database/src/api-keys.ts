import type { ApiKeyDocument } from '@countersign/verification';
import { eq } from 'drizzle-orm';
import type { Database } from './open-database.ts';
import { apiKeys } from './schema.ts';

/** The key whose secret has this hash (lower-case hex); null also where two have it. */
export async function findApiKey(db: Database, secretHash: string): Promise<ApiKeyDocument | null> {
  const found = await db.orm
    .select({ document: apiKeys.document })
    .from(apiKeys)
    .where(eq(apiKeys.secretHash, secretHash))
    .limit(2);
  return found.length === 1 ? (found[0]?.document ?? null) : null;
}
