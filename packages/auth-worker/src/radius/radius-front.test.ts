import { randomUUID } from 'node:crypto';
import { takeFinalOutbox } from '@countersign/database';
import { runTool } from '@countersign/radius/testing';
import { hasFreeradius, hasSlapd } from '@countersign/testing';
import { generateSecret, hotp, type UserDocument } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  makeFrontKeys,
  openTestFront,
  radiusClientAt,
  SHARED,
} from '../testing/open-test-front.ts';
import { RIGHT_PASSWORD as RIGHT, startTestPeople } from '../testing/start-test-people.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { TextToSend } from '../verifier-options.ts';
import { radiusCaller } from './radius-caller.ts';
import type { RadiusFront } from './radius-front.ts';
import { decodeState, encodeState } from './radius-state.ts';

const test = useTestStates();
const keys = makeFrontKeys();
const secret = generateSecret();
const code = (counter: number) => hotp(secret, counter, { algorithm: 'SHA1', digits: 6 });

const clientAt = (address: string, fields?: Parameters<typeof radiusClientAt>[2]) =>
  radiusClientAt(keys.seed, address, fields);
const passwordless = clientAt('127.0.0.3', { firstFactor: { kind: 'none' } });

let people: Awaited<ReturnType<typeof startTestPeople>>;
let opened: Awaited<ReturnType<typeof openFront>>[] = [];
let fronts: RadiusFront[] = [];
let isReady = true;
/** Binds since the test began. */
let binds = 0;
let sent: TextToSend[] = [];

/** A worker's front door, with a verifier of its own. */
function openFront(node: string) {
  const { directories } = people;
  return openTestFront(test, {
    node,
    keys,
    directories: {
      resolve: (document, name) => directories.resolve(document, name),
      signIn(document, who, password) {
        binds += 1;
        return directories.signIn(document, who, password);
      },
    },
    isReady: async () => isReady,
    onText: (text) => void sent.push(text),
  });
}

const enrol = (uid: string, more: Partial<UserDocument> = {}) => people.enrol(uid, more);

const phone = {
  type: 'phone' as const,
  id: randomUUID(),
  number: '+31612345678',
  use: 'primary' as const,
  vouchedBy: 'test',
  verifiedAt: null,
  createdAt: new Date().toISOString(),
};

/** Sent again every second or so, as a VPN would: what cannot be judged at once is dropped. */
function radclientArgs(at: RadiusFront, waitMs: number): string[] {
  const tries = Math.ceil(waitMs / 1500);
  const seconds = waitMs / 1000 / tries;
  return ['-x', '-r', `${tries}`, '-t', `${seconds}`, `127.0.0.1:${at.ports[0]}`, 'auth', SHARED];
}

async function send(
  username: string,
  password: string,
  { from = '127.0.0.1', more = '', at = fronts[0]!, station = 'laptop', waitMs = 8000 } = {},
): Promise<string> {
  const attributes = [
    `User-Name="${username.replaceAll('\\', '\\\\')}"`,
    password === '' ? '' : `User-Password="${password}"`,
    'NAS-Identifier="gate"',
    `Calling-Station-Id="${station}"`,
    `Packet-Src-IP-Address=${from}`,
    more,
    'Message-Authenticator=0x00',
  ];
  return runTool({
    command: 'radclient',
    args: radclientArgs(at, waitMs),
    input: attributes.filter((part) => part !== '').join(','),
  });
}

const ACCEPT = 'Received Access-Accept';
const REJECT = 'Received Access-Reject';
const CHALLENGE = 'Received Access-Challenge';
const DENIED = 'Reply-Message = "Sign-in denied."';

function stateOf(output: string): string {
  return `State=${/^\s+State = (0x[0-9a-f]+)/m.exec(output.slice(output.indexOf('Received')))?.[1]}`;
}

async function eventsOf(user: UserDocument) {
  const all = await takeFinalOutbox(test.db(), 10_000);
  return all
    .filter(({ event }) => event.userId === user.id)
    .map(({ event: { result, reason } }) => ({ result, reason }));
}

