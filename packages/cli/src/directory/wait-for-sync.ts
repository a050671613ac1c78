import { setTimeout as sleep } from 'node:timers/promises';
import type { DirectorySyncDocument, SyncCounts } from '@countersign/verification';
import { CliError, UnansweredError } from '../cli-error.ts';
import { Progress } from '../import/progress.ts';
import type { Session } from '../session.ts';
import { directoryPath } from './paths.ts';

/** As the API tells it. */
export type SyncStatus = Pick<DirectorySyncDocument, 'last' | 'held' | 'lastFullAt'> & {
  masterAnswers: boolean;
  enabled: boolean;
  running: {
    kind: 'full' | 'changes';
    dryRun: boolean;
    phase: string;
    done: number;
    of: number | null;
    counts: SyncCounts;
  } | null;
  nextAt: string | null;
  lastDryRun: DryRun | null;
  problem?: string | null;
};

export type DryRun = {
  startedAt: string;
  endedAt: string;
  problem: string | null;
  counts: SyncCounts;
  first: { username: string; what: string; why?: string | null }[];
};

const POLL_MS = 500;
const WAIT_MAX_MS = 3_600_000;
/** A new master takes over within this. */
const SILENCE_MAX_MS = 60_000;

export async function readSyncStatus(session: Session, name: string): Promise<SyncStatus> {
  return (await session.call({ method: 'GET', path: directoryPath(name, 'sync') })) as SyncStatus;
}

/**
 * Waits until nothing is synchronised any more, at most an hour, and shows on stderr how far it is. It goes on by
 * itself where the waiting ends.
 */
export async function waitForSync(session: Session, name: string): Promise<SyncStatus> {
  const progress = new Progress(process.stderr, null);
  const startedAt = performance.now();
  let heardAt = startedAt;
  try {
    while (performance.now() - startedAt < WAIT_MAX_MS) {
      const status = await readIfAnswered(session, name);
      if (status?.masterAnswers) {
        heardAt = performance.now();
        if (status.running === null) return status;
        const { phase, done, of, counts } = status.running;
        const { added, changed, disabled, removed } = counts;
        const so = `${added} added, ${changed} changed, ${disabled + removed} disabled or removed`;
        const far = of === null ? String(done) : `${done} of ${of}`;
        progress.draw(of === null || of === 0 ? null : done / of, `${phase}: ${far} people, ${so}`);
      } else if (performance.now() - heardAt > SILENCE_MAX_MS) {
        throw new CliError('no master tells how far it is; a new one goes on with it by itself');
      }
      await sleep(POLL_MS);
    }
  } finally {
    progress.clear();
  }
  throw new CliError('it still runs after an hour: see countersign directory sync-status');
}

/** Null: nobody could tell just now. */
async function readIfAnswered(session: Session, name: string): Promise<SyncStatus | null> {
  try {
    return await readSyncStatus(session, name);
  } catch (error) {
    if (error instanceof UnansweredError) return null;
    throw error;
  }
}
