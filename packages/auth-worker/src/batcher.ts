import { setTimeout as sleep } from 'node:timers/promises';

type Waiting<T, R> = { item: T; resolve(result: R): void; reject(error: unknown): void };

const MAX_WAITING = 5000;

export class OverloadError extends Error {
  override name = 'OverloadError';
}

/**
 * Runs what comes together together: while one batch runs, the next gathers. Under load one statement and one
 * commit carry many attempts; alone an attempt waits for nobody.
 */
export class Batcher<T, R> {
  readonly #run: (items: T[]) => Promise<R[]>;
  readonly #maxBatch: number;
  readonly #pauseMs: number;
  #waiting: Waiting<T, R>[] = [];
  #isRunning = false;

  /** `pauseMs` after a batch more gathers before the next. */
  constructor(run: (items: T[]) => Promise<R[]>, maxBatch: number, pauseMs = 0) {
    this.#run = run;
    this.#maxBatch = maxBatch;
    this.#pauseMs = pauseMs;
  }

  /** Throws {@link OverloadError} when 5,000 wait already, and what `run` throws. */
  async add(item: T): Promise<R> {
    if (this.#waiting.length >= MAX_WAITING) throw new OverloadError('too many attempts waiting');
    const result = new Promise<R>((resolve, reject) => {
      this.#waiting.push({ item, resolve, reject });
    });
    if (!this.#isRunning) void this.#drain();
    return result;
  }

  async #drain(): Promise<void> {
    this.#isRunning = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting.splice(0, this.#maxBatch);
      try {
        const results = await this.#run(batch.map(({ item }) => item));
        batch.forEach(({ resolve }, index) => resolve(results[index]!));
      } catch (error) {
        for (const { reject } of batch) reject(error);
      }
      if (this.#pauseMs > 0) await sleep(this.#pauseMs);
    }
    this.#isRunning = false;
  }
}