describe.skipIf(!hasFreeradius || !hasSlapd)('RADIUS (needs slapd, freeradius-utils)', () => {
  beforeAll(async () => {
    people = await startTestPeople(test, { keys, secret });
    await test.addApplication('vpn', {});
    await test.addApplication('open', {}, 'pass');
    await test.addApplication('nederlands', { 'company.language': 'nl' });
    const clients = [
      clientAt('127.0.0.1'),
      clientAt('127.0.0.2', { canChallenge: false }),
      passwordless,
      clientAt('127.0.0.4', { canChallenge: false, commaCode: false, appendedCode: true }),
      clientAt('127.0.0.5', { application: 'open' }),
      clientAt('127.0.0.6', { application: 'nederlands' }),
      clientAt('127.0.0.7', { enabled: false }),
      clientAt('127.0.0.8', {
        firstFactor: { kind: 'directory', directories: [randomUUID()] },
      }),
      clientAt('127.0.0.9', { firstFactor: { kind: 'radius', target: randomUUID() } }),
    ];
    for (const client of clients) await test.addRadiusClient(client);
    opened = [await openFront('node-1'), await openFront('node-2')];
    fronts = opened.map(({ front }) => front);
  }, 60_000);
  afterAll(() => people?.stop());
  beforeEach(() => {
    binds = 0;
    sent = [];
  });

  it('accepts a password with a code, once, whatever form the name has', async () => {
    const user = await enrol('alice');
    const names = ['alice', 'ALICE@example.test', 'EXAMPLE\\alice'];
    for (const [counter, name] of names.entries()) {
      expect(await send(name, `${RIGHT},${code(counter)}`)).toContain(ACCEPT);
    }
    const replayed = await send('alice', `${RIGHT},${code(2)}`, { station: 'elsewhere' });
    expect(replayed).toContain(REJECT);
    expect(replayed).toContain(DENIED);
    expect((await eventsOf(user)).at(-1)).toEqual({ result: 'denied', reason: 'replayed' });
  });

  it('checks the password first: with a wrong one no code counts', async () => {
    const user = await enrol('bob');
    const wrong = await send('bob', `wrong,${code(0)}`);
    expect(wrong).toContain(REJECT);
    expect(wrong).toContain(DENIED);
    expect(await send('bob', `${RIGHT},${code(0)}`)).toContain(ACCEPT);
    expect(await send('bob', `${RIGHT},${code(900)}`)).toContain(DENIED);
    expect((await eventsOf(user)).map(({ reason }) => reason)).toEqual([
      'wrong_password',
      null,
      'wrong_code',
    ]);
  });

  it('asks for the code after the password, and takes the answer at another node', async () => {
    await enrol('zoe');
    const asked = await send('zoe', RIGHT);
    expect(asked).toContain(CHALLENGE);
    expect(asked).toContain('Enter the code from your authenticator.');
    const more = stateOf(asked);
    const [one, two] = fronts;
    const wrong = await send('zoe', code(900), { more, at: one! });
    expect(wrong).toContain(REJECT);
    const elsewhere = await send('zoe', code(0), { more, station: 'elsewhere' });
    expect(elsewhere).toContain(REJECT);
    expect(await send('bob', code(0), { more })).toContain(REJECT);
    expect(await send('zoe', code(0), { more, from: '127.0.0.5' })).toContain(REJECT);
    expect(await send('zoe@example.test', code(0), { more, at: two! })).toContain(ACCEPT);
    expect(await send('zoe', code(1), { more })).toContain(REJECT);
    expect(binds).toBe(1);
  });

  it('tells the verdict again to what is sent again to another node, and to nobody else', async () => {
    const user = await enrol('eva');
    const [one, two] = fronts;
    const typed = `${RIGHT},${code(0)}`;
    const all = await Promise.all([one!, two!, two!].map((at) => send('eva', typed, { at })));
    for (const output of all) expect(output).toContain(ACCEPT);
    expect(await send('eva', typed, { at: two!, station: 'phone' })).toContain(REJECT);
    expect(await send('eva', typed, { at: one!, from: '127.0.0.5' })).toContain(REJECT);
    // A node that came second may have said so, and was asked again.
    const denied = (await eventsOf(user)).filter(
      ({ result, reason }) => result === 'denied' && reason !== 'busy',
    );
    expect(denied).toEqual([
      { result: 'denied', reason: 'replayed' },
      { result: 'denied', reason: 'replayed' },
    ]);
  });

  it('counts a wrong password that is sent again once', async () => {
    await enrol('pieter');
    const [one, two] = fronts;
    expect(await send('pieter', 'wrong', { at: one! })).toContain(REJECT);
    const again = await Promise.all([two!, one!].map((at) => send('pieter', 'wrong', { at })));
    for (const output of again) expect(output).toContain(REJECT);
    expect(binds).toBe(1);
    expect(await send('pieter', 'wrong', { station: 'phone' })).toContain(REJECT);
    expect(binds).toBe(2);
  });

  it('sends one text for a sign-in that is sent again, and takes its code once', async () => {
    const user = await enrol('nora', { method: 'text', language: 'nl', authenticators: [phone] });
    const [one, two] = fronts;
    const [asked, again] = await Promise.all([
      send('nora', RIGHT, { at: one! }),
      send('nora', RIGHT, { at: two! }),
    ]);
    for (const output of [asked, again]) {
      expect(output).toContain(CHALLENGE);
      expect(output).toContain('Voer de code in die naar +31*******78 is gestuurd.');
    }
    expect(sent).toHaveLength(1);
    const more = stateOf(again);
    expect(await send('nora', sent[0]!.code, { more })).toContain(ACCEPT);
    const spent = await send('nora', sent[0]!.code, { more: stateOf(asked), station: 'laptop' });
    expect(spent).toContain(REJECT);
    expect((await eventsOf(user)).at(-1)).toMatchObject({ result: 'denied' });
  });

  it('offers what else there is by number', async () => {
    const token = { ...(await enrol('jvries')) };
    await test.changeUser({ ...token, authenticators: [...token.authenticators, phone] });
    const asked = await send('jvries', RIGHT);
    expect(asked).toContain(
      'Enter the code from your authenticator, or type 2 to get a text message.',
    );
    expect(sent).toEqual([]);
    const text = await send('jvries', '2', { more: stateOf(asked) });
    expect(text).toContain(CHALLENGE);
    expect(text).toContain('Enter the code that was sent to +31*******78, or type 1');
    expect(await send('jvries', sent[0]!.code, { more: stateOf(text) })).toContain(ACCEPT);
    expect(await send('jvries', code(0), { more: stateOf(asked) })).toContain(REJECT);
  });

  it('asks for nothing where the client cannot, and says how to bring the code', async () => {
    await enrol('bart');
    const from = '127.0.0.2';
    const alone = await send('bart', RIGHT, { from });
    expect(alone).toContain(REJECT);
    expect(alone).toContain('Enter your password, a comma and your code in one go');
    expect(await send('bart', 'wrong', { from })).toContain(DENIED);
    expect(await send('bart', `${RIGHT},${code(0)}`, { from })).toContain(ACCEPT);
    const appended = await send('bart', `${RIGHT}${code(1)}`, { from: '127.0.0.4' });
    expect(appended).toContain(ACCEPT);
  });

  it('takes a code alone where the client checks passwords, and hides who is a user', async () => {
    const user = await test.addUser(keys.seed, secret);
    const from = '127.0.0.3';
    expect(await send(user.username, code(0), { from })).toContain(ACCEPT);
    expect(await send('nobody', code(0), { from })).toContain(DENIED);
    const known = await send(user.username, '', { from });
    const unknown = await send('nobody', '', { from });
    for (const asked of [known, unknown]) {
      expect(asked).toContain(CHALLENGE);
      expect(asked).toContain('Enter the code from your authenticator.');
    }
    const answer = (asked: string, name: string) =>
      send(name, code(1), { from, more: stateOf(asked) });
    expect(await answer(unknown, 'nobody')).toContain(DENIED);
    expect(await answer(known, user.username)).toContain(ACCEPT);
    expect(binds).toBe(0);
  });

  it('passes whoever is no user with the password alone only where the application says so', async () => {
    expect(await send('mia', 'wrong', { from: '127.0.0.5' })).toContain(REJECT);
    const member = people.slapd.people.find(({ uid }) => /^\w+11$/.test(uid))!;
    const stranger = member.uid;
    expect(await send(stranger, RIGHT, { from: '127.0.0.5' })).toContain(ACCEPT);
    expect(await send(stranger, RIGHT)).toContain(DENIED);
    const before = binds;
    expect(await send(stranger, RIGHT, { from: '127.0.0.8' })).toContain(DENIED);
    expect(binds).toBe(before);
  });

  it('returns what the client gives everybody, and the group of the user, however its letters are written', async () => {
    const user = await test.addUser(keys.seed, secret, async () => ({
      group: 'FINANCÉ'.normalize('NFD'),
    }));
    await test.addRadiusClient(
      clientAt('127.0.0.10', {
        firstFactor: { kind: 'none' },
        replies: [
          { group: null, attribute: 'Class', value: '0x0102' },
          { group: 'Financé', attribute: 'Filter-Id', value: 'finance' },
          { group: 'sales', attribute: 'Filter-Id', value: 'sales' },
          { group: 'Financé', attribute: 'Class', value: 'second' },
          { group: 'Financé', attribute: 'Tunnel-Type', value: '1:13' },
          { group: 'Financé', attribute: 'Tunnel-Medium-Type', value: '1:6' },
          { group: 'Financé', attribute: 'Tunnel-Private-Group-Id', value: '0x01313030' },
          { group: 'Financé', attribute: '9/1', value: 'shell:priv-lvl=1' },
          { group: 'Financé', attribute: '9/1', value: 'ip:inacl#1=permit ip any any' },
        ],
      }),
    );
    await expect
      .poll(() => send(user.username, code(0), { from: '127.0.0.10', waitMs: 2000 }), {
        timeout: 8000,
      })
      .toContain(ACCEPT);
    const accepted = await send(user.username, code(1), { from: '127.0.0.10' });
    expect(accepted).toContain('Class = 0x0102');
    expect(accepted).toContain('Filter-Id = "finance"');
    expect(accepted).not.toContain('sales');
    for (const line of [
      'Class = 0x7365636f6e64',
      'Tunnel-Type:1 = VLAN',
      'Tunnel-Medium-Type:1 = IEEE-802',
      'Tunnel-Private-Group-Id:1 = "100"',
      'Cisco-AVPair = "shell:priv-lvl=1"',
      'Cisco-AVPair = "ip:inacl#1=permit ip any any"',
    ]) {
      expect(accepted).toContain(line);
    }
  });

  it('speaks to strangers in the language of the application', async () => {
    const denied = await send('nobody', RIGHT, { from: '127.0.0.6' });
    expect(denied).toContain('Reply-Message = "Aanmelden geweigerd."');
  });

  it('says honestly what it does not do, and records it', async () => {
    const chap = await runTool({
      command: 'radclient',
      args: ['-x', '-r', '1', '-t', '8', `127.0.0.1:${fronts[0]!.ports[0]}`, 'auth', SHARED],
      input: 'User-Name="alice",CHAP-Password="x",Message-Authenticator=0x00',
    });
    expect(chap).toContain(REJECT);
    expect(chap).toContain('Sign-in by CHAP is not supported here. Use PAP.');
    expect(await send('alice', RIGHT, { from: '127.0.0.9' })).toContain(DENIED);
    const events = await takeFinalOutbox(test.db(), 10_000);
    const reasons = events.map(({ event }) => event.reason);
    expect(reasons).toEqual(expect.arrayContaining(['no_method_for_protocol', 'no_directory']));
    const refused = events.filter(({ event }) => event.reason === 'no_method_for_protocol');
    expect(refused.map(({ event }) => event)).toContainEqual(
      expect.objectContaining({ username: 'alice', userId: expect.any(String) }),
    );
    expect(JSON.stringify(events)).not.toContain(RIGHT);
  });

  it('takes no question that was asked over HTTP, and gives none that is good there (rule 6)', async () => {
    const user = await test.addUser(keys.seed, secret);
    const from = '127.0.0.3';
    const attempt = {
      caller: radiusCaller(passwordless),
      username: user.username,
      password: null,
      code: null,
      pin: null,
      newPin: null,
      method: null,
      challenge: null,
      application: 'vpn',
      clientIp: null,
      remoteAddress: from,
      idempotencyKey: null,
    };
    const { verifier } = opened[1]!;
    const overHttp = await verifier.verify({ ...attempt, door: 'http' });
    if (overHttp.kind !== 'challenge') throw new Error(overHttp.kind);
    const more = `State=0x${encodeState(overHttp).toString('hex')}`;
    expect(await send(user.username, code(0), { from, more })).toContain(DENIED);
    const asked = stateOf(await send(user.username, '', { from }));
    const challenge = decodeState(Buffer.from(asked.slice('State=0x'.length), 'hex'));
    const answered = await verifier.verify({ ...attempt, door: 'http', code: code(0), challenge });
    expect(answered).toMatchObject({ approved: false, reason: 'challenge_front_door' });
    expect(await send(user.username, code(0), { from, more: asked })).toContain(ACCEPT);
  });

  it('refuses what is no text and what is no State of its own without asking anybody', async () => {
    const bytes = await send('alice', '\\377\\376A');
    expect(bytes).toContain(DENIED);
    expect(await send('alice', code(9), { more: 'State=0x0102' })).toContain(DENIED);
    const long = `State=0x${'ab'.repeat(155)}`;
    expect(await send('alice', code(9), { more: long })).toContain(DENIED);
    expect(binds).toBe(0);
  });

  it('does not answer whoever is unknown or switched off, nor anybody while it is not ready', async () => {
    for (const from of ['127.0.0.7', '127.0.0.77']) {
      expect(await send('alice', RIGHT, { from, waitMs: 500 })).not.toContain('Received');
    }
    isReady = false;
    const tries = async () => send('alice', RIGHT, { waitMs: 500 });
    try {
      await expect.poll(tries, { timeout: 8000 }).not.toContain('Received');
    } finally {
      isReady = true;
    }
    // A denial may be held for 3 s.
    await expect
      .poll(() => send('nobody', RIGHT, { waitMs: 6000 }), { timeout: 12_000 })
      .toContain(REJECT);
  });

  it('counts what arrives and what it drops, by client', async () => {
    const unsigned = await runTool({
      command: 'radclient',
      args: ['-x', '-r', '1', '-t', '0.5', `127.0.0.1:${fronts[0]!.ports[0]}`, 'auth', 'other'],
      input: 'User-Name="alice",User-Password="x",Message-Authenticator=0x00',
    });
    expect(unsigned).not.toContain('Received');
    const told = async () => (await opened[0]!.metrics.render()).text;
    expect(await told()).toMatch(/countersign_radius_answered_total\{[^}]*\} [1-9]/);
    await expect
      .poll(told, { timeout: 8000 })
      .toMatch(
        /refused_total\{client="client 127.0.0.1",reason="message_authenticator_invalid"[^}]*\} 1/,
      );
  });

  it('answers accounting, and records a status of a session once, of whoever the name means', async () => {
    const user = await enrol('lies');
    const input =
      'User-Name="EXAMPLE\\\\lies",Acct-Status-Type=Start,Acct-Session-Id="s-7",NAS-Identifier="gate"';
    for (const { ports } of fronts) {
      const output = await runTool({
        command: 'radclient',
        args: ['-x', '-r', '1', '-t', '4', `127.0.0.1:${ports[1]}`, 'acct', SHARED],
        input,
      });
      expect(output).toContain('Received Accounting-Response');
    }
    const events = (await takeFinalOutbox(test.db(), 10_000))
      .map(({ event }) => event)
      .filter(({ type }) => type === 'radius.accounting');
    expect(events).toMatchObject([
      {
        userId: user.id,
        username: 'lies',
        application: 'vpn',
        details: { status: 'start', session: 's-7' },
      },
    ]);
    await runTool({
      command: 'radclient',
      args: ['-x', '-r', '1', '-t', '4', `127.0.0.1:${fronts[0]!.ports[1]}`, 'acct', SHARED],
      input: `User-Name="${RIGHT}",Acct-Status-Type=Start,Acct-Session-Id="s-8"`,
    });
    const all = JSON.stringify(await takeFinalOutbox(test.db(), 10_000));
    expect(all).toContain('s-8');
    expect(all).not.toContain(RIGHT);
  });
});
