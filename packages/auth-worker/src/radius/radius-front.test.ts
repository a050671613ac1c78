import { randomBytes, randomUUID } from 'node:crypto';
import { Asks, ParkedEntries } from '@countersign/cluster';
import { takeFinalOutbox } from '@countersign/database';
import { directoryDefaults } from '@countersign/directory';
import { OpenDirectories, sealDirectoryPassword, sealRadiusSecret } from '@countersign/operations';
import { runTool } from '@countersign/radius/testing';
import { hasFreeradius, hasSlapd, startTestSlapd, type TestSlapd } from '@countersign/testing';
import {
  generateSecret,
  hotp,
  type DirectoryDocument,
  type RadiusClientDocument,
  type UserDocument,
} from '@countersign/verification';
import { pino } from 'pino';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Circuit } from '../circuit.ts';
import { DatabaseGate } from '../database-gate.ts';
import { WorkerEvents } from '../events.ts';
import { FirstFactor } from '../first-factor.ts';
import { WorkerMetrics } from '../metrics.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import { Verifier, type TextToSend } from '../verifier.ts';
import { radiusCaller } from './radius-caller.ts';
import { RadiusFront } from './radius-front.ts';
import { decodeState, encodeState } from './radius-state.ts';

const test = useTestStates();
const key = () => ({ keyId: '00000000', key: randomBytes(32) });
const keys = {
  seed: key(),
  'wrong-code': key(),
  'attempt-id': key(),
  challenge: key(),
  pin: key(),
  'spare-code': key(),
  parked: key(),
};
const secret = generateSecret();
const shared = 'shared with radclient';
const RIGHT = 'Wachtwoord.1';
const log = pino({ level: 'silent' });
const code = (counter: number) => hotp(secret, counter, { algorithm: 'SHA1', digits: 6 });

let slapd: TestSlapd;
let directory: DirectoryDocument;
let directories: OpenDirectories;
let fronts: RadiusFront[] = [];
let verifier: Verifier;
let passwordless: RadiusClientDocument;
let readMetrics: () => Promise<string>;
let isReady = true;
/** Binds since the test began. */
let binds = 0;
let sent: TextToSend[] = [];
let people: Map<string, string>;

