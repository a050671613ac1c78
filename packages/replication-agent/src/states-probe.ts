import { setTimeout as sleep } from 'node:timers/promises';
import type { UserStates } from '@countersign/cluster';

const EVERY_MS = 2000;
const TIMEOUT_MS = 1000;

/** Whether writes of this node to the log servers are answered, tried every 2 s. */
export class StatesProbe {
  #isWritable = true;
  #answeredAt = -Infinity;

  /** True also before the first try. */
  get isWritable(): boolean {
    return this.#isWritable;
  }

  get wasAnsweredLately(): boolean {
    return performance.now() - this.#answeredAt < 3 * EVERY_MS;
  }

  async run(options: { states: UserStates; onAnswer(): void; signal: AbortSignal }): Promise<void> {
    const { states, onAnswer, signal } = options;
    while (!signal.aborted) {
      this.#isWritable = await states.probeLog(TIMEOUT_MS);
      if (this.#isWritable) {
        this.#answeredAt = performance.now();
        onAnswer();
      }
      await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
