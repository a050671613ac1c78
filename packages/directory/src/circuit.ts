const FIRST_PAUSE_MS = 5_000;
const LONGEST_PAUSE_MS = 60_000;

/**
 * Whether a server is passed over: after a failure for 5 s, and after each failed trial twice as
 * long, up to a minute. Then one trial at a time shows whether it is back. Times are monotonic.
 */
export class Circuit {
  #pauseMs = FIRST_PAUSE_MS;
  #pausedUntil: number | undefined;

  get isOpen(): boolean {
    return this.#pausedUntil !== undefined;
  }

  isDueForTrial(nowMs: number): boolean {
    return this.#pausedUntil !== undefined && nowMs >= this.#pausedUntil;
  }

  succeed(): void {
    this.#pausedUntil = undefined;
    this.#pauseMs = FIRST_PAUSE_MS;
  }

  fail(nowMs: number): void {
    // Many that began together and fail together are one reason for a pause.
    if (this.#pausedUntil !== undefined && nowMs < this.#pausedUntil) return;
    if (this.#pausedUntil !== undefined) {
      this.#pauseMs = Math.min(this.#pauseMs * 2, LONGEST_PAUSE_MS);
    }
    this.#pausedUntil = nowMs + this.#pauseMs;
  }
}
