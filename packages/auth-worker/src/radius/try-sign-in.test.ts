import { randomUUID } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import type { RadiusTest, RadiusTestReport } from '@countersign/api';
import { takeFinalOutbox } from '@countersign/database';
import { makeAttribute, packetCodes } from '@countersign/radius';
import type { RadiusClientDocument } from '@countersign/verification';
import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { SHARED } from '../testing/open-test-front.ts';
import { askOnce, RIGHT, useAskedFronts } from '../testing/use-asked-fronts.ts';
import type { Verifier } from '../verifier.ts';
import type { AskedElsewhere } from '../waits.ts';
import type { RadiusFront } from './radius-front.ts';

const fixture = useAskedFronts();
const { code, clientAt, enrol } = fixture;

const gateway = clientAt(['10.1.0.0/16', '10.2.0.7'], {
  replies: [{ group: null, attribute: 'Class', value: '0x0102' }],
});
const inside = clientAt(['10.1.2.0/24'], { name: 'inside' });
const codes = clientAt(['10.3.0.1'], { name: 'codes', firstFactor: { kind: 'none' } });
const asking = clientAt(['10.4.0.1'], { name: 'asking', commaCode: false });
const appended = clientAt(['10.5.0.1'], {
  name: 'appended',
  commaCode: false,
  appendedCode: true,
  canChallenge: false,
});
const disabled = clientAt(['10.6.0.1'], { name: 'disabled', enabled: false });
const moved = { ...clientAt(['10.7.0.1'], { name: 'moved' }), addresses: ['10.7.0.9'] };
const calling = clientAt(['10.9.0.1'], { name: 'calling', application: 'calls', waitSeconds: 8 });
const observed = clientAt(['10.8.0.1'], { name: 'observed', messageAuthenticator: 'observe' });

/** A telephone, which the test holds in its hand. */
let asked: AskedElsewhere[] = [];
let cancelled: string[] = [];
const elsewhere = {
  of: () => ['call'] as const,
  async ask(call: AskedElsewhere) {
    asked.push(call);
    return { sent: true, details: {} };
  },
  cancel: (id: string) => void cancelled.push(id),
};

let verifier: Verifier;
let one: RadiusFront;
let two: RadiusFront;

beforeAll(async () => {
  const { test, directory, open } = fixture;
  await test.addDirectory(directory);
  await test.addApplication('vpn', { 'events.hashUnknownNames': false });
  await test.addApplication('calls', { 'methods.default': 'call' });
  for (const client of [
    calling,
    gateway,
    inside,
    codes,
    asking,
    appended,
    disabled,
    moved,
    observed,
  ]) {
    await test.addRadiusClient(client);
  }
  test.followStates();
  ({ front: one, verifier } = await open('node-1', 0, 1, elsewhere));
  ({ front: two } = await open('node-2'));
}, 60_000);
afterEach(() => {
  fixture.bends.isReady = true;
  fixture.bends.beforeBind = async () => undefined;
});

function signIn(username: string, fields: Partial<RadiusTest> = {}): RadiusTest {
  return {
    client: gateway,
    id: randomUUID(),
    username,
    password: RIGHT,
    code: null,
    answer: null,
    from: null,
    station: null,
    actor: 'ops',
    ...fields,
  };
}

const told = ({ steps }: RadiusTestReport) =>
  steps.map(({ step, ok, text }) => `${ok ? 'ok' : 'NO'} ${step}: ${text}`);
const port = () => one.ports[0]!;

async function events() {
  return (await takeFinalOutbox(fixture.test.db(), 10_000)).map(({ event }) => event);
}

