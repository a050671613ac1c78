import { usernameKey } from '@countersign/verification';
import { detailsOfErased } from './erased-users.ts';
import { ensureEventPartitions } from './event-partitions.ts';
import { jsonText } from './json-text.ts';
import type { Database, Sql, Transaction } from './open-database.ts';
import { storePosition } from './positions.ts';

/** What happened: every verification and every change of the cluster. */
export type AuditEvent = {
  id: string;
  /** ISO time. */
  at: string;
  type: string;
  node: string;
  /** null: not about a user, or about nobody known. */
  userId: string | null;
  username: string | null;
  actor: string | null;
  application: string | null;
  clientAddress: string | null;
  result: string | null;
  reason: string | null;
  degraded: boolean;
  durationMs: number | null;
  details: Record<string, unknown>;
};

/** An event with its place in the cluster's stream: the order in which every node stores it. */
export type ArrivedEvent = AuditEvent & { incarnation?: number; arrival?: number };

/** As events are shown: a user is a name. */
export type ListedEvent = Omit<AuditEvent, 'userId' | 'username'> & { user: string | null };

export type EventFilter = {
  /** A name as typed: events under that name, and of the user who has it now. */
  user?: string;
  /** Unix milliseconds. */
  sinceMs?: number;
  type?: string;
  /** At most 1000. */
  limit: number;
};

export const LIST_MAX = 1000;
const LAST_STORABLE_MS = Date.UTC(9999, 11, 31);

/** What these users were called when something last happened to them; ids nothing is known of are left out. */
export async function lastUsernames(
  db: Database,
  userIds: readonly string[],
): Promise<Map<string, string>> {
  const rows = await db.sql<{ userId: string; username: string }[]>`
    select distinct on (user_id) user_id as "userId", username from events
    where username is not null and user_id in (
      select known::uuid
      from jsonb_array_elements_text(${jsonText(userIds)}::text::jsonb) as input (known))
    order by user_id, at desc`;
  return new Map(rows.map(({ userId, username }) => [userId, username]));
}

/** Stores events that are not there yet, or only with an unknown result, together with the follower's position. */
export async function storeEvents(
  db: Database,
  events: readonly ArrivedEvent[],
  position: number,
): Promise<void> {
  const rows = onePerId(events).map((event) => {
    const at = boundedTime(Date.parse(event.at));
    const username_key = event.username === null ? null : usernameKey(event.username);
    return { ...event, at, day: at.slice(0, 10), username_key };
  });
  await ensureEventPartitions(
    db,
    rows.map((row) => row.day),
  );
  await db.transaction(async (tx) => {
    await Promise.all([
      rows.length > 0 && insertEvents(tx, jsonText(rows)),
      storePosition(tx, 'events', position),
    ]);
  });
}

/** A batch may hold an event as unknown and, from its worker after all, with its result. */
function onePerId(events: readonly ArrivedEvent[]): ArrivedEvent[] {
  const byId = new Map<string, ArrivedEvent>();
  for (const event of events) {
    const known = byId.get(event.id);
    if (!known || known.result === 'unknown') byId.set(event.id, event);
  }
  return [...byId.values()];
}

/** One event with a wild clock must not stop the follower. */
export function boundedTime(ms: number): string {
  const bounded = Number.isNaN(ms) ? 0 : Math.min(Math.max(ms, 0), LAST_STORABLE_MS);
  return new Date(bounded).toISOString();
}

async function insertEvents(tx: Transaction, rows: string): Promise<void> {
  await tx`
    insert into events (id, day, at, type, node, user_id, username, username_key, actor,
      application, client_address, result, reason, degraded, duration_ms, details, incarnation, arrival)
    select input.id, day, at, type, node, "userId", coalesce(erased.name, username),
      coalesce(erased.name, username_key), actor, application,
      case when erased.name is null then "clientAddress" end, result, reason, degraded,
      "durationMs"::integer,
      case when erased.name is null then details else ${detailsOfErased(tx, tx`details`)} end,
      coalesce(incarnation, 0), coalesce(arrival, 0)
    from jsonb_to_recordset(${rows}::text::jsonb) as input(
      id uuid, day date, at timestamptz, type text, node text, "userId" uuid, username text,
      username_key text, actor text, application text, "clientAddress" text, result text,
      reason text, degraded boolean, "durationMs" float8, details jsonb,
      incarnation integer, arrival bigint)
    left join lateral (
      select r.document ->> 'username' as name from removed_users r
      where r.id = input."userId" and r.document ? 'erasedAt') as erased on true
    on conflict (day, id) do update set result = excluded.result, reason = excluded.reason,
      degraded = excluded.degraded, duration_ms = excluded.duration_ms, details = excluded.details,
      incarnation = excluded.incarnation, arrival = excluded.arrival
    where events.result = 'unknown' and excluded.result is distinct from 'unknown'`;
}

/** The expression for a row of `events` as a {@link ListedEvent}. */
export function shownEvent(sql: Sql | Transaction) {
  return sql`jsonb_build_object('id', id, 'type', type, 'node', node,
    'user', username, 'actor', actor, 'application', application,
    'clientAddress', client_address, 'result', result, 'reason', reason,
    'degraded', degraded, 'durationMs', duration_ms, 'details', details)`;
}

/**
 * Events, newest first: those stored, and this node's complete ones that are still in the outbox,
 * so that nothing is invisible while the stream is away.
 */
export async function listEvents(db: Database, filter: EventFilter): Promise<ListedEvent[]> {
  const { sql } = db;
  const limit = Math.min(filter.limit, LIST_MAX);
  const none = sql``;
  const since = filter.sinceMs === undefined ? null : boundedTime(filter.sinceMs);
  const type = filter.type?.replaceAll('\0', '');
  const key = filter.user === undefined ? null : usernameKey(filter.user.replaceAll('\0', ''));
  const userIds = sql`select id from users where users.username_key = ${key}`;
  const rows = await sql<{ event: ListedEvent; at: string }[]>`
    select at, event from (
      (select at, id, ${shownEvent(sql)} as event
        from events
        where true
          ${since === null ? none : sql`and at >= ${since} and day >= ${since.slice(0, 10)}`}
          ${type === undefined ? none : sql`and type = ${type}`}
          ${key === null ? none : sql`and (username_key = ${key} or user_id in (${userIds}))`}
        order by at desc, id desc limit ${limit})
      union all
      (select at, id, event - 'userId' - 'username'
          || jsonb_build_object('user', event -> 'username')
        from outbox o
        where final
          ${since === null ? none : sql`and at >= ${since}`}
          ${type === undefined ? none : sql`and event ->> 'type' = ${type}`}
          ${
            key === null
              ? none
              : sql`and (username_key = ${key} or event ->> 'userId' in (select id::text from (${userIds}) u))`
          }
          and not exists (select from events e
            where e.id = o.id and e.day = (o.at at time zone 'UTC')::date)
        order by at desc, id desc limit ${limit})
    ) as both_places
    order by at desc, id desc limit ${limit}`;
  return rows.map(({ event, at }) => ({ ...event, at: new Date(at).toISOString() }));
}
