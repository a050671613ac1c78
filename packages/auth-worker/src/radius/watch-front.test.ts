import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { RadiusSeen, RadiusWatchLine } from '@countersign/api';
import { isRadiusWatched } from '@countersign/database';
import { makeAttribute, packetCodes, type ClientRequest } from '@countersign/radius';
import { openUdpPeer, signTestRequest } from '@countersign/radius/testing';
import { waitFor } from '@countersign/testing';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { DatabaseGate } from '../database-gate.ts';
import { SHARED } from '../testing/open-test-front.ts';
import { askOnce, RIGHT, useAskedFronts } from '../testing/use-asked-fronts.ts';
import type { RadiusFront } from './radius-front.ts';
import { WatchTeller } from './tell-watchers.ts';

const fixture = useAskedFronts();
const { code, clientAt, enrol } = fixture;
const { accessRequest, accountingRequest } = packetCodes;

const gateway = clientAt(['127.0.0.1'], { messageAuthenticator: 'observe' });

/** Two workers of one node. */
let fronts: [RadiusFront, RadiusFront];
const watches: { stop(): Promise<void> }[] = [];

beforeAll(async () => {
  const { test, directory, open } = fixture;
  await test.addDirectory(directory);
  await test.addApplication('vpn', {});
  await test.addRadiusClient(gateway);
  fronts = [(await open('node-1', 0, 2)).front, (await open('node-1', 1, 2)).front];
}, 60_000);
afterEach(async () => {
  for (const watch of watches.splice(0)) await watch.stop();
});

/** What is heard at a worker, once all workers are: begun anew where one stood still when it began. */
async function watch(at: RadiusFront): ReturnType<typeof watchOnce> {
  for (;;) {
    const watching = await watchOnce(at);
    if (watching.begun.silent.length === 0) return watching;
    await watching.stop();
  }
}

async function watchOnce(at: RadiusFront) {
  const lines: RadiusWatchLine[] = [];
  const stopping = new AbortController();
  const ended = at.watch({ signal: stopping.signal, onLine: (line) => lines.push(line) });
  const stop = async () => {
    stopping.abort();
    await ended;
  };
  watches.push({ stop });
  const begun = await waitFor('its beginning', () => lines.find(isBegun), { timeoutMs: 10_000 });
  expect(begun).toMatchObject({ node: 'node-1', workers: 2 });
  const seen = () => lines.filter((line): line is RadiusSeen => line.kind === 'seen');
  const until = (count: number) =>
    expect.poll(() => seen().length, { timeout: 5000 }).toBeGreaterThanOrEqual(count);
  return { begun, lines, seen, until, stop, ended };
}

type Begun = Extract<RadiusWatchLine, { kind: 'watching' }>;
const isBegun = (line: RadiusWatchLine): line is Begun => line.kind === 'watching';

function pap(username: string, password: string): ClientRequest {
  const attributes = [
    makeAttribute('User-Name', username),
    makeAttribute('NAS-Identifier', 'vpn\u001b[2J'),
  ];
  return { code: accessRequest, attributes, password: Buffer.from(password) };
}

const ask = (worker: 0 | 1, request: ClientRequest, options = {}) =>
  askOnce(fronts[worker].ports[request.code === accountingRequest ? 1 : 0]!, request, options);

