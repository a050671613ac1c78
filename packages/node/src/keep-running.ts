import { setTimeout as wait } from 'node:timers/promises';

import type { ProcessExit } from '@countersign/engines';

export interface RunningPart {
  stop(): Promise<void>;
}

export interface KeepRunningOptions {
  /** Starts the part once. `onExit` is called when it ends after it had started. */
  start: (onExit: (exit: ProcessExit) => void, stopping: AbortSignal) => Promise<RunningPart>;
  /** Told whenever the part ended or did not start, with the wait before the next try. */
  onEnd: (how: string, backOffMs: number) => void;
  /** A first start that fails is not tried again; `firstStart` rejects. */
  mustStart?: boolean;
}

const firstBackOffMs = 200;
export const longestBackOffMs = 5_000;
const provenAfterMs = 30_000;

/**
 * Starts one part of a node and starts it again whenever it ends, with a growing wait in between
 * that begins anew after 30 s of life.
 */
export class KeptRunning {
  readonly #options: KeepRunningOptions;
  readonly #stopping = new AbortController();
  readonly #firstStart = Promise.withResolvers<void>();
  readonly #ended: Promise<void>;
  #end: ((how: { restart: string }) => void) | null = null;

  constructor(options: KeepRunningOptions) {
    this.#options = options;
    this.#firstStart.promise.catch(() => {});
    this.#ended = this.#run();
  }

  /** Resolves when the part has started once. */
  get firstStart(): Promise<void> {
    return this.#firstStart.promise;
  }

  /** Resolves when the part has stopped for good. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    await this.#ended;
  }

  /** Stops the part in order and starts it again; nothing if it does not run just now. */
  restart(why: string): void {
    this.#end?.({ restart: why });
  }

  async #run(): Promise<void> {
    const stopping = this.#stopping.signal;
    let backOffMs = firstBackOffMs;
    let hasStarted = false;
    while (!stopping.aborted) {
      const startedAt = performance.now();
      let how: string;
      try {
        how = await this.#liveOnce(() => (hasStarted = true));
      } catch (error) {
        if (this.#options.mustStart && !hasStarted) return this.#firstStart.reject(error);
        how = `did not start: ${error instanceof Error ? error.message : String(error)}`;
      }
      if (stopping.aborted) return;
      if (performance.now() - startedAt > provenAfterMs) backOffMs = firstBackOffMs;
      this.#options.onEnd(how, backOffMs);
      await wait(backOffMs, undefined, { signal: stopping }).catch(() => {});
      backOffMs = Math.min(backOffMs * 2, longestBackOffMs);
    }
  }

  /** Resolves with how the part ended, or when it was stopped. */
  async #liveOnce(onStarted: () => void): Promise<string> {
    const ended = Promise.withResolvers<ProcessExit | 'stop' | { restart: string }>();
    const stopping = this.#stopping.signal;
    const part = await this.#options.start(ended.resolve, stopping);
    onStarted();
    this.#firstStart.resolve();
    const onStop = () => ended.resolve('stop');
    stopping.addEventListener('abort', onStop);
    if (stopping.aborted) onStop();
    this.#end = ended.resolve;
    const end = await ended.promise;
    this.#end = null;
    stopping.removeEventListener('abort', onStop);
    if (end !== 'stop' && !('restart' in end)) return `ended (${describeExit(end)})`;
    await part.stop();
    return end === 'stop' ? 'stopped' : `was stopped: ${end.restart}`;
  }
}

export function describeExit({ code, signal }: ProcessExit): string {
  return signal ?? `exit code ${code}`;
}
