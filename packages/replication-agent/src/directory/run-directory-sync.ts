import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@countersign/cluster';
import type { Mastership } from '../mastership.ts';
import type { SyncEngine } from './sync-engine.ts';

const EVERY_MS = 1000;

/** Synchronises directories while this node is master, under the lease's own signal. Ends with `signal`. */
export async function runDirectorySync({
  engine,
  mastership,
  log,
  signal,
}: {
  engine: SyncEngine;
  mastership: Pick<Mastership, 'isActive' | 'term'>;
  log: Log;
  signal: AbortSignal;
}): Promise<void> {
  let epoch: number | null = null;
  while (!signal.aborted) {
    const term = mastership.isActive ? mastership.term : null;
    try {
      if (term && term.epoch !== epoch) engine.beginTerm(AbortSignal.any([signal, term.signal]));
      epoch = term?.epoch ?? null;
      if (term) await engine.tend();
    } catch (error) {
      log.warn({ error: String(error) }, 'the synchronisation of directories waits');
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}
