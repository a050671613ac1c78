export interface HealthBounds {
  /** Requests without an answer within `windowMs`, and none answered since, that make it dead. */
  deadAfter: number;
  windowMs: number;
  /** A dead server is tried with one request again after this long. */
  deadMs: number;
}

/**
 * Whether a server is worth a request. A request it never answered does not count when it
 * answered another one meanwhile: some servers stay silent about single sign-ins. Pure: `now` is
 * milliseconds of a clock that never goes back.
 */
export class ServerHealth {
  readonly #bounds: HealthBounds;
  #unanswered: number[] = [];
  #answeredAt = -Infinity;
  #deadUntil: number | null = null;

  constructor(bounds: HealthBounds) {
    this.#bounds = bounds;
  }

  get isDead(): boolean {
    return this.#deadUntil !== null;
  }

  /** Whether to send to it now; of a dead one this is true once, then not again for `deadMs`. */
  mayTry(now: number): boolean {
    if (this.#deadUntil === null) return true;
    if (now < this.#deadUntil) return false;
    this.#deadUntil = now + this.#bounds.deadMs;
    return true;
  }

  /** Gives true when that revived it. */
  answered(now: number): boolean {
    const wasDead = this.isDead;
    this.#answeredAt = now;
    this.#unanswered = [];
    this.#deadUntil = null;
    return wasDead;
  }

  /** A request sent at `sentAt` got no answer. Gives true when that was its death. */
  wentUnanswered({ sentAt, now }: { sentAt: number; now: number }): boolean {
    if (this.isDead || this.#answeredAt >= sentAt) return false;
    const { deadAfter, windowMs, deadMs } = this.#bounds;
    this.#unanswered = [...this.#unanswered.filter((at) => now - at < windowMs), now];
    if (this.#unanswered.length < deadAfter) return false;
    this.#deadUntil = now + deadMs;
    return true;
  }
}
