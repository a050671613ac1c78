import { setTimeout as delay } from 'node:timers/promises';

/** Waits until the condition holds, at most 10 s. */
export async function waitFor(
  what: string,
  condition: () => boolean | Promise<boolean>,
): Promise<void> {
  const deadline = performance.now() + 10_000;
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`waited 10 s for ${what}`);
    await delay(5);
  }
}
