import { usernameKey } from '@countersign/verification';
import { boundedTime, LIST_MAX, shownEvent } from './events.ts';
import type { AuditEvent, EventFilter, ListedEvent } from './events.ts';
import { jsonText } from './json-text.ts';
import type { Database, Sql, Transaction } from './open-database.ts';

/** A place in the cluster's event stream. It means the same on every node. */
export type EventCursor = { incarnation: number; arrival: number };

export const FIRST_EVENT: EventCursor = { incarnation: 0, arrival: 0 };

/**
 * Events that came through the cluster's stream after the cursor, in the order in which they came:
 * an event of a node that was cut off comes late, whatever its time says. `end` is where the stream
 * ends on this node now. This node's own events appear when the stream has taken them.
 * @returns at most `limit` events, and where to go on
 */
export async function eventsAfter(
  db: Database,
  filter: EventFilter & { after: EventCursor | 'end' },
): Promise<{ events: ListedEvent[]; next: EventCursor }> {
  const { after } = filter;
  return db.transaction(async (tx) => {
    const end = await readEnd(tx);
    if (after === 'end') return { events: [], next: end };
    // Nothing new, or this node is behind the one that gave the cursor.
    if (!isLater(end, after)) return { events: [], next: after };
    const limit = Math.min(filter.limit, LIST_MAX);
    const rows = await readPage(tx, { ...filter, after, limit });
    const events = rows.map(({ event, at }) => ({ ...event, at: new Date(at).toISOString() }));
    const last = rows.length === limit ? rows.at(-1) : undefined;
    // What a filter left out need not be looked at again.
    const { incarnation, arrival } = last ?? end;
    return { events, next: { incarnation, arrival } };
  }, 'isolation level repeatable read read only');
}

type PageRow = EventCursor & { event: ListedEvent; at: string };

async function readPage(
  tx: Transaction,
  filter: EventFilter & { after: EventCursor },
): Promise<PageRow[]> {
  const { incarnation, arrival } = filter.after;
  const none = tx``;
  const since = filter.sinceMs === undefined ? null : boundedTime(filter.sinceMs);
  const type = filter.type?.replaceAll('\0', '');
  const key = filter.user === undefined ? null : usernameKey(filter.user.replaceAll('\0', ''));
  return tx<PageRow[]>`
    select incarnation, arrival, at, ${shownEvent(tx)} as event from events
    where (incarnation, arrival) > (${incarnation}::integer, ${arrival}::bigint)
      ${since === null ? none : tx`and at >= ${since} and day >= ${since.slice(0, 10)}`}
      ${type === undefined ? none : tx`and type = ${type}`}
      ${
        key === null
          ? none
          : tx`and (username_key = ${key} or user_id in
              (select id from users where users.username_key = ${key}))`
      }
    order by incarnation, arrival limit ${filter.limit}`;
}

async function readEnd(tx: Transaction): Promise<EventCursor> {
  const [end] = await tx<EventCursor[]>`
    select incarnation, arrival from events order by incarnation desc, arrival desc limit 1`;
  return end ?? FIRST_EVENT;
}

function isLater(a: EventCursor, b: EventCursor): boolean {
  return (
    a.incarnation > b.incarnation || (a.incarnation === b.incarnation && a.arrival > b.arrival)
  );
}

/** Where the stream ends on this node now. */
export async function readEventsEnd(db: Database): Promise<EventCursor> {
  return db.transaction(readEnd, 'read only');
}

/** An event with its place in the stream. */
export type PlacedEvent = EventCursor &
  Pick<AuditEvent, 'id' | 'at' | 'type' | 'node' | 'userId' | 'username' | 'actor'> &
  Pick<AuditEvent, 'application' | 'result' | 'reason' | 'details'>;

/** Which events are worth telling somebody: by type, or with a mark among their details. */
export type EventChoice = { types: readonly string[]; mark: string };

/**
 * Events of some types from a place on (the one there included), oldest first, and where to go on:
 * behind everything that was looked at.
 */
export async function chosenEventsFrom(
  db: Database,
  choice: EventChoice & { from: EventCursor; limit: number },
): Promise<{ events: PlacedEvent[]; end: EventCursor }> {
  const { incarnation, arrival } = choice.from;
  return db.transaction(async (tx) => {
    const end = await readEnd(tx);
    const rows = await tx<PlacedEvent[]>`
      select ${placedEvent(tx)} from events
      where (incarnation, arrival) >= (${incarnation}::integer, ${arrival}::bigint)
        and (type in (select jsonb_array_elements_text(${jsonText(choice.types)}::text::jsonb))
          or details ? ${choice.mark})
      order by incarnation, arrival limit ${choice.limit}`;
    const events = rows.map(withIsoTime);
    const last = events.length === choice.limit ? events.at(-1)! : end;
    return { events, end: { incarnation: last.incarnation, arrival: last.arrival } };
  }, 'isolation level repeatable read read only');
}

/** One event by its id and time; null where it is not kept any more. */
export async function findEvent(
  db: Database,
  { id, at }: { id: string; at: string },
): Promise<PlacedEvent | null> {
  const { sql } = db;
  const day = boundedTime(Date.parse(at)).slice(0, 10);
  const [row] = await sql<PlacedEvent[]>`
    select ${placedEvent(sql)} from events where day = ${day} and id = ${id}`;
  return row ? withIsoTime(row) : null;
}

function placedEvent(sql: Sql | Transaction) {
  return sql`id, at, type, node, user_id as "userId", username, actor, application, result, reason,
    details, incarnation, arrival`;
}

function withIsoTime(event: PlacedEvent): PlacedEvent {
  return { ...event, at: new Date(event.at).toISOString() };
}
