import type { Database, Transaction } from './open-database.ts';
import {
  findApplied,
  insertApplied,
  selectApplied,
  type Applied,
  type Incarnation,
} from './read-applied.ts';
import { reopenStopFacts } from './stop-facts.ts';

/**
 * Everything that is a function of the change log, in the order of locking: verification reads `applied` first, so
 * whoever comes later waits there and holds nothing yet.
 */
const TABLES = [
  'applied',
  'documents',
  'users',
  'user_names',
  'removed_users',
  'settings_groups',
  'applications',
  'api_keys',
  'administrators',
  'nodes',
  'directories',
  'directory_syncs',
  'radius_clients',
  'radius_targets',
  'epochs',
  'command_results',
];
const SCHEMA = 'next';
const LOCK_TIMEOUT_MS = 1000;
/** PostgreSQL looks for a deadlock after 1 s: of two that wait for each other the swap must give up, not the reader. */
const DEADLOCK_TIMEOUT_MS = 100;

/** From here to its end the transaction reads and writes the tables that are being filled. */
export async function useNextTables(tx: Transaction): Promise<void> {
  await tx.unsafe(`set local search_path to ${SCHEMA}, public`);
}

/** Where the filling of tables for another incarnation stands; null when none is under way. */
export async function readNextApplied(db: Database): Promise<Applied | null> {
  return db.transaction(async (tx) => {
    if (!(await hasNextTables(tx))) return null;
    await useNextTables(tx);
    return findApplied(tx);
  });
}

/**
 * Begins to fill tables for `incarnation` beside those in use, or goes on where it was interrupted.
 * Tables begun for another incarnation are thrown away.
 */
export async function beginNextTables(
  db: Database,
  incarnation: Incarnation,
  options: { isFresh?: boolean } = {},
): Promise<Applied> {
  return db.transaction(async (tx) => {
    if (!options.isFresh && (await hasNextTables(tx))) {
      const known = await tx<{ id: string }[]>`
        select incarnation ->> 'id' as id from next.applied`;
      if (known[0]?.id === incarnation.id) {
        await useNextTables(tx);
        return selectApplied(tx);
      }
    }
    await tx.unsafe(`drop schema if exists ${SCHEMA} cascade`);
    await tx.unsafe(`create schema ${SCHEMA}`);
    for (const table of TABLES) {
      await tx.unsafe(`create table ${SCHEMA}.${table} (like public.${table} including all)`);
    }
    await useNextTables(tx);
    return insertApplied(tx, incarnation);
  });
}

/**
 * Puts the tables filled for that incarnation in place of those in use, in one transaction that readers wait for. User
 * states stay, as the first guess they are; how far other streams were followed is forgotten, because they begin anew.
 * @throws PostgresError when readers did not let go of the old tables in 1 s, or want them in another order: try again
 */
export async function swapInNextTables(db: Database, incarnationId: string): Promise<Applied> {
  return db.transaction(async (tx) => {
    const filled = await tx<{ id: string }[]>`
      select incarnation ->> 'id' as id from next.applied for update`;
    if (filled[0]?.id !== incarnationId) throw new Error('those tables are not there any more');
    await tx.unsafe(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
    await tx.unsafe(`set local deadlock_timeout = ${DEADLOCK_TIMEOUT_MS}`);
    await tx.unsafe(`lock table ${TABLES.map((table) => `public.${table}`).join(', ')}`);
    for (const table of TABLES) {
      await tx.unsafe(`drop table public.${table}`);
      await tx.unsafe(`alter table ${SCHEMA}.${table} set schema public`);
    }
    await tx.unsafe(`drop schema ${SCHEMA} cascade`);
    await tx`update applied set is_filled = true`;
    await tx`update user_states set revision = 0`;
    await tx`delete from user_states where not exists (
      select 1 from users where users.id = user_states.user_id
      union all select 1 from removed_users where removed_users.id = user_states.user_id
      union all select 1 from administrators where administrators.id = user_states.user_id)`;
    await tx`delete from positions`;
    await reopenStopFacts(tx);
    return selectApplied(tx);
  });
}

/** Throws away what was filled so far. */
export async function dropNextTables(db: Database): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.unsafe(`drop schema if exists ${SCHEMA} cascade`);
  });
}

/** Whether the seal of a rebuild is among what was filled. */
export async function hasNextSeal(db: Database): Promise<boolean> {
  return db.transaction(async (tx) => {
    await useNextTables(tx);
    const rows = await tx`select 1 from documents where kind = 'seal'`;
    return rows.length > 0;
  });
}

/** Documents filled so far. */
export async function countNextDocuments(db: Database): Promise<number> {
  return db.transaction(async (tx) => {
    await useNextTables(tx);
    const [row] = await tx<{ count: number }[]>`select count(*) as count from documents`;
    return row?.count ?? 0;
  });
}

async function hasNextTables(tx: Transaction): Promise<boolean> {
  const [row] = await tx<{ found: boolean }[]>`
    select to_regclass('next.applied') is not null as found`;
  return row?.found === true;
}
