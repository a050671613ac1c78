import { TOLD_AT_ONCE_MAX, type Log, type StopFacts } from '@countersign/cluster';
import {
  keepStopFacts,
  listUnpublishedStopFacts,
  type AdvisoryLock,
  type Database,
} from '@countersign/database';
import type { StopFact } from '@countersign/verification';
import { holdWorkerLock, pause } from './hold-worker-lock.ts';

type TellOptions = {
  db: Database;
  stopFacts: StopFacts<StopFact>;
  node: string;
  log: Log;
  signal: AbortSignal;
};

const EVERY_MS = 400;
const RETOLD_MAX = 10 * TOLD_AT_ONCE_MAX;

/** Keeps what other nodes tell; one worker of the node hears each message. */
export function hearStopFacts(
  options: Omit<TellOptions, 'signal'> & { onMalformed(): void },
): void {
  const { db, stopFacts, node, log, onMalformed } = options;
  stopFacts.listen(node, { onFacts: (facts) => keepStopFacts(db, facts), onMalformed, log });
}

/**
 * Tells what the log does not hold yet again and again, so that a node that can be reached once more knows within a
 * moment, long before the log has a leader. Of a node's workers one does, by advisory lock.
 */
export async function tellStopFacts(options: TellOptions): Promise<void> {
  const { db, log, signal } = options;
  await holdWorkerLock({ db, name: 'tell stop facts', signal }, (lock) =>
    tellWhileHeld(options, lock).catch((error: unknown) => {
      log.warn({ error: String(error) }, 'stop facts could not be read, trying again');
    }),
  );
}

async function tellWhileHeld(options: TellOptions, lock: AdvisoryLock): Promise<void> {
  const { db, stopFacts, node, signal } = options;
  while (!signal.aborted && !lock.lost.aborted) {
    const facts = await listUnpublishedStopFacts(db, RETOLD_MAX);
    for (let at = 0; at < facts.length; at += TOLD_AT_ONCE_MAX) {
      stopFacts.tell(node, facts.slice(at, at + TOLD_AT_ONCE_MAX));
    }
    await pause(EVERY_MS, signal);
  }
}
