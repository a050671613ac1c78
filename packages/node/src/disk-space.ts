import { stat, statfs } from 'node:fs/promises';

import type { DiskReport } from '@countersign/replication-agent';

const mebibyte = 1024 * 1024;

/** Folders of a node that fill disks; `log` only where it runs a log server. */
export type WatchedFolders = Partial<Record<'log' | 'database', string>>;

/**
 * How much room is left under each folder; folders of one disk make one report, and a folder that is
 * not there yet makes none.
 */
export async function readDisks(folders: WatchedFolders): Promise<DiskReport[]> {
  const byDevice = new Map<number, DiskReport>();
  for (const part of ['log', 'database'] as const) {
    const folder = folders[part];
    if (folder === undefined) continue;
    const found = await measure(folder).catch(() => undefined);
    if (!found) continue;
    const { device, ...space } = found;
    const known = byDevice.get(device);
    if (known) known.parts.push(part);
    else byDevice.set(device, { parts: [part], state: judgeSpace(space), ...space });
  }
  return [...byDevice.values()];
}

/**
 * `low` below a tenth or 200 MiB, whichever is less; `full` below a twentieth or 64 MiB: what is left
 * then is for removals, blocks and for coming back.
 */
export function judgeSpace(space: { freeBytes: number; totalBytes: number }): DiskReport['state'] {
  const { freeBytes, totalBytes } = space;
  if (freeBytes < Math.min(totalBytes / 20, 64 * mebibyte)) return 'full';
  if (freeBytes < Math.min(totalBytes / 10, 200 * mebibyte)) return 'low';
  return 'ok';
}

async function measure(folder: string) {
  const [{ dev }, { bsize, bavail, blocks }] = await Promise.all([stat(folder), statfs(folder)]);
  return { device: dev, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}
