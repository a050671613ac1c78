import postgres from 'postgres';
import { jsonText } from './json-text.ts';
import type { Database, Transaction } from './open-database.ts';

/** Days further off than this share one partition. */
const FAR_DAYS = 400;
const DAY_MS = 86_400_000;
const CHECK_VIOLATION = '23514';
const LOCK_NOT_AVAILABLE = '55P03';
/** A partition can only be dropped while nobody uses any event: how long that may be waited for. */
const DROP_LOCK_MS = 300;
/** Rows deleted in one statement. */
const FAR_BATCH = 2000;

/**
 * Makes the partitions that events of these days (`2026-01-31`) need. Several processes may.
 * @returns the days that got a partition now
 */
export async function ensureEventPartitions(
  db: Database,
  days: readonly string[],
  now = new Date(),
): Promise<string[]> {
  const near = [...new Set(days)].filter(
    (day) => Math.abs(Date.parse(day) - now.getTime()) <= FAR_DAYS * DAY_MS,
  );
  if (near.length === 0) return [];
  const missing = await db.sql<{ day: string }[]>`
    select day from jsonb_array_elements_text(${jsonText(near)}::text::jsonb) as wanted(day)
    where to_regclass('events_' || replace(day, '-', '')) is null order by day`;
  for (const { day } of missing) await makePartition(db, day);
  return missing.map((row) => row.day);
}

async function makePartition(db: Database, day: string): Promise<void> {
  const next = new Date(Date.parse(day) + DAY_MS).toISOString().slice(0, 10);
  try {
    await db.transaction(async (tx) => {
      await lockPartitions(tx);
      await tx.unsafe(`create table if not exists events_${day.replaceAll('-', '')}
        partition of events for values from ('${day}') to ('${next}')`);
    });
  } catch (error) {
    // The far-off partition has events of this day from when it was far off: they stay together.
    if (error instanceof postgres.PostgresError && error.code === CHECK_VIOLATION) return;
    throw error;
  }
}

export type DroppedEvents = {
  /** Whole days that went with their partition. */
  days: number;
  /** Events of days too far off to have had a partition. */
  farEvents: number;
  /** False where somebody was in the way: the rest goes next time. */
  isComplete: boolean;
};

/**
 * Drops what happened before the day (`2026-01-31`), a partition at a time. Whoever reads or stores
 * events waits at most {@link DROP_LOCK_MS}; if they are longer in the way, the rest stays.
 */
export async function dropEventsBefore(db: Database, day: string): Promise<DroppedEvents> {
  const old = await db.sql<{ name: string }[]>`
    select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
    where i.inhparent = 'events'::regclass and c.relname ~ '^events_[0-9]{8}$'
      and c.relname < ${`events_${day.replaceAll('-', '')}`}::name
    order by 1`;
  let days = 0;
  for (const { name } of old) {
    if (!(await dropPartition(db, name))) return { days, farEvents: 0, isComplete: false };
    days += 1;
  }
  return { days, farEvents: await deleteFarEvents(db, day), isComplete: true };
}

/** False if the locks were not to be had in time. */
async function dropPartition(db: Database, name: string): Promise<boolean> {
  try {
    await db.transaction(async (tx) => {
      await tx`select set_config('lock_timeout', ${String(DROP_LOCK_MS)}, true)`;
      await lockPartitions(tx);
      await tx`drop table if exists ${tx(name)}`;
    });
    return true;
  } catch (error) {
    if (error instanceof postgres.PostgresError && error.code === LOCK_NOT_AVAILABLE) return false;
    throw error;
  }
}

async function deleteFarEvents(db: Database, day: string): Promise<number> {
  for (let deleted = 0; ;) {
    const { count } = await db.sql`
      delete from events_default where ctid in (
        select ctid from events_default where day < ${day} limit ${FAR_BATCH})`;
    deleted += count;
    if (count < FAR_BATCH) return deleted;
  }
}

async function lockPartitions(tx: Transaction): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('countersign event partitions', 0))`;
}
