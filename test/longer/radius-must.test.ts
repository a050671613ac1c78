import { makeAttribute, type Attribute } from '@countersign/radius';
import { about, sendRadius, type RadiusAnswer } from '@countersign/radius/testing';
import {
  FaultyTcp,
  hasSlapd,
  startTestSlapd,
  takeFreePorts,
  waitFor,
  type TestSlapd,
} from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { importPeople } from '../harness/directories.ts';
import { keepNatsDead } from '../harness/keep-dead.ts';
import { enrolPerson, type Person } from '../harness/people.ts';
import { addVpn } from '../harness/radius-clients.ts';
import { report } from '../harness/report.ts';

const SECRET = 'shared with all three nodes';
/** Of the directory in this test. */
const ANSWER_MS = 5000;

/** Silence for three people makes a node verify without asking the log first. */
const PEOPLE = ['alice', 'bob', 'zoe'];

type Recorded = {
  type: string;
  node: string;
  result: string | null;
  reason: string | null;
  degraded: boolean;
  user: string | null;
  details: Record<string, unknown>;
};

let slapd: TestSlapd;
/** The directory's first server, on a way that a test can make silent. */
let first: FaultyTcp;
let cluster: TestCluster;
const ports = new Map<string, { authentication: number; accounting: number }>();
let alice: Person;
let sessions = 0;

beforeAll(async () => {
  if (!hasSlapd) return;
  const free = await takeFreePorts(6);
  slapd = await startTestSlapd({ tls: false });
  const { hostname: host, port } = new URL(slapd.ldapUrl);
  first = await FaultyTcp.start({ fault: { kind: 'none' }, target: { host, port: Number(port) } });
  cluster = await TestCluster.start({
    configure: (config, name) => {
      const [authentication, accounting] = [free.pop()!, free.pop()!];
      ports.set(name, { authentication, accounting });
      const listen = { authenticationPort: authentication, accountingPort: accounting };
      return { ...config, radius: { host: '127.0.0.1', ...listen } };
    },
  });
  const api = cluster.api(await cluster.master());
  await importPeople(api, slapd, PEOPLE, {
    servers: [`ldap://127.0.0.1:${first.port}`, slapd.ldapUrl],
    connectMs: ANSWER_MS,
    answerMs: ANSWER_MS,
  });
  alice = await enrolPerson(api, 'alice');
  await addVpn(api, { secret: SECRET });
  await cluster.untilWhole();
  for (const node of cluster.nodes) await untilServed(node);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await first?.[Symbol.asyncDispose]();
  await slapd?.stop();
});

describe.skipIf(!hasSlapd)('RADIUS with parts of it gone (needs slapd)', () => {
  it('signs in, asks, denies and counts sessions with the master dead', async () => {
    const master = await cluster.master();
    const [one, two] = cluster.others(master.name) as [TestNode, TestNode];
    await master.killAll();
    const { typed, figures } = await allThatVpnsDo(one, two);
    const again = await sign(two, typed, { station: 'another place' });
    expect(again.kind).toBe('reject');
    report('RADIUS beside a dead master', figures);
    master.start();
    await master.untilReady();
    await cluster.untilWhole();
    const events = await eventsAt(one, sessions);
    expect(events.filter(({ type }) => type === 'radius.accounting').at(0)).toMatchObject({
      user: 'alice',
      details: { session: `session ${sessions}`, status: 'start' },
    });
  });

  it('does the same with every log server dead, marked in status and in the events', async () => {
    const [one, two] = cluster.nodes as [TestNode, TestNode];
    const since = new Date().toISOString();
    const leaveThem = keepNatsDead(cluster.nodes);
    try {
      const { figures } = await allThatVpnsDo(one, two);
      // A wrong password has spent the first one's share of the limit.
      for (const username of PEOPLE) await sign(two, slapd.personPassword, { username });
      const later = await sign(two, `${slapd.personPassword},${alice.nextCode()}`);
      expect(later.kind).toBe('accept');
      const laterMs = Math.round(later.tookMs);
      report('RADIUS beside dead log servers', { ...figures, laterMs });
      await waitFor('status to say so', async () => await isDegraded(two), {
        timeoutMs: 20_000,
      });
    } finally {
      await leaveThem();
    }
    await cluster.untilWhole();
    await waitFor('status to say no more of it', async () => !(await isDegraded(two)), {
      timeoutMs: 20_000,
    });
    const events = await waitForEvents(one, since, (all) => verified(all).length >= 4);
    for (const { degraded, result, details } of verified(events)) {
      expect([result, degraded], JSON.stringify(details)).toEqual([result, true]);
    }
    const whole = await sign(one, `${slapd.personPassword},${alice.nextCode()}`);
    expect(whole.kind).toBe('accept');
  });

  it('waits once for a first directory server that hangs, and then no more', async () => {
    for (const node of cluster.nodes) {
      expect(await sign(node, slapd.personPassword)).toMatchObject({ kind: 'challenge' });
    }
    first.change({ kind: 'silent' });
    first.reset();
    const took: number[][] = [];
    for (const node of cluster.nodes) {
      const each: number[] = [];
      for (let tries = 0; tries < 6; tries += 1) {
        const station = `${node.name} ${tries}`;
        const told = await sign(node, slapd.personPassword, { station });
        expect(told.kind).toBe('challenge');
        each.push(told.tookMs);
      }
      took.push(each);
    }
    const firsts = took.map(([one]) => one!);
    const later = took.flatMap(([, ...others]) => others).toSorted((a, b) => a - b);
    report('a first directory server that hangs', {
      deadlineMs: ANSWER_MS,
      firstMs: firsts.map(Math.round).join('/'),
      laterMedianMs: Math.round(later[Math.floor(later.length / 2)]!),
      laterSlowestMs: Math.round(later.at(-1)!),
    });
    for (const ms of firsts) expect(ms).toBeLessThan(2 * ANSWER_MS);
    expect(later.at(-1)).toBeLessThan(ANSWER_MS);
    first.change({ kind: 'none' });
  });
});

