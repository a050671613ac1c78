import { renameSync, rmSync, writeFileSync } from 'node:fs';

/** Writes a file only its owner may read. Readers see the old text or the new, never a part. */
export function writePrivateFile(path: string, text: string): void {
  const draft = `${path}.${process.pid}.tmp`;
  rmSync(draft, { force: true });
  writeFileSync(draft, text, { mode: 0o600, flag: 'wx' });
  renameSync(draft, path);
}
