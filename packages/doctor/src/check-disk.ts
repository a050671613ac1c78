import { existsSync } from 'node:fs';
import { readdir, stat, statfs } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { ExaminedNode } from './examined-node.ts';
import { critical, fine, quote, warning, type Finding } from './finding.ts';

const GIBIBYTE = 2 ** 30;
/** Less is too little for an afternoon of growth, whatever the disk. */
const LOW_PERCENT = 5;
const LOW_BYTES = 5 * GIBIBYTE;
/** Below this a log server and PostgreSQL stop taking writes. */
const FULL_BYTES = 64 * 2 ** 20;
/** What JetStream needs above the limits of its streams, for compacting. */
const LOG_OVERHEAD = 1.25;

/** Room for data and log, on each disk that one of them is on. */
export async function checkDisk(
  node: Pick<ExaminedNode, 'name' | 'dataDirectory' | 'limits' | 'logServers'>,
): Promise<Finding[]> {
  const { dataDirectory, limits } = node;
  const log = join(dataDirectory, 'nats');
  const runsLogServer = node.logServers.some(({ name }) => name === node.name);
  const folder = nearestOf(dataDirectory);
  const [data, under] = [await measure(folder), await measure(log).catch(() => null)];
  const disks = under && under.device !== data.device ? [data, under] : [data];
  const found = disks.map((disk) => judge(disk));
  if (!runsLogServer) return found;
  const usedBytes = under ? await sizeOf(log) : 0;
  const limitBytes = limits.changesBytes + limits.statesBytes + limits.eventsBytes;
  const growsBytes = Math.max(0, limitBytes * LOG_OVERHEAD - usedBytes);
  const { freeBytes } = under ?? data;
  if (freeBytes >= growsBytes) return found;
  return [
    ...found,
    warning(
      'disk',
      `by its limits the log may still grow by ${inGiB(growsBytes)}, and ${inGiB(freeBytes)} are free`,
      `give ${quote(log)} a larger disk, or lower "limits" in the configuration of every node and restart them one by one`,
    ),
  ];
}

/** Before the first start: where it will be made. */
function nearestOf(folder: string): string {
  return existsSync(folder) || folder === dirname(folder) ? folder : nearestOf(dirname(folder));
}

type Disk = { folder: string; device: number; freeBytes: number; totalBytes: number };

async function measure(folder: string): Promise<Disk> {
  const [{ dev }, { bavail, blocks, bsize }] = await Promise.all([stat(folder), statfs(folder)]);
  return { folder, device: dev, freeBytes: bavail * bsize, totalBytes: blocks * bsize };
}

function judge({ folder, freeBytes, totalBytes }: Disk): Finding {
  const percent = Math.floor((100 * freeBytes) / Math.max(1, totalBytes));
  const detail = `${inGiB(freeBytes)} free (${percent} %) under ${folder}`;
  const fix = `df -h ${quote(folder)}; du -xh --max-depth=2 ${quote(folder)} | sort -h | tail`;
  if (freeBytes < Math.min(totalBytes / 20, FULL_BYTES)) return critical('disk', detail, fix);
  const isShort = percent < LOW_PERCENT && freeBytes < LOW_BYTES;
  return isShort ? warning('disk', detail, fix) : fine('disk', detail);
}

async function sizeOf(folder: string): Promise<number> {
  let bytes = 0;
  for (const entry of await readdir(folder, { withFileTypes: true, recursive: true })) {
    if (!entry.isFile()) continue;
    const found = await stat(join(entry.parentPath, entry.name)).catch(() => null);
    // A server removes its files while they are counted.
    bytes += (found?.blocks ?? 0) * 512;
  }
  return bytes;
}

function inGiB(bytes: number): string {
  return `${(bytes / GIBIBYTE).toFixed(1)} GiB`;
}
