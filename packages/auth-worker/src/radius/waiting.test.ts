import { closeCircuit, openCircuit, takeFinalOutbox } from '@countersign/database';
import { makeAttribute, packetCodes, RadiusClient, type ClientResult } from '@countersign/radius';
import { openUdpPeer, signTestRequest } from '@countersign/radius/testing';
import { hasSlapd, waitFor } from '@countersign/testing';
import { generateSecret, type UserDocument } from '@countersign/verification';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  makeFrontKeys,
  openTestFront,
  radiusClientAt,
  SHARED,
} from '../testing/open-test-front.ts';
import { RIGHT_PASSWORD, startTestPeople } from '../testing/start-test-people.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { Verifier } from '../verifier.ts';
import type { AskedElsewhere } from '../waits.ts';
import type { RadiusFront } from './radius-front.ts';

const test = useTestStates();
const keys = makeFrontKeys();
const secret = generateSecret();
const shared = Buffer.from(SHARED);
const WAIT_SECONDS = 18;

let people: Awaited<ReturnType<typeof startTestPeople>>;
let nodes: { verifier: Verifier; front: RadiusFront }[];
/** Who is asked on the telephone, which the test holds in its hand. */
let asked: AskedElsewhere[] = [];
let cancelled: string[] = [];

const elsewhere = {
  of: () => ['call'] as const,
  async ask(one: AskedElsewhere) {
    asked.push(one);
    return { sent: true, details: { provider: 'test' } };
  },
  cancel: (id: string) => void cancelled.push(id),
};

const calls = { method: 'call' as const };

function signIn(
  username: string,
  {
    password = RIGHT_PASSWORD,
    station = 'laptop',
    at = 0,
  }: { password?: string; station?: string | null; at?: number } = {},
): Promise<ClientResult> {
  const more = station === null ? [] : [makeAttribute('Calling-Station-Id', station)];
  const attributes = [makeAttribute('User-Name', username), ...more];
  const request = { code: packetCodes.accessRequest, attributes, password: Buffer.from(password) };
  return clientOf(at).send(request, { timeoutMs: 30_000 });
}

const clients = new Map<number, RadiusClient>();
function clientOf(at: number): RadiusClient {
  const known = clients.get(at);
  if (known) return known;
  const server = { host: '127.0.0.1', port: nodes[at]!.front.ports[0]!, secret: shared };
  const opened = new RadiusClient({
    servers: [{ ...server, name: `node-${at + 1}`, messageAuthenticator: 'require' }],
    // As a device does: what is dropped is sent again, and nothing comes of it while it is waited for.
    bounds: {
      firstWaitMs: 2000,
      longestWaitMs: 4000,
      triesPerServer: 20,
      timeoutMs: 30_000,
      deadAfter: Number.MAX_SAFE_INTEGER,
    },
  });
  clients.set(at, opened);
  return opened;
}

const ACCEPTED = { kind: 'answered', code: packetCodes.accessAccept };
const REJECTED = { kind: 'answered', code: packetCodes.accessReject };

let enrolled = 0;
function enrolNext(): Promise<UserDocument> {
  const ordinary = people.slapd.people.filter(({ uid }) => uid.startsWith('person'));
  enrolled += 1;
  return people.enrol(ordinary[enrolled]!.uid);
}

async function untilAsked(count: number): Promise<AskedElsewhere> {
  await waitFor('a call', () => asked.length >= count, { timeoutMs: 8000, everyMs: 10 });
  return asked[count - 1]!;
}

const answer = (one: AskedElsewhere, how: 'approved' | 'declined', at = 0) =>
  nodes[at]!.verifier.answerWait({ userId: one.user.id, questionId: one.id }, how);

async function eventsOf(user: UserDocument) {
  const all = await takeFinalOutbox(test.db(), 10_000);
  return all
    .filter(({ event }) => event.userId === user.id)
    .map(({ event: { result, reason, degraded } }) => ({ result, reason, degraded }));
}

