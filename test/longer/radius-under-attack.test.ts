import { createHash, createHmac, randomBytes } from 'node:crypto';
import { checkReply, openUdpPeer, type UdpPeer } from '@countersign/radius/testing';
import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { RadiusDevice } from '../harness/radius-device.ts';

/** Where clients ask from. */
const VPN = '127.0.0.41';
const OBSERVED = '127.0.0.42';
const SECRET = 'what an attacker wants';
const BURST = 20;
const TOLD_AGAIN_MS = 10_000;
const MINUTE_MS = 60_000;
const soon = { timeout: 20_000 };

const [USER_NAME, USER_PASSWORD, VENDOR, PROXY_STATE, SIGNATURE] = [1, 2, 26, 33, 80];
const ACCESS_REQUEST = 1;
const ACCOUNTING_REQUEST = 4;

type Pair = [type: number, value: Buffer];

let cluster: TestCluster;
let people: Person[];
let port = 0;
let accountingPort = 0;
/** Of the last request: one that comes with the same from one port takes its place. */
let identifier = 0;

beforeAll(async () => {
  [port = 0, accountingPort = 0] = await takeFreePorts(2);
  cluster = await TestCluster.start({
    nodes: 1,
    configure: (config) => ({
      ...config,
      radius: { host: '127.0.0.1', authenticationPort: port, accountingPort },
    }),
  });
  const api = cluster.api(cluster.nodes[0]!);
  people = await enrolPeople(api, 'attacked', 8);
  await api.done('POST', '/api/v1/applications', { name: 'vpn' });
  const clients = [
    { name: 'vpn', addresses: [VPN] },
    { name: 'observed', addresses: [OBSERVED], messageAuthenticator: 'observe' },
  ];
  for (const client of clients) {
    const common = { application: 'vpn', secret: SECRET, firstFactor: { kind: 'none' } };
    await api.done('POST', '/api/v1/radius/clients', { ...common, ...client });
  }
  await using device = await openDevice();
  await device.ask(device.status());
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
});

const name: Pair = [USER_NAME, Buffer.from('attacked-1')];
const unset: Pair = [SIGNATURE, Buffer.alloc(16)];
const password: Pair = [USER_PASSWORD, Buffer.alloc(16, 7)];
const cut = (packet: Buffer, bytes: number) => packet.subarray(0, packet.length - bytes);

/** Each is one packet that was made with the right secret unless it says otherwise. */
const DROPPED: [what: string, make: () => Buffer, reason: string][] = [
  [
    'of a wrong secret',
    () => sign([unset, name, password], { secret: 'guessed' }),
    'message_authenticator_invalid',
  ],
  [
    'with a forged Message-Authenticator',
    () => makePacket([[SIGNATURE, randomBytes(16)], name, password]),
    'message_authenticator_invalid',
  ],
  [
    'changed on its way',
    () => flip(sign([unset, name, password]), -1),
    'message_authenticator_invalid',
  ],
  [
    'with two Message-Authenticators',
    () => sign([unset, name, password, unset]),
    'message_authenticator_invalid',
  ],
  [
    'with a Message-Authenticator of 15 bytes',
    () => makePacket([[SIGNATURE, Buffer.alloc(15)], name, password]),
    'message_authenticator_invalid',
  ],
  [
    'without Message-Authenticator',
    () => makePacket([name, password]),
    'message_authenticator_missing',
  ],
  [
    'with its Message-Authenticator inside a vendor attribute',
    () => makePacket([vendor(9, Buffer.concat([Buffer.from([80, 18]), Buffer.alloc(16)])), name]),
    'message_authenticator_missing',
  ],
  ['of 19 bytes', () => sign([unset]).subarray(0, 19), 'malformed'],
  ['cut off in an attribute', () => cut(sign([unset, name, password]), 3), 'malformed'],
  [
    'whose last attribute claims more than there is',
    () => sign([unset, name], { tail: Buffer.from([PROXY_STATE, 9, 1]) }),
    'malformed',
  ],
  [
    'whose last attribute has no length',
    () => sign([unset, name], { tail: Buffer.from([PROXY_STATE]) }),
    'malformed',
  ],
  [
    'with an attribute of length 0',
    () => sign([unset, name], { tail: Buffer.from([PROXY_STATE, 0]) }),
    'malformed',
  ],
  [
    'with an attribute of length 1',
    () => sign([unset, name], { tail: Buffer.from([PROXY_STATE, 1]) }),
    'malformed',
  ],
  [
    'with an attribute of Microsoft that claims more than there is',
    () => sign([unset, name, vendor(311, Buffer.from([11, 200, 1, 2]))]),
    'malformed',
  ],
  [
    'with 1,000 Proxy-States',
    () =>
      sign([unset, name, ...Array.from({ length: 1000 }, (): Pair => [PROXY_STATE, Buffer.of()])]),
    'malformed',
  ],
  ['of 4,097 bytes', () => sign([unset, name, ...filling(4097 - 20 - 18 - 12)]), 'malformed'],
  ['with two passwords', () => sign([unset, name, password, password]), 'ambiguous_request'],
  ['that is an Access-Accept', () => sign([unset, name], { code: 2 }), 'unexpected_code'],
];

