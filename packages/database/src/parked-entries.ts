import type { Database } from './open-database.ts';

/** Keeps what a question cannot hold, in the place of what stood there; what is over goes. */
export async function keepParkedEntry(
  db: Database,
  entry: { id: string; sealed: Uint8Array; expiresAtMs: number },
): Promise<void> {
  const expiresAt = new Date(entry.expiresAtMs).toISOString();
  await db.sql`
    with gone as (
      delete from parked_entries where id in (
        select id from parked_entries where expires_at < now() and id <> ${entry.id}
        order by expires_at limit 100 for update skip locked))
    insert into parked_entries (id, sealed, expires_at)
    values (${entry.id}, ${Buffer.from(entry.sealed)}, ${expiresAt}::timestamptz)
    on conflict (id) do update set sealed = excluded.sealed, expires_at = excluded.expires_at`;
}

/** Null: there is none, or it is over. */
export async function findParkedEntry(db: Database, id: string): Promise<Uint8Array | null> {
  const [row] = await db.sql<{ sealed: Buffer }[]>`
    select sealed from parked_entries where id = ${id} and expires_at > now()`;
  return row?.sealed ?? null;
}
