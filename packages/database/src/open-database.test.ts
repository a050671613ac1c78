import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { openDatabase, pingDatabase } from './open-database.ts';
import type { Database } from './open-database.ts';
import { startTestPostgres } from './testing/start-postgres.ts';
import type { TestPostgres } from './testing/start-postgres.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { waitFor } from './testing/wait-for.ts';

const postgres = useTestPostgres();

describe('a transaction', () => {
  it('is rolled back when its function throws, and the connection is used again', async () => {
    const db = postgres.open(await postgres.emptyDatabase(), { max: 1 });
    await db.sql`create table notes (text text)`;
    const failing = db.transaction(async (tx) => {
      await tx`insert into notes values ('lost')`;
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    await expect(db.transaction((tx) => tx`select 1 / 0`)).rejects.toThrow('division by zero');
    await db.transaction((tx) => tx`insert into notes values ('kept')`);
    expect(await db.sql`select text from notes`).toEqual([{ text: 'kept' }]);
  });

  it('may be the first thing a pool does', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    const [row] = await db.transaction((tx) => tx<{ one: number }[]>`select 1 as one`);
    expect(row).toEqual({ one: 1 });
  });
});

describe('a pool', () => {
  it('ends a statement that takes longer than its time-out', async () => {
    const db = postgres.open(await postgres.emptyDatabase(), { statementTimeoutMs: 50 });
    await expect(db.sql`select pg_sleep(30)`).rejects.toThrow('statement timeout');
  });

  it('commits asynchronously only where that was asked for', async () => {
    const name = await postgres.emptyDatabase();
    const commit = async (db: Database) => (await db.sql`show synchronous_commit`)[0];
    // The test server's own default may be off.
    const { sql } = postgres.open(name);
    await sql`alter database ${sql(name)} set synchronous_commit = on`;
    const lazy = postgres.open(name, { asyncCommit: true });
    expect(await commit(lazy)).toEqual({ synchronous_commit: 'off' });
    expect(await commit(postgres.open(name))).toEqual({ synchronous_commit: 'on' });
  });

  it('reads revisions as numbers and documents as objects', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    const [row] = await db.sql`select 9007199254740991::bigint as n, '{"a":1}'::jsonb as j`;
    expect(row).toEqual({ n: 9_007_199_254_740_991, j: { a: 1 } });
  });

  it('answers a ping with false, and in time, while the server cannot answer', async () => {
    const name = await postgres.emptyDatabase();
    const [db, other] = [postgres.open(name, { max: 1 }), postgres.open(name, { max: 1 })];
    expect(await pingDatabase(db, 5000)).toBe(true);
    await other.sql`select pg_advisory_lock(1)`;
    const busy = db.sql`select pg_advisory_lock(1)`.execute();
    expect(await pingDatabase(db, 20)).toBe(false);
    await other.sql`select pg_advisory_unlock(1)`;
    await busy;
  });

  it('refuses queries at once where no server is', async () => {
    await using db = openDatabase({
      host: '/nowhere',
      port: 5432,
      user: 'nobody',
      database: 'none',
      max: 2,
      applicationName: 'test',
    });
    await expect(db.sql`select 1`).rejects.toThrow(/ENOENT/);
    // Its pool may just be on the way out.
    const next = db.transaction((tx) => tx`select 1`);
    await expect(next).rejects.toThrow(/ENOENT|CONNECTION_DESTROYED/);
    expect(await pingDatabase(db, 5000)).toBe(false);
  });
});

describe('when the server dies', () => {
  let server: TestPostgres;
  let db: Database;

  beforeEach(async () => {
    server = await startTestPostgres('own');
    db = openDatabase({ ...server.connection, max: 6, applicationName: 'test' });
  });

  afterEach(async () => {
    await db.close();
    await server.stop();
  });

  it('loses nothing that was acknowledged and serves everybody again within a second', async () => {
    await db.sql`create table notes (id bigint primary key)`;
    const acknowledged: number[] = [];
    const lastOkAt = Array.from({ length: 24 }, () => 0);
    const stop = new AbortController();
    onTestFinished(() => stop.abort());
    const clients = lastOkAt.map((_, client) =>
      writeUntil(stop.signal, db, client, (id) => {
        acknowledged.push(id);
        lastOkAt[client] = performance.now();
      }),
    );
    const againMs: number[] = [];
    for (let round = 0; round < 3; round++) {
      const before = acknowledged.length;
      await waitFor('writes', () => acknowledged.length > before + 100);
      await server.crash?.();
      expect(await pingDatabase(db, 5000)).toBe(false);
      await server.restart();
      const restartedAt = performance.now();
      await waitFor('every client to write again', () => lastOkAt.every((at) => at > restartedAt));
      againMs.push(performance.now() - restartedAt);
    }
    // A busy machine may take longer now and then.
    expect(Math.min(...againMs)).toBeLessThan(1000);
    stop.abort();
    await Promise.all(clients);
    const stored = await db.sql<{ id: number }[]>`select id from notes`;
    const ids = new Set(stored.map((row) => row.id));
    expect(acknowledged.filter((id) => !ids.has(id))).toEqual([]);
  }, 60_000);

  it('does not keep more connections than allowed after losing them again and again', async () => {
    for (let round = 0; round < 5; round++) {
      await Promise.allSettled(Array.from({ length: 30 }, () => db.sql`select pg_sleep(0.01)`));
      await db.sql`select pg_terminate_backend(pid) from pg_stat_activity
        where application_name = 'test' and pid <> pg_backend_pid()`.catch(() => {});
    }
    await waitFor('the pool to work', () => pingDatabase(db, 1000));
    const countConnections = async () => {
      const [row] = await db.sql<{ count: number }[]>`
        select count(*) from pg_stat_activity where application_name = 'test'`;
      return row?.count;
    };
    // A connection that was just being made when its pool was given up ends a little later.
    await expect.poll(countConnections, { timeout: 10_000 }).toBeLessThanOrEqual(6);
  });
});

/** Writes numbers of its own, every third in a transaction of several statements. */
async function writeUntil(
  signal: AbortSignal,
  db: Database,
  client: number,
  onStored: (id: number) => void,
): Promise<void> {
  for (let count = 0; !signal.aborted; count++) {
    const id = client * 1_000_000 + count;
    try {
      if (count % 3 === 0) {
        await db.transaction(async (tx) => {
          await Promise.all([tx`insert into notes values (${id})`, tx`select ${id}::bigint`]);
        });
      } else {
        await db.sql`insert into notes values (${id})`;
      }
      onStored(id);
    } catch {
      await new Promise(setImmediate);
    }
  }
}
