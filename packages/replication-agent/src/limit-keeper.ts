import {
  applyStreamLimits,
  type Log,
  type NatsLink,
  type StreamLimits,
} from '@countersign/cluster';

const AGAIN_MS = 30_000;

/** Brings the log's streams to the configured limits, once in each agent's life as master. */
export class LimitKeeper {
  readonly #options: { link: NatsLink; limits: StreamLimits; log: Log };
  #problems: string[] = [];
  #isDone = false;
  #triedAt = -Infinity;

  constructor(options: { link: NatsLink; limits: StreamLimits; log: Log }) {
    this.#options = options;
  }

  /** What of it could not be done yet. */
  get problems(): readonly string[] {
    return this.#problems;
  }

  /** For the master only, as often as it likes: what failed is tried again every 30 s. */
  async tend(incarnationNumber: number): Promise<void> {
    if (this.#isDone || performance.now() - this.#triedAt < AGAIN_MS) return;
    this.#triedAt = performance.now();
    const { link, limits, log } = this.#options;
    this.#problems = await applyStreamLimits(link, incarnationNumber, limits);
    this.#isDone = this.#problems.length === 0;
    for (const problem of this.#problems) log.warn({}, problem);
  }
}
