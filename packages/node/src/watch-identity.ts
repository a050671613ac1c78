import { statSync } from 'node:fs';
import { join } from 'node:path';

import { IDENTITY_FILES } from '@countersign/identity';

import { identityFolderOf } from './log-access.ts';

const everyMs = 1_000;
const watched = [IDENTITY_FILES.members, IDENTITY_FILES.certificatePem, IDENTITY_FILES.caPem];

/**
 * Calls `onChange` within about a second of a new member list or certificate. Each file is replaced whole, by whoever;
 * a node without an identity has nothing to watch.
 */
export function watchIdentity(options: { dataDirectory: string; onChange(): void }): {
  close(): void;
} {
  const folder = identityFolderOf(options.dataDirectory);
  const look = () => watched.map((name) => versionOf(join(folder, name))).join();
  let seen = look();
  const timer = setInterval(() => {
    const now = look();
    if (now === seen) return;
    seen = now;
    options.onChange();
  }, everyMs);
  return { close: () => clearInterval(timer) };
}

function versionOf(file: string): string {
  const stat = statSync(file, { throwIfNoEntry: false });
  return stat ? `${stat.ino} ${stat.mtimeMs} ${stat.size}` : '';
}
