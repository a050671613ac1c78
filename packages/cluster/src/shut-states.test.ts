import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { applyStreamLimits } from './apply-stream-limits.ts';
import { ensureStreams } from './incarnation.ts';
import { readNextDirect } from './jetstream.ts';
import { namesOf } from './names.ts';
import { NatsLink } from './nats-link.ts';
import { areStatesShut, openStates, shutStates } from './shut-states.ts';
import { UserStates } from './user-states.ts';

const limits = { changesBytes: 1 << 20, statesBytes: 4 << 20, eventsBytes: 1 << 20 };
const WAIT_MS = 10_000;

let nats: TestNats;
let links: NatsLink[];

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
  const { user, password } = nats;
  links = nats.urls.map((url) => {
    const log = { info() {}, warn() {} };
    return new NatsLink({ servers: [url.replace('nats://', '')], user, password, name: 't', log });
  });
}, 60_000);

afterAll(async () => {
  await Promise.all(links.map((link) => link.close()));
  await nats.stop();
});

/** A bucket that takes writes, as seen through each of the three servers. */
async function start(number: number): Promise<UserStates[]> {
  const create = () => ensureStreams(links[0]!, namesOf(number), { logReplicas: 3, limits });
  await waitFor('the streams', () => create().then(() => true), { timeoutMs: 20_000 });
  const states = links.map((link) => new UserStates(link, number));
  for (const one of states) {
    await waitFor('writes', () => one.probe('test', WAIT_MS), { timeoutMs: 20_000 });
  }
  return states;
}

/** As a master does it: again, where it did not hear whether it was. */
function shut(link: NatsLink, number: number): Promise<number> {
  return waitFor('the end', () => shutStates(link, number), { timeoutMs: 20_000 });
}

it('lets no state of any node in while it is shut, gives all away, and takes them again', async () => {
  const states = await start(1);
  const link = links[0]!;
  const { states: stream, allStates } = namesOf(1);
  const first = await states[0]!.write('alice', Buffer.from('1'), 0, WAIT_MS);
  if (first.kind !== 'written') throw new Error(first.kind);
  const end = await shut(link, 1);
  expect(end).toBeGreaterThan(first.revision);
  await applyStreamLimits(link, 1, { ...limits, statesBytes: 8 << 20 });
  expect(await areStatesShut(link, 1)).toBe(true);
  for (const [index, one] of states.entries()) {
    const write = await one.write('alice', Buffer.from('2'), first.revision, WAIT_MS);
    expect(write.kind).toBe('silent');
    const created = await one.write(`new-${index}`, Buffer.from('2'), 0, WAIT_MS);
    expect(created.kind).toBe('silent');
    expect(await one.probe('test', WAIT_MS)).toBe(false);
    expect(await one.probeLog(WAIT_MS)).toBe(true);
    const known = { kind: 'found', revision: first.revision, bytes: Buffer.from('1') };
    expect(await one.readThroughLeader('alice', WAIT_MS)).toEqual(known);
    const next = await readNextDirect(links[index]!, stream, allStates, first.revision, WAIT_MS);
    expect(next).toMatchObject({ kind: 'found', message: { sequence: first.revision } });
  }
  // A master that did not hear whether it was shut does it again.
  expect(await shut(link, 1)).toBeGreaterThan(end);
  await openStates(link, 1);
  await openStates(link, 1);
  expect(await areStatesShut(link, 1)).toBe(false);
  for (const one of states) {
    const isWritten = () => one.probe('test', WAIT_MS);
    await waitFor('writes through every server', isWritten, { timeoutMs: 20_000 });
  }
  const second = await states[1]!.write('alice', Buffer.from('2'), first.revision, WAIT_MS);
  expect(second.kind).toBe('written');
});

it('says where it ends: what was under way is in front of that or was refused', async () => {
  const states = await start(2);
  for (let round = 0; round < 3; round += 1) {
    const writing = states.flatMap((one, through) =>
      Array.from({ length: 200 }, (_, i) =>
        one.write(`${round}-${through}-${i}`, Buffer.from('1'), 0, WAIT_MS),
      ),
    );
    const some = await Promise.race(writing);
    expect(some.kind).toBe('written');
    const end = await shut(links[round]!, 2);
    for (const write of await Promise.all(writing)) {
      if (write.kind === 'written') expect(write.revision).toBeLessThan(end);
    }
    await openStates(links[round]!, 2);
    for (const one of states) {
      await waitFor('writes', () => one.probe('test', WAIT_MS), { timeoutMs: 20_000 });
    }
  }
});