function clientAt(
  address: string,
  fields: Partial<RadiusClientDocument> = {},
): RadiusClientDocument {
  const at = new Date().toISOString();
  const place = { id: randomUUID(), addresses: [address] };
  return {
    ...place,
    name: `client ${address}`,
    application: 'vpn',
    enabled: true,
    sealedSecret: sealRadiusSecret(keys.seed, place, shared),
    messageAuthenticator: 'require',
    firstFactor: { kind: 'directory', directories: null },
    canChallenge: true,
    codeLength: 6,
    commaCode: true,
    appendedCode: false,
    callingStation: 'text',
    isBalancer: false,
    waitSeconds: 30,
    replies: [],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

function makeVerifier(node: string, metrics: WorkerMetrics): Verifier {
  const db = test.db();
  const gate = new DatabaseGate(() => db.sql`select 1`);
  const plain = { seal: (bytes: Uint8Array) => bytes, open: (bytes: Uint8Array) => bytes };
  const asks = new Asks({
    links: [test.link()],
    node,
    sealer: plain,
    answer: async () => ({ isGranted: true, state: null }),
    onSettled: async () => undefined,
  });
  test.atEnd(() => asks[Symbol.asyncDispose]());
  return new Verifier({
    node,
    db,
    gate,
    states: test.states(),
    asks,
    circuit: new Circuit({ db, gate, events: new WorkerEvents(db, node), log }),
    keys,
    incarnation: { number: 0, id: 'one' },
    sendText: async (text) => {
      sent.push(text);
      return { sent: true, details: {} };
    },
    changePin: null,
    elsewhere: null,
    firstFactor: new FirstFactor({
      resolve: (document, name) => directories.resolve(document, name),
      signIn(document, who, password) {
        binds += 1;
        return directories.signIn(document, who, password);
      },
    }),
    metrics,
    log,
  });
}

/** A worker's front door, with a verifier of its own. */
async function openFront(node: string): Promise<RadiusFront> {
  const db = test.db();
  const metrics = new WorkerMetrics({ node, worker: '0' }, async () => {
    throw new Error('nobody looks');
  });
  readMetrics ??= async () => (await metrics.render()).text;
  verifier = makeVerifier(node, metrics);
  const own = verifier;
  return RadiusFront.start({
    node,
    worker: 0,
    workers: 1,
    listen: { hosts: ['127.0.0.1'], authenticationPort: 0, accountingPort: 0 },
    db,
    gate: new DatabaseGate(() => db.sql`select 1`),
    keys,
    verify: (attempt) => own.verify(attempt),
    awaitAnswer: (...args) => own.awaitAnswer(...args),
    refuse: (attempt, reason) => own.refuse(attempt, reason),
    whoIs: (name) => own.whoIs(name),
    parkedEntries: () => new ParkedEntries(test.link(), 1),
    isReady: async () => isReady,
    events: new WorkerEvents(db, node),
    metrics,
    log,
  });
}

/** A user of the directory with a token of the secret, and more. */
async function enrol(uid: string, more: Partial<UserDocument> = {}): Promise<UserDocument> {
  const link = {
    id: directory.id,
    object: people.get(uid)!,
    dn: slapd.people.find((person) => person.uid === uid)!.dn,
    item: null,
    names: [`${uid}@example.test`, `example\\${uid}`],
    mails: [],
  };
  return test.addUser(keys.seed, secret, async () => ({ username: uid, directory: link, ...more }));
}

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
  return ['-x', '-r', `${tries}`, '-t', `${seconds}`, `127.0.0.1:${at.ports[0]}`, 'auth', shared];
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
    slapd = await startTestSlapd({ tls: false, people: 12 });
    const at = new Date().toISOString();
    const defaults = directoryDefaults('ldap');
    const plain = {
      ...defaults,
      id: randomUUID(),
      name: 'people',
      type: 'ldap' as const,
      domains: ['example', 'example.test'],
      servers: [slapd.ldapUrl],
      account: { name: slapd.reader.name, sealedPassword: '' },
      baseDn: slapd.baseDn,
      defaultCountry: 'NL',
      sync: { ...defaults.sync, enabled: false, intervalMinutes: 5, fullHours: 24 },
      items: [],
      createdAt: at,
      updatedAt: at,
    };
    const sealedPassword = sealDirectoryPassword(keys.seed, plain, slapd.reader.password);
    directory = { ...plain, account: { name: slapd.reader.name, sealedPassword } };
    await test.addDirectory(directory);
    await test.addApplication('vpn', {});
    await test.addApplication('open', {}, 'pass');
    await test.addApplication('nederlands', { 'company.language': 'nl' });
    passwordless = clientAt('127.0.0.3', { firstFactor: { kind: 'none' } });
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
    directories = new OpenDirectories({ db: test.db(), node: 'node-1', seedKey: keys.seed });
    fronts = [await openFront('node-1'), await openFront('node-2')];
    const found = await directories.previewPeople(directory, { limit: 20 });
    people = new Map(found.people.map(({ username, object }) => [username!.toLowerCase(), object]));
  }, 60_000);
  afterAll(async () => {
    for (const front of fronts) await front[Symbol.asyncDispose]();
    await directories?.[Symbol.asyncDispose]();
    await slapd?.stop();
  });
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
    const denied = (await eventsOf(user)).filter(({ result }) => result === 'denied');
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
    const member = slapd.people.find(({ uid }) => !people.has(uid) || /^\w+11$/.test(uid))!;
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
      .poll(() => send(user.username, code(0), { from: '127.0.0.10', waitMs: 500 }), {
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
      args: ['-x', '-r', '1', '-t', '4', `127.0.0.1:${fronts[0]!.ports[0]}`, 'auth', shared],
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
    await expect
      .poll(() => send('nobody', RIGHT, { waitMs: 1000 }), { timeout: 8000 })
      .toContain(REJECT);
  });

  it('counts what arrives and what it drops, by client', async () => {
    const unsigned = await runTool({
      command: 'radclient',
      args: ['-x', '-r', '1', '-t', '0.5', `127.0.0.1:${fronts[0]!.ports[0]}`, 'auth', 'other'],
      input: 'User-Name="alice",User-Password="x",Message-Authenticator=0x00',
    });
    expect(unsigned).not.toContain('Received');
    const told = await readMetrics();
    expect(told).toMatch(/countersign_radius_answered_total\{[^}]*\} [1-9]/);
    expect(told).toMatch(
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
        args: ['-x', '-r', '1', '-t', '4', `127.0.0.1:${ports[1]}`, 'acct', shared],
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
      args: ['-x', '-r', '1', '-t', '4', `127.0.0.1:${fronts[0]!.ports[1]}`, 'acct', shared],
      input: `User-Name="${RIGHT}",Acct-Status-Type=Start,Acct-Session-Id="s-8"`,
    });
    const all = JSON.stringify(await takeFinalOutbox(test.db(), 10_000));
    expect(all).toContain('s-8');
    expect(all).not.toContain(RIGHT);
  });
});