describe('whoever watches the RADIUS ports of a node', () => {
  it('sees at one worker what arrives at all: who, the verdict and why, and no secret', async () => {
    await enrol('alice');
    const { seen, until } = await watch(fronts[0]);
    await ask(0, pap('alice', `${RIGHT},${code(0)}`));
    await ask(1, pap('alice', 'wrong'));
    await ask(1, pap('alice', RIGHT));
    await until(3);
    const rows = seen().map(({ worker, packet, protocol, client, user, verdict, why }) => ({
      ...{ worker, packet, protocol, client, user, verdict, why },
    }));
    const about = { packet: 'Access-Request', protocol: 'pap', client: 'gateway', user: 'alice' };
    expect(rows).toEqual(
      expect.arrayContaining([
        { ...about, worker: 0, verdict: 'accept', why: null },
        { ...about, worker: 1, verdict: 'reject', why: 'wrong_password' },
        { ...about, worker: 1, verdict: 'challenge', why: 'asked: oath' },
      ]),
    );
    expect(seen()[0]).toMatchObject({
      service: 'authentication',
      from: expect.stringMatching(/^127\.0\.0\.1:\d+$/),
      tookMs: expect.any(Number),
    });
    const shown = seen()[0]!.attributes!;
    expect(shown).toContainEqual({ name: 'User-Password', value: '***' });
    expect(shown).toContainEqual({ name: 'NAS-Identifier', value: 'vpn\\u{1b}[2J' });
    const all = JSON.stringify(seen());
    for (const hidden of [RIGHT, code(0), SHARED, '\u001b']) expect(all).not.toContain(hidden);
  });

  it('sees what is dropped: of strangers, and with a wrong secret', async () => {
    await enrol('bob');
    const { seen, until } = await watch(fronts[1]);
    await ask(0, pap('bob', RIGHT), { secret: 'another secret', timeoutMs: 200 });
    const stranger = createSocket('udp4');
    stranger.bind(0, '127.0.0.9');
    await once(stranger, 'listening');
    await new Promise((sent) =>
      stranger.send(Buffer.alloc(20), fronts[0].ports[0], '127.0.0.1', sent),
    );
    stranger.close();
    await until(2);
    expect(seen()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({
          client: 'gateway',
          user: null,
          verdict: 'dropped',
          why: 'message_authenticator_invalid',
        }),
        expect.objectContaining({
          from: expect.stringMatching(/^127\.0\.0\.9:/),
          client: null,
          packet: null,
          attributes: null,
          verdict: 'dropped',
          why: 'unknown_client',
        }),
      ]),
    );
  });

  it('sees what is unsigned, sent again, accounted for, and tested by whom', async () => {
    await enrol('carol');
    const { seen, until } = await watch(fronts[0]);
    const socket = createSocket('udp4');
    socket.connect(fronts[1].ports[0]!, '127.0.0.1');
    await once(socket, 'connect');
    // User-Name without a password: an Access-Request of a client that sends no Message-Authenticator.
    const name = Buffer.from('carol');
    const head = Buffer.alloc(20);
    head.writeUInt8(accessRequest, 0);
    head.writeUInt16BE(22 + name.length, 2);
    const packet = Buffer.concat([head, Buffer.from([1, 2 + name.length]), name]);
    socket.send(packet);
    socket.send(packet);
    await once(socket, 'message');
    socket.close();
    const status = makeAttribute('Acct-Status-Type', 1);
    const session = makeAttribute('Acct-Session-Id', 'one');
    const attributes = [makeAttribute('User-Name', 'carol'), status, session];
    await ask(0, { code: accountingRequest, attributes });
    await fronts[1].test({
      client: gateway,
      id: '7f6ad1a3-8a33-4b06-a5b4-6a0c3a5f6c11',
      username: 'carol',
      password: RIGHT,
      code: code(0),
      answer: null,
      from: null,
      station: null,
      actor: 'ops',
    });
    await until(4);
    expect(seen()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ verdict: 'duplicate', user: null }),
        expect.objectContaining({
          why: 'wrong_password, no Message-Authenticator',
          verdict: 'reject',
        }),
        expect.objectContaining({
          service: 'accounting',
          packet: 'Accounting-Request',
          user: 'carol',
          verdict: 'answered',
        }),
        expect.objectContaining({ testBy: 'ops', user: 'carol', verdict: 'accept' }),
      ]),
    );
  });

  it('sees a name that is nobody’s as the events have it: it may be a password', async () => {
    const { seen, until } = await watch(fronts[0]);
    await ask(0, pap('typed in the wrong field', RIGHT));
    await until(1);
    expect(seen()[0]).toMatchObject({ why: 'unknown_user' });
    expect(seen()[0]!.user).toMatch(/^unknown-[0-9a-f]{12}$/);
    expect(JSON.stringify(seen())).not.toContain('wrong field');
  });

  it('sees no such name either where somebody unknown is asked for a code, or nobody was looked up', async () => {
    const { test } = fixture;
    await test.addApplication('closed', {}, 'require', false);
    const trusted = { firstFactor: { kind: 'none' } as const };
    const { seen, until } = await watch(fronts[0]);
    const clients = [clientAt(['127.0.0.7'], { ...trusted, name: 'trusted' })];
    clients.push(clientAt(['127.0.0.8'], { ...trusted, name: 'closed', application: 'closed' }));
    for (const client of clients) await test.addRadiusClient(client);
    const attributes = [makeAttribute('User-Name', 'typed in the wrong field')];
    const request = signTestRequest({
      identifier: 1,
      attributes,
      password: '',
      secret: Buffer.from(SHARED),
    });
    for (const from of ['127.0.0.7', '127.0.0.8']) {
      await using nas = await openUdpPeer({ port: fronts[0].ports[0]!, from });
      const isAnswered = () => {
        nas.send(request);
        return nas.received.length > 0;
      };
      await expect.poll(isAnswered, { timeout: 8000, interval: 100 }).toBe(true);
    }
    await until(2);
    const handled = () => seen().filter(({ tookMs }) => tookMs !== null);
    await expect
      .poll(() => handled().map(({ why }) => why), { timeout: 5000 })
      .toEqual(['asked: oath', 'application_disabled']);
    for (const { user } of handled()) expect(user).toMatch(/^unknown-[0-9a-f]{12}$/);
    expect(JSON.stringify(seen())).not.toContain('wrong field');
  });

  it('costs nothing once they have gone: nobody tells, and their connections are closed', async () => {
    const { sql } = fixture.test.db();
    const count = async () => {
      const [row] = await sql<{ count: number }[]>`
        select count(*)::int as count from pg_stat_activity
        where datname = current_database()
          and (query ilike 'listen%' or query like 'select pg_advisory_lock_shared%')`;
      return row!.count;
    };
    // Those of the tests before may still be closing.
    await expect.poll(count, { timeout: 5000 }).toBe(0);
    const first = await watch(fronts[0]);
    const second = await watch(fronts[0]);
    await expect.poll(count, { timeout: 5000 }).toBe(2);
    await first.stop();
    expect(await isRadiusWatched(fixture.test.db())).toBe(true);
    await second.stop();
    await expect.poll(count, { timeout: 5000 }).toBe(0);
    expect(await isRadiusWatched(fixture.test.db())).toBe(false);
  });

  it('is told how many lines were too many, never kept waiting by them', async () => {
    const { lines, seen } = await watch(fronts[0]);
    const db = fixture.test.db();
    const gate = new DatabaseGate(() => db.sql`select 1`);
    await using teller = new WatchTeller({ db, gate, worker: 7 });
    await teller.look();
    const example = await someLine(seen);
    const attributes = Array.from({ length: 40 }, () => ({
      name: 'Class',
      value: 'x'.repeat(200),
    }));
    teller.add({ ...example, attributes, why: 'long' });
    await expect.poll(() => seen().at(-1)?.why, { timeout: 5000 }).toBe('long');
    expect(seen().at(-1)!.attributes).toBeNull();
    for (let number = 0; number < 1500; number += 1) teller.add({ ...example, why: `${number}` });
    const numbers = () => seen().flatMap(({ why }) => (/^\d+$/.test(why ?? '') ? why! : []));
    await expect.poll(() => numbers().length, { timeout: 5000 }).toBe(1000);
    expect(lines).toContainEqual({ kind: 'lost', count: 500 });
    expect(numbers()).toEqual(Array.from({ length: 1000 }, (_, number) => `${number}`));
  });

  it('sees what its clients do while strangers flood the ports', async () => {
    const { lines, seen } = await watch(fronts[0]);
    const db = fixture.test.db();
    const gate = new DatabaseGate(() => db.sql`select 1`);
    await using teller = new WatchTeller({ db, gate, worker: 7 });
    await teller.look();
    const example = await someLine(seen);
    const refused = { ...example, client: null, why: 'unknown_client', tookMs: null };
    for (let number = 0; number < 1500; number += 1) teller.add(refused);
    teller.add({ ...example, why: 'a sign-in' });
    await expect.poll(() => seen().at(-1)?.why, { timeout: 5000 }).toBe('a sign-in');
    expect(lines).toContainEqual({ kind: 'lost', count: 1400 });
  });

  it.each([
    ['is told of', `application_name = 'test' and query like 'listen %'`],
    ['shows', `pid in (select pid from pg_locks where locktype = 'advisory' and objsubid = 2)`],
  ])('ends where the connection that it %s by dies, and may begin anew', async (_, which) => {
    const { sql } = fixture.test.db();
    const watching = await watch(fronts[0]);
    await sql.unsafe(
      `select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and ${which}`,
    );
    await watching.ended;
    const again = await watch(fronts[0]);
    await ask(1, pap('nobody', RIGHT));
    await again.until(1);
  });

  it('is one of a few', async () => {
    for (let number = 0; number < 8; number += 1) await watch(fronts[0]);
    const { signal } = new AbortController();
    await expect(fronts[0].watch({ signal, onLine: () => undefined })).rejects.toMatchObject({
      status: 429,
    });
  });
});

async function someLine(seen: () => RadiusSeen[]): Promise<RadiusSeen> {
  await ask(0, pap('nobody', RIGHT));
  await expect.poll(() => seen().length, { timeout: 5000 }).toBeGreaterThanOrEqual(1);
  return { ...seen()[0]!, worker: 7 };
}
