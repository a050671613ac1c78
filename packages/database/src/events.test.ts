import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { applyChanges } from './apply-changes.ts';
import { dropEventsBefore, ensureEventPartitions } from './event-partitions.ts';
import { lastUsernames, listEvents, storeEvents } from './events.ts';
import type { Database } from './open-database.ts';
import {
  deleteOutbox,
  finishAbandoned,
  outboxSize,
  takeFinalOutbox,
  trimOutbox,
} from './outbox.ts';
import { readPosition } from './positions.ts';
import { initApplied } from './read-applied.ts';
import { beginAttempts } from './reservations.ts';
import { exampleEvent, exampleUser, setChange } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
const migrated = () => postgres.cleanDatabase();
const DAY_MS = 86_400_000;
// The same day from the first test to the last, also around midnight.
const startedAt = Date.now();
const dayFromNow = (days: number) => new Date(startedAt + days * DAY_MS);
const isoDay = (date: Date) => date.toISOString().slice(0, 10);

async function partitionSizes(db: Database) {
  const rows = await db.sql<{ name: string; count: number }[]>`
    select tableoid::regclass::text as name, count(*) from events group by 1 order by 1`;
  return rows.map((row) => [row.name, row.count]);
}

async function leaveInOutbox(db: Database, isFinal: boolean, more = {}) {
  const event = exampleEvent(more);
  await beginAttempts(db, [{ reservation: null, event, isFinal }]);
  return event;
}

