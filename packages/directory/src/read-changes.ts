import { fullNeeded } from './changed-objects.ts';
import { readDirSync } from './read-dirsync.ts';
import { readTimestamps } from './read-timestamps.ts';
import type { Reading } from './reading.ts';
import type { Changes, ChangesCursor } from './types.ts';

/**
 * What changed since a cursor; null: nothing, with the cursor of now, to be taken before everything
 * is read. `changed` may name more than did change, and whoever is not found by
 * {@link readByObjects} then has left the people: deletions are among `gone` only where the
 * directory shows them to the account, never with timestamps: compare with {@link listObjects}.
 * Throws DirectoryError.
 */
export async function readChanges(
  reading: Reading,
  cursor: ChangesCursor | null,
): Promise<Changes> {
  const kind = chooseChanges(reading.config);
  if (kind === 'full') return fullNeeded('the directory is set to be read as a whole each time');
  if (cursor !== null && cursor.kind !== kind) {
    return fullNeeded('changes were found in another way until now');
  }
  return kind === 'dirsync'
    ? await readDirSync(reading, cursor?.kind === 'dirsync' ? cursor.cookie : null)
    : await readTimestamps(reading, cursor?.kind === 'timestamps' ? cursor.since : null);
}

/** How changes are found: DirSync with Active Directory, timestamps otherwise. */
export function chooseChanges({
  type,
  sync,
}: Pick<Reading['config'], 'type' | 'sync'>): 'dirsync' | 'timestamps' | 'full' {
  if (sync.changes !== 'auto') return sync.changes;
  return type === 'active-directory' ? 'dirsync' : 'timestamps';
}
