import { readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { PARTIAL_SUFFIX, readBackupHeader } from '@countersign/backup';

const STAMP = String.raw`\d{8}T\d{6}Z`;

/** `countersign-node-1-20260301T120000Z.backup` */
export function backupName(node: string, at: Date): string {
  const stamp = at.toISOString().replace(/[-:]|\.\d{3}/g, '');
  return `countersign-${node}-${stamp}.backup`;
}

/**
 * Removes this node's own backups beyond the newest `keep`, and what it began and never finished. A file is its own by
 * its name and by what it says about itself; anything else stays, and so does `newest`, which was just read back.
 * @returns the names of those removed
 */
export async function keepBackups(about: {
  directory: string;
  node: string;
  /** Those of another cluster are what this one may have come out of. */
  clusterId: string | null;
  keep: number;
  newest: string;
}): Promise<string[]> {
  const { directory, node, clusterId, keep, newest } = about;
  const own = new RegExp(`^countersign-${node}-${STAMP}\\.backup$`);
  const unfinished = new RegExp(
    `^countersign-${node}-${STAMP}\\.backup\\.[0-9a-f]{12}\\${PARTIAL_SUFFIX}$`,
  );
  const names = await readdir(directory);
  const made: { name: string; createdAt: string }[] = [];
  for (const name of names.filter((each) => own.test(each))) {
    const header = await readBackupHeader(join(directory, name)).catch(() => null);
    if (header?.node === node && header.clusterId === clusterId)
      made.push({ name, createdAt: header.createdAt });
  }
  const surplus = made
    .toSorted((a, b) => b.createdAt.localeCompare(a.createdAt))
    .slice(keep)
    .map(({ name }) => name)
    .filter((name) => name !== newest);
  const removed = [...surplus, ...names.filter((name) => unfinished.test(name))];
  for (const name of removed) await rm(join(directory, name), { force: true });
  return surplus;
}
