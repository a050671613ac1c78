import { setTimeout as sleep } from 'node:timers/promises';
import { tryAdvisoryLock, type AdvisoryLock, type Database } from '@countersign/database';

const LOCK_EVERY_MS = 1000;

/**
 * Of a node's workers one at a time does `work`, by advisory lock, again and again until stopped. `work` ends when
 * the lock is lost and handles its own failures.
 */
export async function holdWorkerLock(
  options: { db: Database; name: string; signal: AbortSignal },
  work: (lock: AdvisoryLock) => Promise<void>,
): Promise<void> {
  const { db, name, signal } = options;
  while (!signal.aborted) {
    const lock = await tryAdvisoryLock(db, name).catch(() => null);
    if (lock) {
      await work(lock);
      await lock.release().catch(() => undefined);
    }
    await pause(LOCK_EVERY_MS, signal);
  }
}

/** Ends early, and without an error, when stopped. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => undefined);
}