describe.skipIf(!hasSlapd)('a sign-in over RADIUS that waits for a telephone (needs slapd)', () => {
  beforeAll(async () => {
    people = await startTestPeople(test, { keys, secret, people: 30 });
    test.followStates();
    const settings = { 'methods.default': 'call' };
    await test.addApplication('vpn', settings);
    const fields = { waitSeconds: WAIT_SECONDS };
    await test.addRadiusClient(radiusClientAt(keys.seed, '127.0.0.1', fields));
    const { directories } = people;
    const open = (node: string) => openTestFront(test, { node, keys, directories, elsewhere });
    nodes = [await open('node-1'), await open('node-2')];
  }, 60_000);
  afterAll(async () => {
    for (const opened of clients.values()) await opened.close();
    await people?.stop();
  });
  beforeEach(() => {
    asked = [];
    cancelled = [];
  });

  it('is accepted by an approval that another node received', async () => {
    const user = await enrolNext();
    const signedIn = signIn(user.username);
    const call = await untilAsked(1);
    expect(call).toMatchObject({ ...calls, application: 'vpn', client: 'client 127.0.0.1' });
    expect(await answer(call, 'approved', 1)).toBe('taken');
    expect(await signedIn).toMatchObject(ACCEPTED);
    expect(asked).toHaveLength(1);
    expect(cancelled).toEqual([]);
    expect(await eventsOf(user)).toEqual([
      { result: 'challenge', reason: null, degraded: false },
      { result: 'approved', reason: null, degraded: false },
    ]);
  });

  it('rings nobody whose password is wrong', async () => {
    const user = await enrolNext();
    expect(await signIn(user.username, { password: 'wrong' })).toMatchObject(REJECTED);
    expect(asked).toEqual([]);
  });

  it('is rejected by a no, and told so again when it is sent again', async () => {
    const user = await enrolNext();
    const signedIn = signIn(user.username);
    expect(await answer(await untilAsked(1), 'declined')).toBe('taken');
    expect(await signedIn).toMatchObject(REJECTED);
    expect(await signIn(user.username, { at: 1 })).toMatchObject(REJECTED);
    expect(asked).toHaveLength(1);
  });

  it('is rejected when nobody answers in time, and no later answer counts', async () => {
    const user = await enrolNext();
    const begun = performance.now();
    expect(await signIn(user.username)).toMatchObject(REJECTED);
    const tookMs = performance.now() - begun;
    expect(tookMs).toBeGreaterThan((WAIT_SECONDS - 0.1) * 1000);
    expect(tookMs).toBeLessThan((WAIT_SECONDS + 6) * 1000);
    expect(cancelled).toEqual([asked[0]!.id]);
    expect(await answer(asked[0]!, 'approved')).toBe('over');
    expect((await eventsOf(user)).at(-1)).toMatchObject({ result: 'denied', reason: 'expired' });
  });

  it('sent again to another node while it rings asks nobody again, and is accepted there', async () => {
    const user = await enrolNext();
    const first = signIn(user.username);
    const call = await untilAsked(1);
    // Longer than the keys of one moment reach: the wait itself is recognised.
    await waitFor('later', () => Date.now() > call.until - 7000, { timeoutMs: 15_000 });
    const second = signIn(user.username, { at: 1 });
    await waitFor('the other node to wait', async () => (await eventsOf(user)).length >= 2, {
      timeoutMs: 6000,
    });
    expect(await answer(call, 'approved')).toBe('taken');
    expect(await second).toMatchObject(ACCEPTED);
    expect(await first).toMatchObject(ACCEPTED);
    expect(asked).toHaveLength(1);
    const approvals = (await eventsOf(user)).filter(({ result }) => result === 'approved');
    expect(approvals.length).toBeGreaterThan(0);
  });

  it('without a station is another one after 10 s, and rings again', async () => {
    const user = await enrolNext();
    const first = signIn(user.username, { station: null });
    const call = await untilAsked(1);
    const begunAt = call.until - WAIT_SECONDS * 1000;
    await waitFor('later', () => Date.now() > begunAt + 11_000, { timeoutMs: 15_000 });
    const second = signIn(user.username, { station: null, at: 1 });
    const other = await untilAsked(2);
    expect(other.id).not.toBe(call.id);
    expect(await answer(other, 'approved')).toBe('taken');
    expect(await second).toMatchObject(ACCEPTED);
    expect(await first).toMatchObject(REJECTED);
  });

  it('at two stations with one password rings twice, and one approval lets one in', async () => {
    const user = await enrolNext();
    const [one, two] = [signIn(user.username), signIn(user.username, { station: 'phone', at: 1 })];
    await untilAsked(2);
    expect(await answer(asked[0]!, 'approved', 1)).toBe('taken');
    expect(await answer(asked[1]!, 'declined')).toBe('taken');
    const codes = (await Promise.all([one, two])).map((told) => 'code' in told && told.code);
    expect(codes.toSorted()).toEqual([packetCodes.accessAccept, packetCodes.accessReject]);
  });

  it('ends when its client asks something else in its place, and the telephone is silent', async () => {
    const user = await enrolNext();
    await using nas = await openUdpPeer({ port: nodes[0]!.front.ports[0]!, from: '127.0.0.1' });
    const send = (username: string) => {
      const attributes = [makeAttribute('User-Name', username)];
      const options = { identifier: 7, attributes, password: RIGHT_PASSWORD, secret: shared };
      nas.send(signTestRequest(options));
    };
    send(user.username);
    const call = await untilAsked(1);
    send('nobody');
    await waitFor('the call to end', () => cancelled.includes(call.id), { timeoutMs: 5000 });
    for (const at of [0, 1]) expect(await answer(call, 'approved', at)).toBe('over');
    await waitFor('its event', async () => (await eventsOf(user)).length === 2, {
      timeoutMs: 8000,
    });
    expect((await eventsOf(user)).at(-1)).toMatchObject({ reason: 'abandoned' });
  });

  it('is not answered any more where its client was disabled meanwhile', async () => {
    const user = await enrolNext();
    const at = '127.0.0.9';
    const client = radiusClientAt(keys.seed, at, { waitSeconds: WAIT_SECONDS });
    await test.addRadiusClient(client);
    let logged = '';
    const write = (line: string) => void (logged += line);
    const log = pino({ level: 'warn' }, { write });
    const { directories } = people;
    const options = { node: 'node-1', keys, directories, elsewhere, log };
    const { port } = await openTestFront(test, options);
    await using nas = await openUdpPeer({ port, from: at });
    const attributes = [makeAttribute('User-Name', user.username)];
    const request = { identifier: 1, attributes, password: RIGHT_PASSWORD, secret: shared };
    const sent = signTestRequest(request);
    const isCalled = async () => {
      nas.send(sent);
      return asked.length > 0;
    };
    await waitFor('a call', isCalled, { timeoutMs: 8000, everyMs: 100 });
    await test.addRadiusClient({ ...client, enabled: false });
    const isDropped = async () => {
      nas.send(sent);
      return logged.includes(`"source":"${at}","reason":"unknown_client"`);
    };
    await waitFor('the client to be unknown', isDropped, { timeoutMs: 8000, everyMs: 100 });
    expect(await answer(asked[0]!, 'approved')).toBe('taken');
    await waitFor('its event', async () => (await eventsOf(user)).length === 2, {
      timeoutMs: 8000,
    });
    const other = signIn('nobody');
    expect(await other).toMatchObject(REJECTED);
    expect(nas.received).toEqual([]);
  });

  it('goes on elsewhere when its node closes its door', async () => {
    const user = await enrolNext();
    const { directories } = people;
    const options = { node: 'node-1', keys, directories, elsewhere };
    const { front: leaving } = await openTestFront(test, options);
    await using nas = await openUdpPeer({ port: leaving.ports[0]!, from: '127.0.0.1' });
    const attributes = [
      makeAttribute('User-Name', user.username),
      makeAttribute('Calling-Station-Id', 'laptop'),
    ];
    nas.send(
      signTestRequest({ identifier: 1, attributes, password: RIGHT_PASSWORD, secret: shared }),
    );
    const call = await untilAsked(1);
    await leaving[Symbol.asyncDispose]();
    const elsewhereNow = signIn(user.username, { at: 1 });
    expect(await answer(call, 'approved')).toBe('taken');
    expect(await elsewhereNow).toMatchObject(ACCEPTED);
    expect(cancelled).toEqual([]);
    expect(asked).toHaveLength(1);
  });

  it('works without the quorum, marked so', async () => {
    const user = await enrolNext();
    await openCircuit(test.db(), 'the test says so');
    try {
      const signedIn = signIn(user.username);
      const call = await untilAsked(1);
      const again = signIn(user.username, { at: 1 });
      expect(await answer(call, 'approved', 1)).toBe('taken');
      expect(await signedIn).toMatchObject(ACCEPTED);
      expect(await again).toMatchObject(ACCEPTED);
      expect(asked).toHaveLength(1);
    } finally {
      await closeCircuit(test.db());
    }
    const events = await eventsOf(user);
    expect(events.every(({ degraded }) => degraded)).toBe(true);
    expect(events).toContainEqual({ result: 'approved', reason: null, degraded: true });
  });
});
