import { statfs } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeExamination } from '@countersign/api';
import { isOnline, medianOf, type Membership } from '@countersign/cluster';
import { outboxSize, type Database } from '@countersign/database';
import type { TablesWatch } from './tables-watch.ts';

/** Longer looks are answered as unfinished: whoever asked asks again. */
const ANSWER_WITHIN_MS = 10_000;
const OUTBOX_WARN = 10_000;
const CLOCK_WARN_MS = 5000;
const DISK_WARN_PERCENT = 5;
const DISK_WARN_BYTES = 5 * 2 ** 30;

type Check = NodeExamination['checks'][number];

type ExamineOptions = {
  node: string;
  db: Database;
  membership: Membership;
  dataDirectory: string;
  tables: TablesWatch;
};

/** Looks at this node now: what `countersign doctor` prints. */
export async function examineNode(options: ExamineOptions): Promise<NodeExamination> {
  const { node, tables } = options;
  const late = new AbortController();
  const looked = await Promise.race([
    examineTables(tables),
    sleep(ANSWER_WITHIN_MS, null, { signal: late.signal }),
  ]);
  late.abort();
  if (!looked) return { node, finished: false, documents: tables.progress, checks: [] };
  const [outbox, disk] = await Promise.all([
    checkOutbox(options.db),
    checkDisk(options.dataDirectory),
  ]);
  const checks = [...looked.checks, outbox, checkClock(options), disk];
  return { node, finished: true, documents: looked.documents, checks };
}

async function examineTables(tables: TablesWatch): Promise<{ documents: number; checks: Check[] }> {
  const name = 'tables';
  try {
    const { revision, documents, problems, problemCount } = await tables.examine();
    const checks = problems.map((detail): Check => ({ name, ok: false, detail }));
    const unnamed = problemCount - problems.length;
    if (unnamed > 0) checks.push({ name, ok: false, detail: `and ${unnamed} more` });
    const detail = `${documents} documents are what was received, give the digest of revision ${revision}, and are what is queried`;
    return { documents, checks: checks.length > 0 ? checks : [{ name, ok: true, detail }] };
  } catch (error) {
    const detail = `could not be examined: ${describe(error)}`;
    return { documents: 0, checks: [{ name, ok: false, detail }] };
  }
}

async function checkOutbox(db: Database): Promise<Check> {
  try {
    const size = await outboxSize(db);
    const detail = `${size} events wait for the log`;
    return { name: 'outbox', ok: size <= OUTBOX_WARN, detail };
  } catch (error) {
    return { name: 'outbox', ok: false, detail: `could not be counted: ${describe(error)}` };
  }
}

function checkClock({ node, membership }: ExamineOptions): Check {
  const online = membership.nodes().filter(isOnline);
  const own = online.find((seen) => seen.node === node);
  if (!own || online.length < 2) {
    return { name: 'clock', ok: true, detail: 'no other node is heard to compare it with' };
  }
  const offsetMs = Math.round(own.offsetMs - medianOf(online.map((seen) => seen.offsetMs)));
  const detail = `${Math.abs(offsetMs)} ms ${offsetMs < 0 ? 'behind' : 'ahead of'} the median of ${online.length} nodes`;
  return { name: 'clock', ok: Math.abs(offsetMs) < CLOCK_WARN_MS, detail };
}

async function checkDisk(folder: string): Promise<Check> {
  try {
    const { bavail, blocks, bsize } = await statfs(folder);
    const freeBytes = bavail * bsize;
    const percent = Math.floor((100 * bavail) / Math.max(1, blocks));
    const detail = `${(freeBytes / 2 ** 30).toFixed(1)} GiB free (${percent} %)`;
    const isShort = percent < DISK_WARN_PERCENT && freeBytes < DISK_WARN_BYTES;
    return { name: 'disk', ok: !isShort, detail };
  } catch (error) {
    return { name: 'disk', ok: false, detail: `could not be looked at: ${describe(error)}` };
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