describe('a node under attack by RADIUS', () => {
  it.each(DROPPED)('drops a request %s, and counts it', async (_what, make, reason) => {
    await using peer = await openUdpPeer({ port, from: VPN });
    const before = await refused('vpn', reason);
    for (let count = 0; count < BURST; count += 1) peer.send(make());
    await expect.poll(() => refused('vpn', reason), soon).toBe(before + BURST);
    expect(peer.received).toEqual([]);
  });

  it('drops an Accounting-Request of a wrong secret, and counts it', async () => {
    await using peer = await openUdpPeer({ port: accountingPort, from: VPN });
    const reason = 'request_authenticator_invalid';
    for (let count = 0; count < BURST; count += 1) peer.send(accountingOf('guessed'));
    await expect.poll(() => refused('vpn', reason), soon).toBe(BURST);
    expect(peer.received).toEqual([]);
    peer.send(accountingOf(SECRET));
    await expect.poll(() => peer.received.length, soon).toBe(1);
  });

  it('answers, and counts, what has no Message-Authenticator where that is only observed', async () => {
    await using peer = await openUdpPeer({ port, from: OBSERVED });
    const reason = 'message_authenticator_observed_missing';
    for (let count = 0; count < BURST; count += 1) peer.send(makePacket([name, password]));
    await expect.poll(() => peer.received.length, soon).toBe(BURST);
    expect(await refused('observed', reason)).toBe(BURST);
    const [forged, wrong] = [randomBytes(16), 'message_authenticator_invalid'];
    peer.send(makePacket([[SIGNATURE, forged], name, password]));
    await expect.poll(() => refused('observed', wrong), soon).toBe(1);
    expect(peer.received).toHaveLength(BURST);
  });

  it.each([
    ['with its Message-Authenticator at the end', () => sign([name, password, unset])],
    ['with 190 Proxy-States', () => sign([unset, name, password, ...proxyStates(190)])],
    ['of 4,096 bytes', () => sign([unset, name, password, ...filling(4096 - 20 - 18 - 12 - 18)])],
    ['with padding behind it', () => Buffer.concat([sign([unset, name, password]), Buffer.of(1)])],
    ['with an empty name', () => sign([unset, [USER_NAME, Buffer.of()], password])],
    [
      'with attributes of a vendor inside one another',
      () => sign([unset, name, password, nested(60)]),
    ],
  ])('answers a request %s', async (_what, make) => {
    const [answer] = await answersTo(make());
    expect(answer?.code).toBe(3);
  });

  it('gives Proxy-States back untouched and in order, in an answer that fits', async () => {
    const sent = proxyStates(190);
    const [answer] = await answersTo(sign([unset, name, password, ...sent]));
    const back = answer?.attributes.filter(({ type }) => type === PROXY_STATE) ?? [];
    expect(back.map(({ value }) => value)).toEqual(sent.map(([, value]) => value));
  });

  it('answers no stranger, whatever address is claimed, and keeps few of them apart', async () => {
    const packet = sign([unset, name, password]);
    const peers: UdpPeer[] = [];
    try {
      for (let place = 1; place <= 100; place += 1) {
        peers.push(await openUdpPeer({ port, from: `127.1.0.${place}` }));
      }
      for (let count = 0; count < 3; count += 1) for (const peer of peers) peer.send(packet);
      const isSeen = () => linesOf('unknown_client').some(({ source }) => source === 'others');
      await waitFor('a line about the others', isSeen, { timeoutMs: 20_000 });
      await using vpn = await openDevice();
      await vpn.ask(vpn.status());
      expect(peers.flatMap(({ received }) => received)).toEqual([]);
      expect(new Set(linesOf('unknown_client').map(({ source }) => source)).size).toBe(65);
      expect(await metrics()).not.toContain('unknown_client');
    } finally {
      for (const peer of peers) await peer[Symbol.asyncDispose]();
    }
  });

  it('denies a request that is replayed from another port once its answer is 10 s old', async () => {
    const person = people.pop()!;
    await using device = await openDevice();
    const request = device.signIn(person.username, person.nextCode());
    expect(await device.ask(request)).toMatchObject({ kind: 'accept' });
    const answeredAt = performance.now();
    const toldAgainMs: number[] = [];
    await waitFor(
      'the replayed request to be denied',
      async () => {
        const sentMs = performance.now() - answeredAt;
        const code = await replay(request);
        if (code === 2) toldAgainMs.push(sentMs);
        return code === 3;
      },
      { timeoutMs: 30_000, everyMs: 1000 },
    );
    // The answer told again is for whoever lost it: it opens with the secret alone.
    expect(toldAgainMs.filter((ms) => ms > TOLD_AGAIN_MS)).toEqual([]);
    for (let count = 0; count < 5; count += 1) expect(await replay(request)).toBe(3);
    const path = `/api/v1/events?user=${person.username}&type=verification&limit=100`;
    const events = await waitFor(
      'the events of six denials',
      async () => {
        const api = cluster.api(cluster.nodes[0]!);
        const { events: all } = await api.done<{ events: Event[] }>('GET', path);
        return all.filter(({ result }) => result === 'denied').length === 6 ? all : null;
      },
      { timeoutMs: 20_000, everyMs: 100 },
    );
    const denied = events.filter(({ result }) => result === 'denied');
    expect(new Set(denied.map(({ reason }) => reason))).toEqual(new Set(['replayed']));
    const made = events.filter((event) => event.result === 'approved' && !event.details.repeated);
    expect(made).toHaveLength(1);
    // Which counts for nothing: the next code is good.
    const next = device.signIn(person.username, person.nextCode());
    expect(await device.ask(next)).toMatchObject({ kind: 'accept' });
  });

  it('has told each client and reason at most once a minute, with nothing of a packet in it', async () => {
    const lines = linesOf();
    const reasons = new Set(DROPPED.map(([, , reason]) => reason));
    const told = lines.filter(({ source }) => source === 'vpn').map(({ reason }) => reason);
    expect(new Set(told)).toEqual(new Set([...reasons, 'request_authenticator_invalid']));
    const lastAt = new Map<string, number>();
    for (const { source, reason, time } of lines) {
      const key = `${source} ${reason}`;
      expect(time - (lastAt.get(key) ?? -Infinity), key).toBeGreaterThan(MINUTE_MS - 1000);
      lastAt.set(key, time);
    }
    for (const line of lines) expect(Object.keys(line).toSorted()).toEqual(LINE);
    expect(cluster.nodes[0]!.log('worker-0')).not.toContain(SECRET);
    await expect.poll(metrics, soon).toMatch(/countersign_radius_pending\{[^}]*\} 0/);
  });
});

