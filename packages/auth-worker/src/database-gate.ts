/** A statement of a verification that takes longer is given up by whoever waits. */
export const STATEMENT_DEADLINE_MS = 2500;
/** While statements are overdue, one is let through this often to see whether that is over. */
const TRIAL_EVERY_MS = 500;

export class DatabaseSilentError extends Error {
  override name = 'DatabaseSilentError';
}

/**
 * Keeps verifications from waiting for a PostgreSQL that hangs: a statement beyond its deadline rejects, and while
 * one is overdue others are refused at once instead of queueing up behind it. A statement that was given up may
 * still be carried out.
 */
export class DatabaseGate {
  readonly #deadlineMs: number;
  #overdue = 0;
  #answeredAt = -Infinity;
  #triedAt = -Infinity;

  constructor(deadlineMs = STATEMENT_DEADLINE_MS) {
    this.#deadlineMs = deadlineMs;
  }

  /** Nothing is answered: a statement is overdue, and none was answered lately. */
  get isShut(): boolean {
    return this.#overdue > 0 && performance.now() - this.#answeredAt > TRIAL_EVERY_MS;
  }

  /** PostgreSQL has answered somebody who did not come through here. */
  noteAnswer(): void {
    this.#answeredAt = performance.now();
  }

  /** Throws {@link DatabaseSilentError}, at once or at the deadline, and what `statement` throws. */
  async pass<T>(statement: () => Promise<T>): Promise<T> {
    if (this.isShut && performance.now() - this.#triedAt < TRIAL_EVERY_MS) {
      throw new DatabaseSilentError('PostgreSQL does not answer');
    }
    this.#triedAt = performance.now();
    let isOverdue = false;
    const settle = () => {
      if (isOverdue) this.#overdue -= 1;
      this.noteAnswer();
    };
    const answer = statement();
    answer.then(settle, settle);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      isOverdue = true;
      this.#overdue += 1;
      late.reject(new DatabaseSilentError(`no answer of PostgreSQL in ${this.#deadlineMs} ms`));
    }, this.#deadlineMs);
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }
}
