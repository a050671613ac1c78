import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { ensureStream, publish, readStreamState } from './jetstream.ts';
import { moveLeadersAway, untilOthersAreCurrent } from './leave-log-server.ts';
import { NatsLink } from './nats-link.ts';

const streams = ['FIRST', 'SECOND'];
let nats: TestNats;
let link: NatsLink;

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
  link = new NatsLink({
    servers: nats.urls.map((url) => url.replace('nats://', '')),
    user: nats.user,
    password: nats.password,
    name: 'test',
    log: { info() {}, warn() {} },
  });
  for (const name of streams) {
    await waitFor('JetStream', () => make(name), { timeoutMs: 30_000, everyMs: 100 });
  }
}, 60_000);
afterAll(async () => {
  await link?.close();
  await nats?.stop();
});

it('no stream is led by a server that is about to stop, and writes go on at once', async () => {
  const node = await leaderOf('FIRST');
  expect(await untilOthersAreCurrent({ link, streams, node, timeoutMs: 10_000 })).toBe(true);
  // On a busy machine an election may bring one back.
  const haveMoved = async () => {
    if (!(await moveLeadersAway({ link, streams, node, timeoutMs: 5000 }))) return false;
    return !(await Promise.all(streams.map(leaderOf))).includes(node);
  };
  await waitFor('other leaders', haveMoved, { timeoutMs: 30_000 });
  // An election would take 4 s and more.
  const outcome = await publish(link, 'FIRST.x', Buffer.from('1'), 3500);
  expect(outcome.kind).toBe('stored');
}, 90_000);

it('a server that has just come back is waited for until it has caught up', async () => {
  const node = await leaderOf('FIRST');
  const other = [0, 1, 2].find((index) => `test-${index}` !== node)!;
  await nats.kill(other);
  const missed = Buffer.alloc(100_000);
  for (let i = 0; i < 100; i += 1) await publish(link, `FIRST.${i}`, missed, 5000);
  await nats.restart(other);
  await waitFor('it to be seen again', async () => !(await seen(`test-${other}`)).isOffline, {
    timeoutMs: 20_000,
    everyMs: 5,
  });

  expect(await untilOthersAreCurrent({ link, streams, node, timeoutMs: 20_000 })).toBe(true);
  expect(await seen(`test-${other}`)).toMatchObject({ isCurrent: true });
}, 90_000);

it('a server that is gone is not waited for', async () => {
  const node = await leaderOf('FIRST');
  const other = [0, 1, 2].find((index) => `test-${index}` !== node)!;
  await nats.halt(other);
  await waitFor('it to be missed', async () => (await seen(`test-${other}`)).isOffline, {
    timeoutMs: 20_000,
    everyMs: 100,
  });
  expect(await untilOthersAreCurrent({ link, streams, node, timeoutMs: 10_000 })).toBe(true);
}, 90_000);

async function make(name: string): Promise<boolean> {
  const config = {
    name,
    subjects: [`${name}.>`],
    num_replicas: 3,
    max_bytes: 64 << 20,
    discard: 'new' as const,
    allow_direct: true,
  };
  return ensureStream(link, config, 2000).then(
    () => true,
    () => false,
  );
}

async function leaderOf(stream: string): Promise<string> {
  return waitFor(
    `a leader of ${stream}`,
    async () => {
      const state = await readStreamState(link, stream, 1000);
      return state?.hasLeader ? state.servers[0]!.name : null;
    },
    { timeoutMs: 20_000, everyMs: 50 },
  );
}

async function seen(name: string) {
  return waitFor(
    `${name} in the list`,
    async () =>
      (await readStreamState(link, 'FIRST', 1000))?.servers.find((one) => one.name === name),
    { timeoutMs: 20_000, everyMs: 50 },
  );
}
