import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@countersign/cluster';
import { eraseFromEvents, type Database } from '@countersign/database';

const EVERY_MS = 5_000;

/** Keeps users who were erased out of this node's events, on every node for itself. Ends with the signal. */
export async function eraseEventsForEver({
  db,
  log,
  signal,
}: {
  db: Database;
  log: Log;
  signal: AbortSignal;
}): Promise<void> {
  while (!signal.aborted) {
    try {
      const events = await eraseFromEvents(db);
      if (events > 0) log.info({ events }, 'erased users were taken out of events');
    } catch (error) {
      log.warn({ error: String(error) }, 'erased users wait to be taken out of events');
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
