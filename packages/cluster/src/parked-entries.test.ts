import { randomBytes, randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureStreams } from './incarnation.ts';
import { namesOf } from './names.ts';
import { NatsLink } from './nats-link.ts';
import { PARKED_MAX_BYTES, ParkedEntries } from './parked-entries.ts';

const limits = { changesBytes: 1 << 20, statesBytes: 1 << 20, eventsBytes: 1 << 20 };
const WAIT_MS = 10_000;

describe('parked entries', () => {
  let nats: TestNats;
  let link: NatsLink;

  beforeAll(async () => {
    nats = await startTestNats({ servers: 1 });
    const servers = nats.urls.map((url) => url.replace('nats://', ''));
    const { user, password } = nats;
    const log = { info() {}, warn() {} };
    link = new NatsLink({ servers, user, password, name: 'test', log });
    const create = () => ensureStreams(link, namesOf(1), { logReplicas: 1, limits });
    await waitFor('the streams', () => create().then(() => true), { timeoutMs: 15_000 });
  }, 60_000);
  afterAll(async () => {
    await link.close();
    await nats.stop();
  });

  it('are told as they were written, the newest of an id', async () => {
    const parked = new ParkedEntries(link, 1);
    const id = randomUUID();
    expect(await parked.read(id, WAIT_MS)).toEqual({ kind: 'absent' });
    expect(await parked.write(id, randomBytes(200), WAIT_MS)).toBe(true);
    const bytes = randomBytes(PARKED_MAX_BYTES);
    expect(await parked.write(id, bytes, WAIT_MS)).toBe(true);
    expect(await parked.read(id, WAIT_MS)).toEqual({ kind: 'found', bytes });
  });

  it('are refused when they are too large, and silent where there is no bucket', async () => {
    const parked = new ParkedEntries(link, 1);
    const large = parked.write(randomUUID(), randomBytes(PARKED_MAX_BYTES + 1), WAIT_MS);
    await expect(large).rejects.toThrow(RangeError);
    const nowhere = new ParkedEntries(link, 99);
    expect(await nowhere.write(randomUUID(), randomBytes(1), WAIT_MS)).toBe(false);
    expect((await nowhere.read(randomUUID(), WAIT_MS)).kind).toBe('silent');
  });

  it('are gone from the log after a quarter of an hour', async () => {
    const reply = await link.request(`$JS.API.STREAM.INFO.${namesOf(1).parked}`, '', {
      timeoutMs: WAIT_MS,
    });
    expect(reply.json()).toMatchObject({ config: { max_age: 900_000_000_000, discard: 'new' } });
  });
});
