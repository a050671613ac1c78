import postgres from 'postgres';
import { jsonText } from './json-text.ts';
import type { Database, Transaction } from './open-database.ts';

/** Days further off than this share one partition. */
const FAR_DAYS = 400;
const DAY_MS = 86_400_000;
const CHECK_VIOLATION = '23514';

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

/**
 * Drops what happened before the day (`2026-01-31`).
 * @returns how many partitions were dropped
 */
export async function dropEventsBefore(db: Database, day: string): Promise<number> {
  return db.transaction(async (tx) => {
    await lockPartitions(tx);
    const old = await tx<{ name: string }[]>`
      select c.relname as name from pg_inherits i join pg_class c on c.oid = i.inhrelid
      where i.inhparent = 'events'::regclass and c.relname ~ '^events_[0-9]{8}$'
        and c.relname < ${`events_${day.replaceAll('-', '')}`}::name`;
    for (const { name } of old) await tx`drop table ${tx(name)}`;
    await tx`delete from events_default where day < ${day}`;
    return old.length;
  });
}

async function lockPartitions(tx: Transaction): Promise<void> {
  await tx`select pg_advisory_xact_lock(hashtextextended('countersign event partitions', 0))`;
}
