import { readdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';

// Term, index and length of the peers before, a checksum behind what a snapshot holds.
const smallestSnapshotBytes = 28;

/**
 * Removes snapshots that a stopped nats-server could not finish, say on a full disk. At its start it
 * takes the newest file, deletes the older good ones, finds the newest broken, and has lost what it
 * knew: whole streams are then deleted as orphans (seen with 2.10.27; nats-server issue 4410).
 * A good snapshot removes the one before it, and only then its log is shortened. So where two stand,
 * the older one and the log are whole, and everything newer may go.
 * Returns the removed files.
 */
export async function dropBrokenSnapshots(storeDirectory: string): Promise<string[]> {
  const groups = join(storeDirectory, 'jetstream', '$SYS', '_js_');
  const removed: string[] = [];
  for (const group of await listNames(groups)) {
    const folder = join(groups, group, 'snapshots');
    let hasGood = false;
    for (const { name } of sortByAge(await listNames(folder))) {
      const path = join(folder, name);
      if (!hasGood && (await stat(path)).size >= smallestSnapshotBytes) {
        hasGood = true;
        continue;
      }
      await rm(path);
      removed.push(path);
    }
  }
  return removed;
}

/** `snap.TERM.INDEX`, the oldest first. */
function sortByAge(names: string[]): { name: string; term: number; index: number }[] {
  return names
    .flatMap((name) => {
      const [, term, index] = /^snap\.(\d+)\.(\d+)$/.exec(name) ?? [];
      return term && index ? [{ name, term: Number(term), index: Number(index) }] : [];
    })
    .toSorted((a, b) => a.term - b.term || a.index - b.index);
}

async function listNames(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
}
