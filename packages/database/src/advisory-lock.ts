import type { Database } from './open-database.ts';

export type AdvisoryLock = {
  /** Aborts as soon as the lock is not ours any more: its session died, or it was released. */
  lost: AbortSignal;
  release(): Promise<void>;
};

/**
 * Takes a lock among the processes of this node; null while another process has it. The lock is
 * a session of its own, so it ends with the process that holds it.
 */
export async function tryAdvisoryLock(db: Database, key: string): Promise<AdvisoryLock | null> {
  const lost = new AbortController();
  const session = db.openSession(() => lost.abort());
  const release = () => session.end({ timeout: 1 });
  try {
    const [row] = await session<{ locked: boolean }[]>`
      select pg_try_advisory_lock(hashtextextended(${key}, 0)) as locked`;
    if (row?.locked) return { lost: lost.signal, release };
  } catch (error) {
    await release();
    throw error;
  }
  await release();
  return null;
}