type Event = { result: string; reason: string | null; details: { repeated?: boolean } };

type Line = { source: string; reason: string; count: number; time: number; msg: string };
const LINE = ['count', 'level', 'msg', 'node', 'process', 'reason', 'source', 'time'];

/** What the node's log says of dropped requests. */
function linesOf(ofReason?: string): Line[] {
  return cluster.nodes[0]!.log('worker-0')
    .split('\n')
    .filter((line) => line.includes('RADIUS requests were refused'))
    .map((line) => JSON.parse(line) as Line)
    .filter(({ reason }) => ofReason === undefined || reason === ofReason);
}

async function metrics(): Promise<string> {
  return (await fetch(`${cluster.nodes[0]!.url}/metrics`)).text();
}

async function refused(client: string, reason: string): Promise<number> {
  const line = new RegExp(`refused_total\\{client="${client}",reason="${reason}".*\\} (\\d+)`);
  return Number(line.exec(await metrics())?.[1] ?? 0);
}

function openDevice(): Promise<RadiusDevice> {
  return RadiusDevice.open({ to: { address: '127.0.0.1', port }, from: VPN, secret: SECRET });
}

/** The code of the answer to bytes that somebody sends again from a port of their own. */
async function replay(request: Buffer): Promise<number> {
  const [answer] = await answersTo(request);
  return answer!.code;
}

