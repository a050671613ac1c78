import { setTimeout as delay } from 'node:timers/promises';
import { drizzle } from './drizzle.ts';
import type { PostgresJsDatabase } from 'drizzle-orm/postgres-js';
import postgres from 'postgres';
import * as schema from './schema.ts';

export type DatabaseOptions = {
  /** Host name, or the folder of a unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
  /** PEM: the connection is encrypted and the server's certificate checked against it, for this very host. */
  authority?: string;
  /** Connections at most. */
  max: number;
  applicationName: string;
  statementTimeoutMs?: number;
  /**
   * Commits return before they are on disk: they survive dying processes, not a power cut.
   * For what only guards against dying processes (reservations, outbox), never for changes.
   */
  asyncCommit?: boolean;
};

export type Sql = postgres.Sql<{ bigint: number }>;
export type Transaction = postgres.TransactionSql<{ bigint: number }>;

/** Opens the pool. Connects with the first query; that and every later query can be refused. */
export function openDatabase(options: DatabaseOptions): Database {
  return new Database(options);
}

/**
 * This node's PostgreSQL: `sql` (postgres.js) and `orm` (drizzle) over one pool.
 * Read both anew for every query, never keep them: they change when the server was lost.
 */
export class Database implements AsyncDisposable {
  readonly #options: DatabaseOptions;
  #isChecking = false;
  #hasLostOne = false;
  #pool: { sql: Sql; orm: PostgresJsDatabase<typeof schema> };
  #isClosed = false;

  constructor(options: DatabaseOptions) {
    this.#options = options;
    this.#pool = this.#openPool();
  }

  get sql(): Sql {
    return this.#pool.sql;
  }

  get orm(): PostgresJsDatabase<typeof schema> {
    return this.#pool.orm;
  }

  /** Opens all connections of the pool now: later there may be none left to have. Never rejects. */
  async fill(): Promise<void> {
    const { sql } = this;
    await Promise.allSettled(Array.from({ length: this.#options.max }, () => sql`select 1`));
  }

  /**
   * Runs `run` in one transaction, rolled back when it throws. Use this, not `sql.begin` or
   * `orm.transaction`: those send a rollback into a connection that has just died, and the
   * driver's later write to it is an uncaught exception.
   */
  async transaction<T>(run: (tx: Transaction) => Promise<T>, mode = ''): Promise<T> {
    const lost = Promise.withResolvers<never>();
    const work = this.sql.begin(mode, async (tx) => {
      try {
        return { result: await run(tx) };
      } catch (error) {
        if (!isSessionGone(error)) throw error;
        lost.reject(error);
        return new Promise<never>(() => {});
      }
    });
    const { result } = await Promise.race([work, lost.promise]);
    return result;
  }

  /** One connection of its own, outside the pool; `onClosed` is called when it ends or dies. */
  openSession(onClosed: () => void): Sql {
    return connect(this.#options, { max: 1, onclose: onClosed });
  }

  /** Waits up to 5 s for running queries, then ends them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await this.sql.end({ timeout: 5 });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  /**
   * A lost server is answered with a new pool. A postgres.js connection that closes with bytes
   * unsent keeps them and hangs in its next start-up until the connect time-out. Connections
   * have no idle or life time, so every closed one is a lost one.
   */
  #openPool() {
    const sql = connect(this.#options, {
      onclose: () => void this.#onConnectionClosed(sql),
    });
    return { sql, orm: drizzle(sql, { schema }) };
  }

  /** A server that has no connection to spare is not lost: those that are open go on. */
  async #onConnectionClosed(sql: Sql): Promise<void> {
    this.#hasLostOne = true;
    if (this.#isChecking) return;
    this.#isChecking = true;
    while (this.#hasLostOne && !this.#isClosed && this.#pool.sql === sql) {
      this.#hasLostOne = false;
      if (await this.#isOutOfConnections()) await delay(CROWDED_PAUSE_MS);
      else if (!this.#isClosed) {
        this.#pool = this.#openPool();
        void discard(sql);
      }
    }
    this.#isChecking = false;
  }

  async #isOutOfConnections(): Promise<boolean> {
    const one = connect(this.#options, { max: 1, onclose: () => {} });
    try {
      await one`select 1`;
      return false;
    } catch (error) {
      return error instanceof postgres.PostgresError && error.code === TOO_MANY_CONNECTIONS;
    } finally {
      void discard(one);
    }
  }
}

/** Rejects what still waits there; ends later what was just connecting and escaped that. */
async function discard(sql: Sql & { close?: () => Promise<void> }): Promise<void> {
  await sql.end({ timeout: 0 });
  setTimeout(() => void sql.close?.(), 2 * CONNECT_TIMEOUT_SECONDS * 1000).unref();
}

const CONNECT_TIMEOUT_SECONDS = 2;
const CROWDED_PAUSE_MS = 1000;
const TOO_MANY_CONNECTIONS = '53300';

function connect(options: DatabaseOptions, more: { max?: number; onclose: () => void }): Sql {
  return postgres({
    host: options.host,
    port: options.port,
    user: options.user,
    database: options.database,
    ...(options.password === undefined ? {} : { password: options.password }),
    ...(options.authority === undefined
      ? {}
      : { ssl: { ca: options.authority, host: options.host, minVersion: 'TLSv1.2' } }),
    max: options.max,
    connect_timeout: CONNECT_TIMEOUT_SECONDS,
    max_lifetime: null,
    backoff: () => 0,
    // The driver's query for array types is an unhandled rejection when the server dies during it.
    // So no array parameters: the rows of a multi-row statement travel as one JSON parameter.
    fetch_types: false,
    onnotice: () => {},
    types: {
      // Revisions stay far below 2^53.
      bigint: { to: 20, from: [20], parse: Number, serialize: String },
    },
    connection: {
      application_name: options.applicationName,
      // Batches are joined to tables by their keys: never read a whole table because statistics are young.
      enable_hashjoin: 'off',
      enable_mergejoin: 'off',
      // Compiling a verification's one indexed read took 100 times as long as running it.
      jit: 'off',
      statement_timeout: options.statementTimeoutMs ?? 5000,
      ...(options.asyncCommit ? { synchronous_commit: 'off' } : {}),
    },
    ...more,
  });
}

/** Whether the database answers within the time; never rejects. */
export async function pingDatabase(db: Database, timeoutMs: number): Promise<boolean> {
  const timeout = new AbortController();
  const late = delay(timeoutMs, false, { signal: timeout.signal }).catch(() => false);
  const answer = db.sql`select 1`.then(
    () => true,
    () => false,
  );
  try {
    return await Promise.race([answer, late]);
  } finally {
    timeout.abort();
  }
}

/** True when the connection died or is about to: nothing can be sent there any more. */
function isSessionGone(error: unknown): boolean {
  if (error instanceof postgres.PostgresError) return error.severity !== 'ERROR';
  const { code, errno } = error as { code?: unknown; errno?: unknown };
  return errno !== undefined || (typeof code === 'string' && code.startsWith('CONNECT'));
}
