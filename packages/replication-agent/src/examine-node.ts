import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeExamination } from '@countersign/api';
import type { Membership } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import { checkWithin, type Finding } from '@countersign/doctor';
import { checkBackup } from './check-backup.ts';
import { checkClock } from './check-clock.ts';
import { checkDatabase } from './check-database.ts';
import { checkOutbox } from './check-outbox.ts';
import { checkTables } from './check-tables.ts';
import type { AgentConfig } from './config.ts';
import type { TablesWatch } from './tables-watch.ts';

/** Longer looks are answered as unfinished: whoever asked asks again. */
const ANSWER_WITHIN_MS = 8_000;
/** With the above it stays below what is waited for an answer. */
const QUERY_WITHIN_MS = 3_000;

type ExamineOptions = {
  node: string;
  db: Database;
  membership: Membership;
  tables: TablesWatch;
  config: Pick<AgentConfig, 'backup' | 'backupStatusFile'>;
  /** Looks at its files, disks and ports; bounded, and throws nothing. */
  machine(): Promise<Finding[]>;
};

/** Looks at this node now: what `countersign doctor` prints. */
export async function examineNode(options: ExamineOptions): Promise<NodeExamination> {
  const { node, db, membership, tables, config } = options;
  const late = new AbortController();
  const looked = await Promise.race([
    checkTables(node, tables),
    sleep(ANSWER_WITHIN_MS, null, { signal: late.signal }),
  ]);
  late.abort();
  if (!looked) return { node, finished: false, documents: tables.progress, checks: [] };
  const [database, outbox, machine] = await Promise.all([
    query('database', () => checkDatabase(db)),
    query('outbox', () => checkOutbox(db)),
    options.machine(),
  ]);
  const checks = [
    ...looked.checks,
    ...database,
    ...outbox,
    checkClock(node, membership),
    ...checkBackup(config, Date.now()),
    ...machine,
  ];
  return { node, finished: true, documents: looked.documents, checks };
}

function query(name: string, look: () => Promise<Finding[]>): Promise<Finding[]> {
  const otherwise = 'tail -n 50 logs/postgres.log in the data directory; countersign status';
  return checkWithin({ name, withinMs: QUERY_WITHIN_MS, otherwise, look });
}
