import { setTimeout as sleep } from 'node:timers/promises';
import type { ChangePipeline } from './change-pipeline.ts';
import type { Mastership } from './mastership.ts';
import type { Touched, Turns } from './turns.ts';

/** As many users as are planned and sent together. */
export const SLICE = 128;
/** Of the time a slice took: so that verification and single commands have the machine in between. */
const PAUSE_SHARE = 0.25;
/** Sent and not yet in this node's PostgreSQL. */
const MAX_UNAPPLIED = 512;

/** Slices of all work that changes many users: one is planned and sent at a time, with a pause behind it. */
export class BulkLane {
  readonly #mastership: Mastership;
  readonly #turns: Turns;
  readonly #baseRevision: number;
  #last: Promise<unknown> = Promise.resolve();

  constructor(mastership: Mastership, turns: Turns, { baseRevision }: { baseRevision: number }) {
    this.#mastership = mastership;
    this.#turns = turns;
    this.#baseRevision = baseRevision;
  }

  /**
   * Runs `work`, which plans and sends a slice, when nothing that it touches is in flight; its turn lasts until the
   * last of what it sent (0: nothing) is applied here. Null if nothing can be sent now. `deadline` is monotonic ms.
   */
  async run<T extends { lastRevision: number }>(
    slice: { touched: Touched; pipeline: ChangePipeline; deadline: number },
    work: () => Promise<T>,
  ): Promise<T | null> {
    const result = this.#last.then(() => this.#runNow(slice, work));
    const startedAt = this.#last.then(() => performance.now());
    this.#last = Promise.allSettled([result, startedAt]).then(async () => {
      await sleep((performance.now() - (await startedAt)) * PAUSE_SHARE);
    });
    return result;
  }

  async #runNow<T extends { lastRevision: number }>(
    { touched, pipeline, deadline }: Parameters<BulkLane['run']>[0],
    work: () => Promise<T>,
  ): Promise<T | null> {
    const mastership = this.#mastership;
    if (!pipeline.isOpen || mastership.isHandingOver) return null;
    const enough = pipeline.end + this.#baseRevision - MAX_UNAPPLIED;
    if (!(await mastership.hasApplied(enough, pipeline.term, deadline))) return null;
    const turn = await this.#turns.take(touched, deadline - performance.now());
    if (!turn) return null;
    let settled: Promise<unknown> = Promise.resolve();
    try {
      // Both were long ago where others had the turn before.
      if (!pipeline.isOpen || mastership.isHandingOver) return null;
      const done = await work();
      settled = mastership.untilSettled(done.lastRevision, pipeline.term);
      return done;
    } finally {
      void settled.then(() => turn.release());
    }
  }
}
