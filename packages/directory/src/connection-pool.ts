import { Connection } from './connection.ts';
import { DirectoryError } from './directory-error.ts';

const IDLE_MS = 60_000;
/** A connection is not kept longer, so that a better server is come back to. */
const OLDEST_MS = 300_000;

type Waiter = { resolve: (connection: Connection | null) => void; timer: NodeJS.Timeout };

/** At most `max` connections, each for one piece of work at a time; the others wait, for `waitMs`. */
export class ConnectionPool implements AsyncDisposable {
  readonly #open: () => Promise<Connection>;
  readonly #isStale: (connection: Connection) => boolean;
  readonly #max: number;
  readonly #waitersMax: number;
  readonly #waitMs: number;
  readonly #idle: Connection[] = [];
  readonly #lent = new Set<Connection>();
  readonly #waiters: Waiter[] = [];
  #count = 0;
  #isClosed = false;
  #idleTimer: NodeJS.Timeout | undefined;

  constructor(
    open: () => Promise<Connection>,
    {
      max,
      waitersMax,
      waitMs,
      isStale = () => false,
    }: {
      max: number;
      waitersMax: number;
      waitMs: number;
      /** Of one that lies idle: rather open another. */
      isStale?: (connection: Connection) => boolean;
    },
  ) {
    this.#open = open;
    this.#isStale = isStale;
    this.#max = max;
    this.#waitersMax = waitersMax;
    this.#waitMs = waitMs;
  }

  /** Connections there are, opening ones included. */
  get count(): number {
    return this.#count;
  }

  /** isUsed: it had done work before, so the server may have closed it meanwhile. */
  async use<T>(work: (connection: Connection, isUsed: boolean) => Promise<T>): Promise<T> {
    const free = await this.#takeFree();
    const connection = free ?? (await this.#openOne());
    this.#lent.add(connection);
    try {
      return await work(connection, free !== null);
    } finally {
      this.#lent.delete(connection);
      this.#giveBack(connection);
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isClosed = true;
    clearTimeout(this.#idleTimer);
    for (const connection of [...this.#idle.splice(0), ...this.#lent]) connection.close();
    for (const { resolve, timer } of this.#waiters.splice(0)) {
      clearTimeout(timer);
      resolve(null);
    }
  }

  /** Null: there is room for another, which the caller opens. */
  async #takeFree(): Promise<Connection | null> {
    this.#checkOpen();
    const idle = this.#takeIdle();
    if (idle) return idle;
    if (this.#count < this.#max) {
      this.#count += 1;
      return null;
    }
    if (this.#waiters.length >= this.#waitersMax) throw busy('too many wait for it');
    return this.#wait();
  }

  #takeIdle(): Connection | undefined {
    for (let idle = this.#idle.pop(); idle; idle = this.#idle.pop()) {
      if (idle.isOpen && !this.#isStale(idle)) return idle;
      idle.close();
      this.#count -= 1;
    }
    return undefined;
  }

  #wait(): Promise<Connection | null> {
    return new Promise((resolve, reject) => {
      const waiter: Waiter = {
        resolve,
        timer: setTimeout(() => {
          this.#waiters.splice(this.#waiters.indexOf(waiter), 1);
          reject(busy(`no connection became free within ${this.#waitMs} ms`));
        }, this.#waitMs),
      };
      this.#waiters.push(waiter);
    });
  }

  async #openOne(): Promise<Connection> {
    try {
      this.#checkOpen();
      const connection = await this.#open();
      if (!this.#isClosed) return connection;
      connection.close();
      this.#checkOpen();
      return connection;
    } catch (error) {
      this.#freePlace();
      throw error;
    }
  }

  #giveBack(connection: Connection): void {
    const isTooOld = performance.now() - connection.openedAt > OLDEST_MS;
    if (this.#isClosed || isTooOld || !connection.isOpen) {
      connection.close();
      this.#freePlace();
      return;
    }
    const waiter = this.#nextWaiter();
    if (waiter) waiter.resolve(connection);
    else {
      this.#idle.push(connection);
      this.#closeIdleLater();
    }
  }

  /** The place goes to who waits longest, who then opens a connection. */
  #freePlace(): void {
    const waiter = this.#nextWaiter();
    if (waiter) waiter.resolve(null);
    else this.#count -= 1;
  }

  #nextWaiter(): Waiter | undefined {
    const waiter = this.#waiters.shift();
    if (waiter) clearTimeout(waiter.timer);
    return waiter;
  }

  #closeIdleLater(): void {
    clearTimeout(this.#idleTimer);
    this.#idleTimer = setTimeout(() => {
      for (const connection of this.#idle.splice(0)) {
        connection.close();
        this.#count -= 1;
      }
    }, IDLE_MS);
    this.#idleTimer.unref();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw new DirectoryError('unreachable', 'the directory was closed');
  }
}

function busy(why: string): DirectoryError {
  return new DirectoryError('unreachable', `the directory has too much to do: ${why}`);
}
