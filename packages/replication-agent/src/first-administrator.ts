import { randomBytes, randomUUID } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { countDocuments, type Database } from '@countersign/database';
import { hashApiKey } from '@countersign/operations';
import { INVITATION_HOURS, type AdministratorDocument } from '@countersign/verification';
import type { Mastership } from './mastership.ts';

/** What the first owner is called; another name takes another administrator. */
const FIRST_NAME = 'admin';

/**
 * Invites the cluster's first owner if it never had an administrator. Nobody who comes by the network first becomes one
 * (security rule 17): the code lies in a 0600 file before its hash is in the log, so that a crash in between loses
 * nothing; `show` gets it once.
 */
export async function ensureFirstAdministrator(options: {
  db: Database;
  mastership: Pick<Mastership, 'write'>;
  dataDirectory: string;
  show(code: string): void;
}): Promise<void> {
  if ((await countDocuments(options.db, 'administrator')) > 0) return;
  const code = `csi_${randomBytes(32).toString('base64url')}`;
  const now = Date.now();
  const at = new Date(now).toISOString();
  const document: AdministratorDocument = {
    id: randomUUID(),
    username: FIRST_NAME,
    roles: ['owner'],
    disabled: false,
    invitation: {
      codeHash: hashApiKey(code),
      at,
      by: 'the first start',
      expiresAt: new Date(now + INVITATION_HOURS * 3_600_000).toISOString(),
    },
    unlockedAt: null,
    createdAt: at,
    updatedAt: at,
  };
  const file = join(options.dataDirectory, 'first-invitation');
  writeFileSync(file, `${code}\n`, { mode: 0o600 });
  const isWritten = await options.mastership.write({
    kind: 'administrator',
    id: document.id,
    document,
  });
  if (!isWritten) return;
  options.show(code);
  rmSync(file);
}