describe('storing events', () => {
  it('stores each once, together with the position, however often it comes', async () => {
    const db = await migrated();
    const events = [exampleEvent({ durationMs: 2.6 }), exampleEvent({ durationMs: null })];
    await storeEvents(db, events, 7);
    await storeEvents(db, [...events, ...events], 9);
    expect(await readPosition(db, 'events')).toBe(9);
    expect(await readPosition(db, 'states')).toBe(0);
    expect(await listEvents(db, { limit: 10 })).toHaveLength(2);
  });

  it('replaces a result that was unknown, and no other, by one that comes late', async () => {
    const db = await migrated();
    const event = exampleEvent({ result: 'unknown' });
    const late = { ...event, result: 'approved' };
    await storeEvents(db, [event, late], 1);
    expect(await listEvents(db, { limit: 5 })).toMatchObject([{ result: 'approved' }]);
    await storeEvents(db, [event, { ...event, result: 'denied' }], 2);
    expect(await listEvents(db, { limit: 5 })).toMatchObject([{ result: 'approved' }]);
    const other = exampleEvent({ result: 'unknown' });
    await storeEvents(db, [other], 3);
    await storeEvents(db, [{ ...other, result: 'denied' }], 4);
    const results = (await listEvents(db, { limit: 5 })).map(({ result }) => result);
    expect(results.toSorted()).toEqual(['approved', 'denied']);
  });

  it('know what a user who is gone was called last', async () => {
    const db = await migrated();
    const [renamed, nameless] = [randomUUID(), randomUUID()];
    const at = (ms: number) => new Date(Date.now() - ms).toISOString();
    await storeEvents(
      db,
      [
        exampleEvent({ userId: renamed, username: 'bob', at: at(1000) }),
        exampleEvent({ userId: renamed, username: 'alice', at: at(2000) }),
        exampleEvent({ userId: renamed, username: null, at: at(0) }),
        exampleEvent({ userId: nameless, username: null }),
      ],
      1,
    );
    const names = await lastUsernames(db, [renamed, nameless, randomUUID()]);
    expect([...names]).toEqual([[renamed, 'bob']]);
  });

  it('gives each near day a partition and far days a common one', async () => {
    const db = await migrated();
    const [near, past, far] = [dayFromNow(0), dayFromNow(-399), dayFromNow(3000)];
    const times = [near, past, far].map((date) => date.toISOString());
    const odd = ['not a time', '-271821-04-20T00:00:00.000Z', '+275760-09-13T00:00:00.000Z'];
    const events = [...times, ...odd].map((at) => exampleEvent({ at }));
    await storeEvents(db, events, 1);
    const partition = (date: Date) => `events_${isoDay(date).replaceAll('-', '')}`;
    expect(await partitionSizes(db)).toEqual([
      [partition(past), 1],
      [partition(near), 1],
      ['events_default', 4],
    ]);
  });

  it('makes a partition once when 12 processes want it at the same time', async () => {
    const name = await postgres.migratedDatabase();
    const pools = Array.from({ length: 12 }, () => postgres.open(name, { max: 1 }));
    await Promise.all(pools.map((db) => db.sql`select 1`));
    const days = [0, 1, 2].map((ahead) => isoDay(dayFromNow(ahead)));
    await Promise.all(pools.map((db) => ensureEventPartitions(db, days)));
    await Promise.all(
      pools.map((db, index) =>
        storeEvents(db, [exampleEvent({ at: dayFromNow(3).toISOString() })], index),
      ),
    );
    const partition = `events_${isoDay(dayFromNow(3)).replaceAll('-', '')}`;
    expect(await partitionSizes(pools[0]!)).toEqual([[partition, 12]]);
  });

  it('stores events of a day whose first ones came while it was far off', async () => {
    const db = await migrated();
    const day = dayFromNow(200);
    const muchEarlier = dayFromNow(-300);
    expect(await ensureEventPartitions(db, [isoDay(day)], muchEarlier)).toEqual([]);
    const early = exampleEvent({ at: day.toISOString() });
    await db.sql`insert into events (id, day, at, type, node, degraded, details)
      values (${early.id}, ${isoDay(day)}, ${early.at}, 't', 'n', false, '{}')`;
    await storeEvents(db, [exampleEvent({ at: day.toISOString() })], 1);
    expect(await partitionSizes(db)).toEqual([['events_default', 2]]);
  });

  it('drops what happened before a day', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    const dates = [dayFromNow(-3), dayFromNow(-2), dayFromNow(-1), dayFromNow(-3000)];
    await storeEvents(
      db,
      dates.map((date) => exampleEvent({ at: date.toISOString() })),
      1,
    );
    expect(await dropEventsBefore(db, isoDay(dayFromNow(-1)))).toEqual({
      days: 2,
      farEvents: 1,
      isComplete: true,
    });
    const left = await listEvents(db, { limit: 10 });
    expect(left.map((event) => event.at)).toEqual([dates[2]?.toISOString()]);
  });

  it('gives way to whoever reads events for long, and drops the rest next time', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    await storeEvents(db, [exampleEvent({ at: dayFromNow(-3).toISOString() })], 1);
    const today = isoDay(dayFromNow(0));
    await db.transaction(async (tx) => {
      await tx`select count(*) from events`;
      const refused = { days: 0, farEvents: 0, isComplete: false };
      expect(await dropEventsBefore(db, today)).toEqual(refused);
    });
    const dropped = { days: 1, farEvents: 0, isComplete: true };
    expect(await dropEventsBefore(db, today)).toEqual(dropped);
  });

  it('stores what strangers type, NUL and half characters included', async () => {
    const db = await migrated();
    const username = 'Rob\0ert\ud800';
    await storeEvents(
      db,
      [exampleEvent({ username, details: { 'k\0': "'; drop table events" } })],
      1,
    );
    const [event] = await listEvents(db, { limit: 1 });
    expect(event).toMatchObject({
      user: 'Rob\ufffdert\ufffd',
      details: { 'k\ufffd': "'; drop table events" },
    });
  });
});

