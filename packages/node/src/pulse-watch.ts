/** A process that was not heard for this long hangs. */
export const hungAfterMs = 30_000;
const lookEveryMs = 1_000;
// After a longer gap it was we who did not run (or the whole machine), so it tells nothing.
const longestGapMs = 3_000;

/** Notices that a process has stopped saying that it is alive. */
export class PulseWatch {
  readonly #timer: NodeJS.Timeout;
  readonly #now: () => number;
  readonly #onHung: (silentMs: number) => void;
  #lookedAt: number;
  #silentMs = 0;

  /** `now` in ms of a monotonic clock. `onHung` is called once. */
  constructor(onHung: (silentMs: number) => void, now: () => number = () => performance.now()) {
    this.#onHung = onHung;
    this.#now = now;
    this.#lookedAt = now();
    this.#timer = setInterval(() => this.look(), lookEveryMs).unref();
  }

  beat(): void {
    this.#silentMs = 0;
  }

  look(): void {
    const now = this.#now();
    const gapMs = now - this.#lookedAt;
    this.#lookedAt = now;
    if (gapMs <= longestGapMs) this.#silentMs += gapMs;
    if (this.#silentMs < hungAfterMs) return;
    this.close();
    this.#onHung(this.#silentMs);
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
