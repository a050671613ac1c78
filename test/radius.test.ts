import { spawn } from 'node:child_process';
import { text } from 'node:stream/consumers';
import {
  hasFreeradius,
  hasSlapd,
  startTestSlapd,
  takeFreePorts,
  type TestSlapd,
} from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from './harness/cluster.ts';
import { importPeople } from './harness/directories.ts';
import { keepNatsDead } from './harness/keep-dead.ts';
import { enrolPerson, type Person } from './harness/people.ts';
import { addVpn } from './harness/radius-clients.ts';
import { report } from './harness/report.ts';

const SECRET = 'shared with all three nodes';
const canRun = hasFreeradius && hasSlapd;

type Answer = { kind: 'accept' | 'reject' | 'challenge' | 'silent'; state: string | null };

let slapd: TestSlapd;
let cluster: TestCluster;
const ports = new Map<string, number>();
let alice: Person;

beforeAll(async () => {
  if (!canRun) return;
  const free = await takeFreePorts(6);
  slapd = await startTestSlapd();
  cluster = await TestCluster.start({
    configure: (config, name) => {
      const [authenticationPort, accountingPort] = [free.pop()!, free.pop()!];
      ports.set(name, authenticationPort);
      return { ...config, radius: { host: '127.0.0.1', authenticationPort, accountingPort } };
    },
  });
  const api = cluster.api(await cluster.master());
  await importPeople(api, slapd, ['alice']);
  alice = await enrolPerson(api, 'alice');
  await addVpn(api, { secret: SECRET });
  await cluster.untilWhole();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await slapd?.stop();
});

describe.skipIf(!canRun)('a VPN that asks by RADIUS', () => {
  it('is let in by any node with the password and a code, once', async () => {
    let used = '';
    for (const node of cluster.nodes) {
      used = `${slapd.personPassword},${alice.nextCode()}`;
      expect(await untilServed(node, used)).toMatchObject({ kind: 'accept' });
    }
    const station = 'another place';
    expect(await ask(cluster.nodes[0]!, used, { station })).toMatchObject({ kind: 'reject' });
    const wrong = `wrong,${alice.comingCode()}`;
    expect(await ask(cluster.nodes[1]!, wrong)).toMatchObject({ kind: 'reject' });
  });

  it('is asked by one node and answered at another', async () => {
    const [one, , three] = cluster.nodes as [TestNode, TestNode, TestNode];
    const asked = await ask(one, slapd.personPassword);
    expect(asked).toMatchObject({ kind: 'challenge', state: expect.any(String) });
    const answered = await ask(three, alice.nextCode(), { state: asked.state! });
    expect(answered).toMatchObject({ kind: 'accept' });
  });

  it('is answered once where it sends to another node again: one sign-in, one approval', async () => {
    const [one, two] = cluster.nodes as [TestNode, TestNode];
    const typed = `${slapd.personPassword},${alice.nextCode()}`;
    const both = await Promise.all([ask(one, typed), ask(two, typed)]);
    expect(both.map(({ kind }) => kind)).toEqual(['accept', 'accept']);
    const elsewhere = await ask(two, typed, { station: 'another place' });
    expect(elsewhere).toMatchObject({ kind: 'reject' });
  });

  it('is served with the master killed, and with every log server dead', async () => {
    const master = await cluster.master();
    const [one, two] = cluster.others(master.name) as [TestNode, TestNode];
    await master.killAll();
    const killedAt = performance.now();
    const typed = `${slapd.personPassword},${alice.nextCode()}`;
    expect(await ask(one, typed)).toMatchObject({ kind: 'accept' });
    report('a RADIUS sign-in beside a killed master', {
      tookMs: Math.round(performance.now() - killedAt),
    });
    master.start();
    await master.untilReady();
    await cluster.untilWhole();
    const leaveThem = keepNatsDead(cluster.nodes);
    try {
      const alone = `${slapd.personPassword},${alice.nextCode()}`;
      expect(await ask(two, alone)).toMatchObject({ kind: 'accept' });
    } finally {
      await leaveThem();
    }
    await cluster.untilWhole();
  });
});

/** A new client is in force on a node half a second after its settings are. */
async function untilServed(node: TestNode, password: string): Promise<Answer> {
  for (let tries = 0; tries < 10; tries += 1) {
    const answer = await ask(node, password, { seconds: 1 });
    if (answer.kind !== 'silent') return answer;
  }
  throw new Error(`${node.name} does not answer`);
}

/** One Access-Request of radclient's, which sends it again every 2 s. */
async function ask(
  node: TestNode,
  password: string,
  options: { state?: string; station?: string; seconds?: number } = {},
): Promise<Answer> {
  const { state, station = 'home', seconds = 6 } = options;
  const lines = [
    'User-Name = "alice"',
    `User-Password = "${password}"`,
    `Calling-Station-Id = "${station}"`,
    'Message-Authenticator = 0x00',
    ...(state ? [`State = ${state}`] : []),
  ];
  const to = `127.0.0.1:${ports.get(node.name)}`;
  const tries = Math.max(1, Math.floor(seconds / 2));
  const args = ['-x', '-r', String(tries), '-t', String(seconds / tries), to, 'auth', SECRET];
  const child = spawn('radclient', args, { stdio: ['pipe', 'pipe', 'pipe'], timeout: 20_000 });
  child.stdin.end(`${lines.join('\n')}\n`);
  const said = (await Promise.all([text(child.stdout), text(child.stderr)])).join('');
  const kinds = { 'Access-Accept': 'accept', 'Access-Reject': 'reject' } as const;
  const name = /Received (Access-\w+)/.exec(said)?.[1];
  if (name === 'Access-Challenge') {
    return {
      kind: 'challenge',
      state: /Challenge[\s\S]*State = (0x[0-9a-f]+)/.exec(said)?.[1] ?? null,
    };
  }
  return { kind: kinds[name as keyof typeof kinds] ?? 'silent', state: null };
}
