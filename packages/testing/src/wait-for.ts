import { inspect } from 'node:util';
import { setTimeout as wait } from 'node:timers/promises';

/**
 * Asks again and again until the condition gives something truthy, and returns that.
 * After `timeoutMs` it throws an Error that names `what` and the last answer or error.
 */
export async function waitFor<T>(
  what: string,
  condition: () => T | Promise<T>,
  { timeoutMs, everyMs = 20 }: { timeoutMs: number; everyMs?: number },
): Promise<NonNullable<T>> {
  const giveUpAt = performance.now() + timeoutMs;
  for (;;) {
    const answer = await ask(condition, giveUpAt - performance.now());
    if ('value' in answer && answer.value) return answer.value;
    if (performance.now() + everyMs > giveUpAt) {
      const last = 'value' in answer ? `last value ${inspect(answer.value)}` : String(answer.error);
      const cause = 'error' in answer ? { cause: answer.error } : {};
      throw new Error(`waited ${timeoutMs} ms in vain for ${what}: ${last}`, cause);
    }
    await wait(everyMs);
  }
}

type Answer<T> = { value: T } | { error: unknown };

/** A condition that itself hangs must not outlive the deadline. */
async function ask<T>(condition: () => T | Promise<T>, leftMs: number): Promise<Answer<T>> {
  let timer: NodeJS.Timeout | undefined;
  const hangs = new Promise<Answer<T>>((resolve) => {
    const error = new Error('the condition gave no answer');
    timer = setTimeout(() => resolve({ error }), Math.max(leftMs, 0));
  });
  const asked = Promise.resolve()
    .then(condition)
    .then(
      (value): Answer<T> => ({ value }),
      (error: unknown): Answer<T> => ({ error }),
    );
  const answer = await Promise.race([asked, hangs]);
  clearTimeout(timer);
  return answer;
}
