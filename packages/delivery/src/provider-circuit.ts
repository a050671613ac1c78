const failuresToPause = 3;
const firstPauseMs = 15_000;
const longestPauseMs = 300_000;
// A trial that never reported back does not keep a provider away for ever.
const trialMs = 60_000;

/**
 * Whether a provider is passed over: after three failures in a row for 15 s, then one trial; each
 * trial that fails doubles the pause, up to five minutes. Times are monotonic milliseconds.
 */
export class ProviderCircuit {
  pausedUntil = 0;
  #failuresInRow = 0;
  #pauseMs = firstPauseMs;
  #trialBeganAt: number | undefined;

  mayTry(nowMs: number): boolean {
    if (this.#failuresInRow < failuresToPause) return true;
    const isOnTrial = this.#trialBeganAt !== undefined && nowMs < this.#trialBeganAt + trialMs;
    return nowMs >= this.pausedUntil && !isOnTrial;
  }

  begin(nowMs: number): void {
    if (this.#failuresInRow >= failuresToPause) this.#trialBeganAt = nowMs;
  }

  succeed(): void {
    this.#failuresInRow = 0;
    this.#pauseMs = firstPauseMs;
    this.#trialBeganAt = undefined;
    this.pausedUntil = 0;
  }

  fail(nowMs: number): void {
    this.#failuresInRow += 1;
    if (this.#failuresInRow < failuresToPause) return;
    // Many that began together and fail together are one reason for a pause.
    const isAnotherPause = nowMs >= this.pausedUntil;
    if (isAnotherPause) {
      if (this.#trialBeganAt !== undefined) {
        this.#pauseMs = Math.min(this.#pauseMs * 2, longestPauseMs);
      }
      this.pausedUntil = nowMs + this.#pauseMs;
    }
    this.#trialBeganAt = undefined;
  }
}