/** At two nodes: a password with a code, the same code again where it was used, a question and its answer, a wrong password, a session. */
async function allThatVpnsDo(
  one: TestNode,
  two: TestNode,
): Promise<{ typed: string; figures: Record<string, number> }> {
  const typed = `${slapd.personPassword},${alice.nextCode()}`;
  const accepted = await sign(one, typed);
  expect(accepted.kind).toBe('accept');
  const again = await sign(one, typed, { station: 'elsewhere' });
  expect(again.kind).toBe('reject');
  const asked = await sign(two, slapd.personPassword, { station: 'asked' });
  expect(asked.kind).toBe('challenge');
  const answered = await sign(one, alice.nextCode(), { station: 'asked', state: asked.state });
  expect(answered.kind).toBe('accept');
  const both = `${slapd.personPassword},${alice.nextCode()}`;
  const joined = await Promise.all([one, two].map((node) => sign(node, both)));
  expect(joined.map(({ kind }) => kind)).toEqual(['accept', 'accept']);
  const wrong = await sign(one, `wrong ${sessions},${alice.comingCode()}`);
  expect(wrong.kind).toBe('reject');
  sessions += 1;
  const counted = await startSession(two, `session ${sessions}`);
  expect(counted.kind).toBe('accounting');
  const told = { accepted, again, asked, answered, wrong, counted };
  const figures = Object.fromEntries(
    Object.entries(told).map(([name, { tookMs }]) => [`${name}Ms`, Math.round(tookMs)]),
  );
  return { typed, figures };
}

function sign(
  node: TestNode,
  password: string,
  { username = 'alice', station = 'home', state = [] as Attribute[], waitMs = 15_000 } = {},
): Promise<RadiusAnswer> {
  return sendRadius({
    port: ports.get(node.name)!.authentication,
    from: '127.0.0.1',
    secret: SECRET,
    attributes: [...about(username, { station }), ...state],
    password,
    waitMs,
  });
}

function startSession(node: TestNode, session: string): Promise<RadiusAnswer> {
  return sendRadius({
    port: ports.get(node.name)!.accounting,
    from: '127.0.0.1',
    secret: SECRET,
    code: 4,
    attributes: [
      ...about('alice'),
      makeAttribute('Acct-Status-Type', 1),
      makeAttribute('Acct-Session-Id', session),
    ],
    waitMs: 15_000,
  });
}

/** A new client is in force on a node half a second after its settings are. */
async function untilServed(node: TestNode): Promise<void> {
  await waitFor(
    `${node.name} to serve RADIUS`,
    async () => (await sign(node, slapd.personPassword, { waitMs: 1500 })).kind === 'challenge',
    { timeoutMs: 30_000 },
  );
}

async function isDegraded(node: TestNode): Promise<boolean> {
  const view = await cluster.api(node).done<{ degraded: boolean }>('GET', '/api/v1/cluster');
  return view.degraded;
}

async function eventsAt(node: TestNode, count: number): Promise<Recorded[]> {
  return waitForEvents(node, new Date(0).toISOString(), (events) => {
    return events.filter(({ type }) => type === 'radius.accounting').length >= count;
  });
}

async function waitForEvents(
  node: TestNode,
  since: string,
  areThere: (events: Recorded[]) => boolean,
): Promise<Recorded[]> {
  let events: Recorded[] = [];
  await waitFor(
    'the events',
    async () => {
      const path = `/api/v1/events?limit=1000&since=${encodeURIComponent(since)}`;
      ({ events } = await cluster.api(node).done<{ events: Recorded[] }>('GET', path));
      return areThere(events);
    },
    { timeoutMs: 30_000 },
  );
  return events;
}

function verified(events: Recorded[]): Recorded[] {
  return events.filter(({ type, user }) => type === 'verification' && user === 'alice');
}
