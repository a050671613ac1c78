import { setTimeout } from 'node:timers/promises';

export const MARK_MS = 250;

/**
 * Waits until the time since `startedAtMs` (of `performance.now()`) is a whole number of marks, so that
 * how long a denial took says nothing about what was looked up for it.
 */
export async function holdUntilNextMark(startedAtMs: number): Promise<void> {
  const elapsedMs = performance.now() - startedAtMs;
  await setTimeout(Math.ceil(MARK_MS - (elapsedMs % MARK_MS)));
}
