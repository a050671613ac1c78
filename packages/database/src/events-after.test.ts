import { describe, expect, it } from 'vitest';
import { ensureEventPartitions } from './event-partitions.ts';
import { eventsAfter, FIRST_EVENT } from './events-after.ts';
import { listEvents, storeEvents } from './events.ts';
import type { AuditEvent } from './events.ts';
import { exampleEvent } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
const DAY_MS = 86_400_000;

/** An event as the stream delivers it. */
function arrived(arrival: number, more: Partial<AuditEvent> = {}, incarnation = 1) {
  return { ...exampleEvent(more), incarnation, arrival };
}

describe('following events', () => {
  it('gives them in the order in which they came, whatever their times, and each once', async () => {
    const db = await postgres.cleanDatabase();
    const late = arrived(3, { at: new Date(Date.now() - 9 * DAY_MS).toISOString() });
    const events = [arrived(1), arrived(2, { at: new Date().toISOString() }), late];
    await storeEvents(db, events, 3);
    const first = await eventsAfter(db, { after: FIRST_EVENT, limit: 2 });
    expect(first.events.map(({ id }) => id)).toEqual(events.slice(0, 2).map(({ id }) => id));
    const second = await eventsAfter(db, { after: first.next, limit: 2 });
    expect(second.events.map(({ id }) => id)).toEqual([late.id]);
    const third = await eventsAfter(db, { after: second.next, limit: 2 });
    expect(third).toEqual({ events: [], next: second.next });
    await storeEvents(db, [late, ...events], 4);
    expect((await eventsAfter(db, { after: second.next, limit: 2 })).events).toEqual([]);
  });

  it('goes on in the next incarnation, whose stream counts from the start', async () => {
    const db = await postgres.cleanDatabase();
    await storeEvents(db, [arrived(900)], 900);
    const { next } = await eventsAfter(db, { after: 'end', limit: 9 });
    expect(next).toEqual({ incarnation: 1, arrival: 900 });
    const event = arrived(1, {}, 2);
    await storeEvents(db, [event], 1);
    const { events } = await eventsAfter(db, { after: next, limit: 9 });
    expect(events.map(({ id }) => id)).toEqual([event.id]);
  });

  it('keeps the cursor of a node that is ahead of this one', async () => {
    const db = await postgres.cleanDatabase();
    await storeEvents(db, [arrived(5)], 5);
    const after = { incarnation: 1, arrival: 70 };
    expect(await eventsAfter(db, { after, limit: 9 })).toEqual({ events: [], next: after });
    const filtered = await eventsAfter(db, { after, limit: 9, type: 'other' });
    expect(filtered).toEqual({ events: [], next: after });
  });

  it('with a filter passes over the rest, once', async () => {
    const db = await postgres.cleanDatabase();
    const wanted = arrived(2, { type: 'settings.set' });
    await storeEvents(db, [arrived(1), wanted, arrived(3)], 3);
    const page = await eventsAfter(db, { after: FIRST_EVENT, limit: 9, type: 'settings.set' });
    expect(page.events.map(({ id }) => id)).toEqual([wanted.id]);
    expect(page.next).toEqual({ incarnation: 1, arrival: 3 });
  });

  it('shows an event again when its unknown result becomes known', async () => {
    const db = await postgres.cleanDatabase();
    const unknown = arrived(1, { result: 'unknown' });
    await storeEvents(db, [unknown], 1);
    const { next } = await eventsAfter(db, { after: 'end', limit: 1 });
    await storeEvents(db, [{ ...unknown, result: 'approved', arrival: 2 }], 2);
    const { events } = await eventsAfter(db, { after: next, limit: 9 });
    expect(events).toMatchObject([{ id: unknown.id, result: 'approved' }]);
  });

  it('works with the partitions of a year, for several readers at once', async () => {
    // A year of partitions in one statement.
    const name = await postgres.migratedDatabase();
    const db = postgres.open(name, { statementTimeoutMs: 30_000 });
    const days = Array.from({ length: 366 }, (_, ago) =>
      new Date(Date.now() - ago * DAY_MS).toISOString().slice(0, 10),
    );
    await ensureEventPartitions(db, days);
    await storeEvents(db, [arrived(1), arrived(2, { at: `${days[365]}T12:00:00.000Z` })], 2);
    const readers = Array.from({ length: 8 }, () => [
      eventsAfter(db, { after: FIRST_EVENT, limit: 100 }),
      listEvents(db, { limit: 100 }).then((events) => ({ events })),
    ]);
    for (const { events } of await Promise.all(readers.flat())) expect(events).toHaveLength(2);
  }, 60_000);
});
