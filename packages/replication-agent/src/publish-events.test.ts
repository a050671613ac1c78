import { randomUUID } from 'node:crypto';
import { EventStream } from '@countersign/cluster';
import { beginAttempts, outboxSize, storeEvents, type AuditEvent } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { describe, expect, it } from 'vitest';
import { publishEvents } from './publish-events.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();

function largeEvent(): AuditEvent {
  return {
    id: randomUUID(),
    at: new Date().toISOString(),
    type: 'settings.set',
    node: 'node-1',
    userId: null,
    username: null,
    actor: 'test',
    application: null,
    clientAddress: null,
    result: 'done',
    reason: null,
    degraded: false,
    durationMs: null,
    details: { changes: 'x'.repeat(60_000) },
  };
}

describe('publishing events', () => {
  it('gets many large ones through, in more than one message', async () => {
    const link = test.connect();
    const { number } = await test.beginIncarnation(link);
    const db = await test.openDatabase();
    const stream = new EventStream(link, number, sealerOf(test.makeKeys().event));
    const events = Array.from({ length: 20 }, largeEvent);
    await beginAttempts(
      db,
      events.map((event) => ({ reservation: null, event, isFinal: true })),
    );
    const stop = new AbortController();
    const { signal } = stop;
    let position = 0;
    const running = [
      publishEvents({ db, stream, node: 'node-1', signal, log: silent }),
      stream.follow({
        nextSequence: () => position + 1,
        async onEvents(batch, last) {
          await storeEvents(db, batch as AuditEvent[], last);
          position = last;
        },
        signal,
        log: silent,
      }),
    ];
    test.atEnd(() => {
      stop.abort();
      return Promise.all(running);
    });
    await waitFor('an empty outbox', async () => (await outboxSize(db)) === 0, {
      timeoutMs: 10_000,
    });
    const stored = async () => (await db.sql`select from events`).length;
    await waitFor('all of them', async () => (await stored()) === events.length, {
      timeoutMs: 10_000,
    });
    expect(position).toBeGreaterThan(1);
    const places = await db.sql`
      select distinct arrival from events where incarnation = ${number} and arrival > 0`;
    expect(places).toHaveLength(events.length);
  });
});
