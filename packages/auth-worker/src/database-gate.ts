import { setTimeout as sleep } from 'node:timers/promises';

/** A statement of a verification that takes longer is given up by whoever waits. */
export const STATEMENT_DEADLINE_MS = 2500;
/** A server that works answers a ping within this. */
const PING_MS = 300;
const PING_PAUSE_MS = 100;
/** Where another statement was answered this recently, the overdue one waits for something of its own. */
const ANSWERED_LATELY_MS = 500;

export class DatabaseSilentError extends Error {
  override name = 'DatabaseSilentError';
}

/**
 * Keeps verifications from waiting for a PostgreSQL that hangs: a statement beyond its deadline rejects, and from
 * then on all are refused at once, until PostgreSQL answers a ping or a statement. A statement that was given up may
 * still be carried out.
 */
export class DatabaseGate {
  readonly #ping: () => Promise<unknown>;
  readonly #deadlineMs: number;
  #isShut = false;
  #answeredAt = -Infinity;
  #pinging: Promise<boolean> | null = null;

  /** `ping` has a connection of its own: those of verifications may all be waiting. */
  constructor(ping: () => Promise<unknown>, deadlineMs = STATEMENT_DEADLINE_MS) {
    this.#ping = ping;
    this.#deadlineMs = deadlineMs;
  }

  /** A statement is overdue, and nothing has been answered since. */
  get isShut(): boolean {
    return this.#isShut;
  }

  /** Whether PostgreSQL answers a ping within the time. There is only ever one: who asks meanwhile shares it. */
  async isAnswering(timeoutMs = PING_MS): Promise<boolean> {
    this.#pinging ??= this.#pingOnce();
    const late = new AbortController();
    const timeout = sleep(timeoutMs, false, { signal: late.signal, ref: false }).catch(() => false);
    try {
      return await Promise.race([this.#pinging, timeout]);
    } finally {
      late.abort();
    }
  }

  /** Throws {@link DatabaseSilentError}, at once or at the deadline, and what `statement` throws. */
  async pass<T>(statement: () => Promise<T>): Promise<T> {
    if (this.#isShut) throw new DatabaseSilentError('PostgreSQL does not answer');
    const answer = statement();
    const noteAnswer = () => this.#noteAnswer();
    answer.then(noteAnswer, noteAnswer);
    const late = Promise.withResolvers<never>();
    const timer = setTimeout(() => {
      this.#shutUnlessAnswering();
      late.reject(new DatabaseSilentError(`no answer of PostgreSQL in ${this.#deadlineMs} ms`));
    }, this.#deadlineMs);
    try {
      return await Promise.race([answer, late.promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #noteAnswer(): void {
    this.#isShut = false;
    this.#answeredAt = performance.now();
  }

  #shutUnlessAnswering(): void {
    if (this.#isShut || performance.now() - this.#answeredAt < ANSWERED_LATELY_MS) return;
    this.#isShut = true;
    void this.#pingUntilOpen();
  }

  async #pingUntilOpen(): Promise<void> {
    while (this.#isShut) {
      if (!(await this.isAnswering())) await sleep(PING_PAUSE_MS, undefined, { ref: false });
    }
  }

  async #pingOnce(): Promise<boolean> {
    try {
      await this.#ping();
      this.#noteAnswer();
      return true;
    } catch {
      return false;
    } finally {
      this.#pinging = null;
    }
  }
}