describe('listing events', () => {
  it('gives the newest first, stored or still in the outbox, each once', async () => {
    const db = await migrated();
    const at = (minute: number) => new Date(Date.UTC(2026, 0, 1, 12, minute)).toISOString();
    const stored = exampleEvent({ at: at(1), result: 'approved', username: 'alice' });
    const waiting = await leaveInOutbox(db, true, { at: at(2), username: 'bob' });
    const both = await leaveInOutbox(db, true, { at: at(3) });
    await leaveInOutbox(db, false, { at: at(4) });
    await storeEvents(db, [stored, both], 1);
    const listed = await listEvents(db, { limit: 10 });
    expect(listed.map((event) => event.id)).toEqual([both.id, waiting.id, stored.id]);
    const { userId: _, username: user, ...rest } = stored;
    expect(listed[2]).toEqual({ ...rest, user });
    expect(listed[1]?.user).toBe('bob');
    expect((await listEvents(db, { limit: 2 })).map((event) => event.id)).toEqual([
      both.id,
      waiting.id,
    ]);
  });

  it('filters by time and type in both places', async () => {
    const db = await migrated();
    const since = Date.now() - 60_000;
    const old = new Date(since - 1).toISOString();
    const [a, b] = [
      exampleEvent({ type: 'promoted' }),
      exampleEvent({ at: old, type: 'promoted' }),
    ];
    await storeEvents(db, [a, b, exampleEvent()], 1);
    const c = await leaveInOutbox(db, true, { type: 'promoted' });
    await leaveInOutbox(db, true, { type: 'promoted', at: old });
    await leaveInOutbox(db, true);
    const listed = await listEvents(db, { sinceMs: since, type: 'promoted', limit: 10 });
    expect(new Set(listed.map((event) => event.id))).toEqual(new Set([a.id, c.id]));
    expect(await listEvents(db, { type: 'promo\0ted', limit: 10 })).toHaveLength(4);
  });

  it('finds those of a name in any spelling and those of the user who has it now', async () => {
    const db = await migrated();
    const user = exampleUser('Jürgen');
    await initApplied(db, {
      number: 1,
      id: 'a',
      parent: null,
      baseRevision: 0,
      baseEpoch: 0,
      ancestors: [],
      by: null,
      disasterAt: null,
    });
    await applyChanges(db, [setChange(1, { kind: 'user', document: user })]);
    const underOldName = { userId: user.id, username: 'juergen' };
    await storeEvents(db, [exampleEvent(underOldName), exampleEvent({ username: 'JÜRGEN' })], 1);
    await leaveInOutbox(db, true, underOldName);
    await leaveInOutbox(db, true, { username: 'jürgen' });
    await leaveInOutbox(db, true, { userId: randomUUID(), username: 'other' });
    expect(await listEvents(db, { user: 'jürGEN', limit: 10 })).toHaveLength(4);
    expect(await listEvents(db, { user: 'juergen', limit: 10 })).toHaveLength(2);
    expect(await listEvents(db, { user: 'nobody\0', limit: 10 })).toEqual([]);
  });
});

describe('the outbox', () => {
  it('hands out complete events, oldest first, until they are deleted', async () => {
    const db = await migrated();
    const second = await leaveInOutbox(db, true, { at: '2026-01-02T00:00:00.000Z' });
    const first = await leaveInOutbox(db, true, { at: '2026-01-01T00:00:00.000Z' });
    await leaveInOutbox(db, false, { at: '2025-01-01T00:00:00.000Z' });
    const taken = await takeFinalOutbox(db, 10);
    expect(taken.map((row) => row.event)).toEqual([first, second]);
    expect(await takeFinalOutbox(db, 1)).toHaveLength(1);
    await deleteOutbox(db, [first.id]);
    expect((await takeFinalOutbox(db, 10)).map((row) => row.id)).toEqual([second.id]);
    expect(await outboxSize(db)).toBe(2);
  });

  it('completes as unknown what a dead worker left, and nothing that is young', async () => {
    const db = await migrated();
    const old = await leaveInOutbox(db, false, { at: new Date(Date.now() - 60_000).toISOString() });
    await leaveInOutbox(db, false);
    expect(await finishAbandoned(db, 30_000)).toBe(1);
    const taken = await takeFinalOutbox(db, 10);
    expect(taken.map((row) => row.event)).toEqual([{ ...old, result: 'unknown' }]);
  });

  it('drops the oldest beyond its bound and says how many', async () => {
    const db = await migrated();
    for (const day of [3, 1, 2]) {
      await leaveInOutbox(db, true, { at: `2026-01-0${day}T00:00:00.000Z` });
    }
    expect(await trimOutbox(db, 2)).toBe(1);
    expect(await trimOutbox(db, 2)).toBe(0);
    const left = await takeFinalOutbox(db, 10);
    expect(left.map((row) => row.event.at.slice(0, 10))).toEqual(['2026-01-02', '2026-01-03']);
  });

  it('keeps one row for an event that is begun twice', async () => {
    const db = await migrated();
    const attempt = { reservation: null, event: exampleEvent(), isFinal: false };
    await beginAttempts(db, [attempt]);
    await beginAttempts(db, [attempt]);
    expect(await outboxSize(db)).toBe(1);
  });
});
