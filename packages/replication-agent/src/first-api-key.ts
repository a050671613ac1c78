import { randomBytes, randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { countDocuments, type Database } from '@countersign/database';
import { hashApiKey } from '@countersign/operations';
import { API_SCOPES, type ApiKeyDocument } from '@countersign/verification';
import type { Mastership } from './mastership.ts';

/**
 * Makes the cluster's first API key if it never had one. The key itself lies in a 0600 file before its hash is
 * in the log, so that a crash in between loses nothing; `show` gets it once.
 */
export async function ensureFirstApiKey(options: {
  db: Database;
  mastership: Mastership;
  dataDirectory: string;
  show(key: string): void;
}): Promise<void> {
  if ((await countDocuments(options.db, 'api-key')) > 0) return;
  const key = `cs_${randomBytes(32).toString('base64url')}`;
  const document: ApiKeyDocument = {
    id: randomUUID(),
    name: 'first key',
    secretHash: hashApiKey(key),
    scopes: [...API_SCOPES],
    applications: null,
    networks: null,
    expiresAt: null,
    createdAt: new Date().toISOString(),
  };
  const file = join(options.dataDirectory, 'first-api-key');
  writeFileSync(file, `${key}\n`, { mode: 0o600 });
  const isWritten = await options.mastership.write({
    kind: 'api-key',
    id: document.id,
    document,
  });
  if (!isWritten) return;
  options.show(key);
  rmSync(file);
}
