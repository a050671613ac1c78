import { describe, expect, it } from 'vitest';
import { tryAdvisoryLock, type AdvisoryLock } from './advisory-lock.ts';
import { closeCircuit, openCircuit, readCircuit } from './circuit.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { waitFor } from './testing/wait-for.ts';

const postgres = useTestPostgres();

describe('an advisory lock', () => {
  it('belongs to one process until it is released', async () => {
    const name = await postgres.emptyDatabase();
    const pools = Array.from({ length: 6 }, () => postgres.open(name, { max: 1 }));
    const locks = await Promise.all(pools.map((db) => tryAdvisoryLock(db, 'merge')));
    const held = locks.filter((lock) => lock !== null);
    expect(held).toHaveLength(1);
    const other = await tryAdvisoryLock(pools[0]!, 'another');
    expect(other).not.toBeNull();
    expect(held[0]!.lost.aborted).toBe(false);
    await held[0]!.release();
    await waitFor('the holder to be told', () => held[0]!.lost.aborted);
    const again: AdvisoryLock[] = [];
    // A server that is slow to answer ends the session a little later.
    await waitFor('the lock', async () => {
      const lock = await tryAdvisoryLock(pools[0]!, 'merge');
      if (lock) again.push(lock);
      return lock !== null;
    });
    await Promise.all([again[0]!.release(), other!.release()]);
  });

  it('tells its holder when the session dies, and is free for the next', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    const lock = await tryAdvisoryLock(db, 'merge');
    await db.sql`select pg_terminate_backend(pid) from pg_locks where locktype = 'advisory'
      and database = (select oid from pg_database where datname = current_database())`;
    await waitFor('the holder to be told', () => lock!.lost.aborted);
    const next = await tryAdvisoryLock(db, 'merge');
    expect(next).not.toBeNull();
    await next!.release();
    await lock!.release();
  });
});

describe('the circuit', () => {
  it('opens and closes once, and remembers why', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    expect(await readCircuit(db)).toMatchObject({ open: false });
    const opened = await Promise.all([openCircuit(db, 'three silent'), openCircuit(db, 'other')]);
    expect(opened.filter(Boolean)).toHaveLength(1);
    const { since, ...state } = await readCircuit(db);
    expect(state.open).toBe(true);
    expect(['three silent', 'other']).toContain(state.reason);
    expect(Math.abs(since.getTime() - Date.now())).toBeLessThan(60_000);
    expect(await closeCircuit(db)).toBe(true);
    expect(await closeCircuit(db)).toBe(false);
    expect(await readCircuit(db)).toMatchObject({ open: false, reason: state.reason });
  });
});
