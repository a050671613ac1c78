import type { AuditEvent } from './events.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/** Complete events that are not in the cluster's stream yet, oldest first. */
export async function takeFinalOutbox(
  db: Database,
  limit: number,
): Promise<{ id: string; event: AuditEvent }[]> {
  return db.sql<{ id: string; event: AuditEvent }[]>`
    select id, event from outbox where final order by at, id limit ${limit}`;
}

/** Forgets events that the cluster's stream has acknowledged. */
export async function deleteOutbox(db: Database, ids: readonly string[]): Promise<void> {
  await db.sql`
    delete from outbox using jsonb_array_elements_text(${jsonText(ids)}::text::jsonb) as sent(id)
    where outbox.id = sent.id::uuid`;
}

/**
 * Completes, with the result `unknown`, events whose worker died before it finished them.
 * @returns how many
 */
export async function finishAbandoned(db: Database, olderThanMs: number): Promise<number> {
  const finished = await db.sql`
    update outbox set final = true, event = event || '{"result": "unknown"}'
    where not final and at < now() - ${olderThanMs}::float8 * interval '1 ms'`;
  return finished.count;
}

export async function outboxSize(db: Database): Promise<number> {
  const [row] = await db.sql<{ count: number }[]>`select count(*) from outbox`;
  return row?.count ?? 0;
}

/**
 * Keeps the newest `max` events.
 * @returns how many were dropped
 */
export async function trimOutbox(db: Database, max: number): Promise<number> {
  const dropped = await db.sql`
    delete from outbox where id in (select id from outbox order by at desc, id desc offset ${max})`;
  return dropped.count;
}