async function answersTo(request: Buffer) {
  await using peer = await openUdpPeer({ port, from: VPN });
  peer.send(request);
  await waitFor('an answer', () => peer.received.length > 0, { timeoutMs: soon.timeout });
  return peer.received.map((datagram) => {
    const checked = checkReply(datagram, {
      requestCode: ACCESS_REQUEST,
      requestAuthenticator: request.subarray(4, 20),
      secret: Buffer.from(SECRET),
      messageAuthenticator: 'require',
    });
    if ('refusal' in checked) throw new Error(checked.refusal);
    return checked.packet;
  });
}

/** A packet of these attributes as they are, then `tail`, with a length that counts all of it. */
function makePacket(
  pairs: Pair[],
  { code = ACCESS_REQUEST, tail = Buffer.of() }: { code?: number; tail?: Buffer } = {},
): Buffer {
  identifier = (identifier + 1) % 256;
  const attributes = pairs.map(([type, value]) =>
    Buffer.concat([Buffer.of(type, value.length + 2), value]),
  );
  const head = Buffer.concat([Buffer.of(code, identifier, 0, 0), randomBytes(16)]);
  const packet = Buffer.concat([head, ...attributes, tail]);
  packet.writeUInt16BE(packet.length, 2);
  return packet;
}

/** The same, with its first Message-Authenticator as RFC 3579 §3.2 wants it. */
function sign(
  pairs: Pair[],
  { secret = SECRET, ...rest }: { secret?: string; code?: number; tail?: Buffer } = {},
): Buffer {
  const packet = makePacket(pairs, rest);
  let at = 20;
  for (const [type, value] of pairs) {
    if (type === SIGNATURE) break;
    at += value.length + 2;
  }
  createHmac('md5', secret)
    .update(packet)
    .digest()
    .copy(packet, at + 2);
  return packet;
}

/** RFC 2866 §3. */
function accountingOf(secret: string): Buffer {
  const packet = makePacket([name], { code: ACCOUNTING_REQUEST });
  packet.fill(0, 4, 20);
  createHash('md5').update(packet).update(secret).digest().copy(packet, 4);
  return packet;
}

function vendor(number: number, data: Buffer): Pair {
  const head = Buffer.alloc(4);
  head.writeUInt32BE(number);
  return [VENDOR, Buffer.concat([head, data])];
}

/** Vendor attributes in vendor attributes. */
function nested(depth: number): Pair {
  let pair = vendor(9, Buffer.of(1, 3, 7));
  for (let level = 0; level < depth && pair[1].length < 240; level += 1) {
    pair = vendor(9, Buffer.concat([Buffer.of(VENDOR, pair[1].length + 2), pair[1]]));
  }
  return pair;
}

function proxyStates(count: number): Pair[] {
  return Array.from({ length: count }, (_, i): Pair => [PROXY_STATE, Buffer.from(`${i}`)]);
}

/** Attributes of that many bytes in all. */
function filling(bytes: number): Pair[] {
  const pairs: Pair[] = [];
  for (let left = bytes; left > 0;) {
    const size = left > 255 && left < 258 ? 200 : Math.min(left, 255);
    pairs.push([VENDOR, Buffer.concat([Buffer.of(0, 0, 0, 9), Buffer.alloc(size - 6)])]);
    left -= size;
  }
  return pairs;
}

function flip(packet: Buffer, at: number): Buffer {
  const place = at < 0 ? packet.length + at : at;
  packet[place] = packet[place]! ^ 1;
  return packet;
}