describe('a test of a sign-in', () => {
  it('says step by step how a password with a code came to an accept, and shows neither', async () => {
    await enrol('alice');
    const report = await one.test(signIn('alice', { code: code(0), from: '10.1.9.9' }));
    expect(told(report)).toEqual([
      `ok client: from 10.1.9.9 it is gateway: in its network 10.1.0.0/16; this node listens at 127.0.0.1:${port()}`,
      'ok message-authenticator: valid; this client has to send one (messageAuthenticator=require)',
      'ok typed: a password, and a code of 6 digits behind it',
      'ok first factor: right by the directory people',
      'ok second step: passed',
      'ok verdict: approved',
      'ok reply: Access-Accept, signed as it should be',
    ]);
    expect(report).toMatchObject({ outcome: 'accept', reason: null, node: 'node-1' });
    expect(report.attributes).toContainEqual({ name: 'Class', value: '0x0102' });
    const { tookMs } = report.steps.find(({ step }) => step === 'first factor')!;
    expect(tookMs).toBeGreaterThanOrEqual(0);
    const all = JSON.stringify(report);
    for (const hidden of [RIGHT, code(0), SHARED]) expect(all).not.toContain(hidden);
    // The code is used up as in any sign-in.
    const again = await one.test(signIn('alice', { code: code(0) }));
    expect(again).toMatchObject({ outcome: 'reject', reason: 'replayed' });
  });

  it('is recorded with who asked for it, in its own event and in that of the verification', async () => {
    const user = await enrol('vera');
    const test = signIn('vera', { code: code(0), from: '10.2.0.7' });
    await one.test(test);
    const all = await events();
    expect(all.find(({ userId }) => userId === user.id)).toMatchObject({
      type: 'verification',
      actor: 'gateway (test by ops)',
      application: 'vpn',
      clientAddress: '10.2.0.7',
      result: 'approved',
    });
    expect(all.find(({ details }) => details.test === test.id)).toMatchObject({
      type: 'radius.tested',
      actor: 'ops',
      application: 'vpn',
      username: null,
      result: 'accept',
      details: { radiusClient: 'gateway', from: '10.2.0.7' },
    });
  });

  it.each([
    ['a wrong password', { password: 'wrong' }, 'wrong_password', 'first factor'],
    ['a wrong code', { code: '000000' }, 'wrong_code', 'second step'],
    ['somebody unknown', { username: 'nobody' }, 'unknown_user', 'first factor'],
  ])(
    'tells the real reason of a denial for %s, and what the client is told',
    async (_, fields, reason, step) => {
      if (!('username' in fields)) await enrol(`user of ${reason}`);
      const report = await one.test(signIn(`user of ${reason}`, fields));
      expect(report).toMatchObject({ outcome: 'reject', reason });
      expect(report.attributes).toEqual(
        expect.arrayContaining([{ name: 'Reply-Message', value: 'Sign-in denied.' }]),
      );
      expect(told(report)).toContain(`NO verdict: denied: ${reason}`);
      expect(report.steps.find((each) => each.step === step)).toMatchObject({ ok: false });
    },
  );

  it('shows the question, which another node takes the answer of, and only with the id of the test', async () => {
    await enrol('zoe');
    const asked = await one.test(signIn('zoe'));
    expect(asked).toMatchObject({ outcome: 'challenge', reason: null });
    expect(told(asked)).toContain('ok second step: asked by oath');
    expect(asked.question?.text).toMatch(/^Enter the code from your authenticator/);
    expect(asked.attributes).toContainEqual({ name: 'State', value: '***' });
    const answer = { state: asked.question!.state, code: code(0) };
    const other = await two.test(signIn('zoe', { password: null, answer }));
    expect(other).toMatchObject({ outcome: 'reject', reason: 'challenge_client' });
    const own = await two.test(signIn('zoe', { password: null, answer, id: asked.id }));
    expect(own).toMatchObject({ outcome: 'accept', node: 'node-2' });
    expect(told(own)).toContain('ok typed: a code of 6 digits, as the answer');
  });

  it('answers the question itself with the code of a client whose passwords take none', async () => {
    await enrol('eva');
    const report = await one.test(signIn('eva', { client: asking, code: code(0) }));
    expect(report.outcome).toBe('accept');
    const replies = told(report).filter((line) => line.includes('reply:'));
    expect(replies.map((line) => line.split(',')[0])).toEqual([
      'ok reply: Access-Challenge',
      'ok reply: Access-Accept',
    ]);
  });

  it('types as the people of the client do: right behind the password, or the code alone', async () => {
    await enrol('mia');
    const behind = await one.test(signIn('mia', { client: appended, code: code(0) }));
    expect(behind.outcome).toBe('accept');
    const alone = { client: codes, password: null, code: code(1) };
    const report = await one.test(signIn('mia', alone));
    expect(report.outcome).toBe('accept');
    expect(told(report)).toContain('ok first factor: none here: the client has checked it');
    await expect(one.test(signIn('mia', { client: codes }))).rejects.toMatchObject({ status: 400 });
    await expect(one.test(signIn('mia', { password: null }))).rejects.toMatchObject({
      status: 400,
    });
    const long = { password: 'x'.repeat(129) };
    await expect(one.test(signIn('mia', long))).rejects.toMatchObject({ status: 400 });
  });

  it.each<[string, RadiusClientDocument, string | null, string]>([
    ['a stranger’s', gateway, '192.0.2.1', 'nobody is known at 192.0.2.1: it would be dropped'],
    ['another client’s', gateway, '10.1.2.3', 'what comes from 10.1.2.3 is taken for inside'],
    ['a disabled client’s', disabled, null, 'disabled is disabled: what it sends is dropped'],
    [
      'a broken client’s',
      moved,
      null,
      'moved is not served: its secret does not open: set it again',
    ],
  ])('goes no further from %s address, and says why', async (_, client, from, text) => {
    const report = await one.test(signIn('alice', { client, from }));
    expect(told(report)).toEqual([`NO client: ${text}`]);
    expect(report).toMatchObject({ outcome: 'unanswered', reason: null });
  });

  it('says so where the node cannot verify, and where its client may send unsigned requests', async () => {
    await enrol('ria');
    const report = await one.test(signIn('ria', { client: observed, code: code(0) }));
    expect(told(report)).toContain(
      'ok message-authenticator: valid; this client may leave it out (messageAuthenticator=observe)',
    );
    fixture.bends.isReady = false;
    await expect
      .poll(async () => told(await one.test(signIn('ria'))).at(-1), { timeout: 5000 })
      .toBe('NO reply: none: this node cannot verify now, see countersign status');
    fixture.bends.isReady = true;
    await expect
      .poll(async () => (await one.test(signIn('ria'))).outcome, { timeout: 5000 })
      .toBe('challenge');
  });

  it('waits for who answers on the telephone, and gives up for them as a client would', async () => {
    await enrol('ann');
    const call = async (count: number) => {
      await expect.poll(() => asked.length, { timeout: 5000 }).toBe(count);
      return asked[count - 1]!;
    };
    const testing = one.test(signIn('ann', { client: calling }));
    const { id: questionId, user } = await call(1);
    await verifier.answerWait({ userId: user.id, questionId }, 'approved');
    const report = await testing;
    expect(report.outcome).toBe('accept');
    expect(told(report)).toContain('ok second step: asked by call, answered elsewhere: passed');
    const unanswered = await one.test(signIn('ann', { client: calling }));
    expect(unanswered).toMatchObject({ outcome: 'reject', reason: 'expired' });
    expect(cancelled).toContain((await call(2)).id);
  });

  it('opens nothing to anybody else: who knows its ports and the secret gets no answer there', async () => {
    await enrol('bob');
    const before = udpPorts();
    const bound = Promise.withResolvers<void>();
    const isAsked = Promise.withResolvers<void>();
    fixture.bends.beforeBind = () => {
      isAsked.resolve();
      return bound.promise;
    };
    const testing = one.test(signIn('bob', { code: code(0) }));
    await isAsked.promise;
    const opened = [...udpPorts()].filter((each) => !before.has(each));
    expect(opened).toHaveLength(2);
    const request = {
      code: packetCodes.accessRequest,
      attributes: [makeAttribute('User-Name', 'bob')],
      password: Buffer.from(`${RIGHT},${code(1)}`),
    };
    for (const each of opened) {
      const answer = await askOnce(each, request, { timeoutMs: 300 });
      expect(answer.kind).toBe('unanswered');
    }
    bound.resolve();
    expect(await testing).toMatchObject({ outcome: 'accept' });
    expect([...udpPorts()].filter((each) => opened.includes(each))).toEqual([]);
  });

  it('is one of a few at once, and what is too much is refused', async () => {
    await enrol('tom');
    const bound = Promise.withResolvers<void>();
    let binds = 0;
    fixture.bends.beforeBind = () => {
      binds += 1;
      return bound.promise;
    };
    const testing = ['tom', 'alice', 'vera', 'zoe'].map((name) => one.test(signIn(name)));
    await expect.poll(() => binds, { timeout: 5000 }).toBe(4);
    await expect(one.test(signIn('eva'))).rejects.toMatchObject({
      status: 429,
      code: 'too_many_tests',
    });
    bound.resolve();
    for (const report of await Promise.all(testing)) expect(report.outcome).toBe('challenge');
  });
});

/** Of this process, IPv4. */
function udpPorts(): Set<number> {
  const own = new Set(
    readdirSync('/proc/self/fd').flatMap((fd) => {
      try {
        return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1] ?? [];
      } catch {
        return [];
      }
    }),
  );
  const lines = readFileSync('/proc/net/udp', 'utf8').trim().split('\n').slice(1);
  const rows = lines.map((line) => line.trim().split(/\s+/));
  const ports = rows.filter((row) => own.has(row[9]!)).map((row) => row[1]!.split(':')[1]!);
  return new Set(ports.map((hex) => parseInt(hex, 16)));
}
