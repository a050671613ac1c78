import { createCipheriv, createHash, randomBytes, randomUUID } from 'node:crypto';
import { Asks, ParkedEntries } from '@countersign/cluster';
import { takeFinalOutbox } from '@countersign/database';
import { sealRadiusSecret } from '@countersign/operations';
import { runTool } from '@countersign/radius/testing';
import {
  hasFreeradius,
  startTestFreeradius,
  takeFreePorts,
  type TestFreeradius,
} from '@countersign/testing';
import {
  generateSecret,
  hotp,
  type RadiusClientDocument,
  type RadiusTargetDocument,
  type UserDocument,
} from '@countersign/verification';
import { pino } from 'pino';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Circuit } from '../circuit.ts';
import { DatabaseGate } from '../database-gate.ts';
import { WorkerEvents } from '../events.ts';
import { FirstFactor } from '../first-factor.ts';
import { WorkerMetrics } from '../metrics.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import { Verifier } from '../verifier.ts';
import { RadiusFront } from './radius-front.ts';

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
const ACCEPT = 'Received Access-Accept';
const REJECT = 'Received Access-Reject';
const CHALLENGE = 'Received Access-Challenge';
const DENIED = 'Reply-Message = "Sign-in denied."';

let target: TestFreeradius;
let unsigned: TestFreeradius;
let fronts: RadiusFront[] = [];
/** Whether the log takes and tells what is parked. */
let isLogUp = true;

function clientAt(
  address: string,
  targetId: string,
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
    firstFactor: { kind: 'radius', target: targetId },
    canChallenge: true,
    codeLength: 6,
    commaCode: true,
    appendedCode: false,
    callingStation: 'text',
    isBalancer: false,
    waitSeconds: 30,
    replies: [{ group: null, attribute: 'Session-Timeout', value: '600' }],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

function targetAt(
  name: string,
  ports: number[],
  fields: Partial<RadiusTargetDocument> = {},
): RadiusTargetDocument {
  const at = new Date().toISOString();
  const place = {
    id: randomUUID(),
    servers: ports.map((port) => ({ host: '127.0.0.1', port })),
  };
  return {
    ...place,
    name,
    sealedSecret: sealRadiusSecret(keys.seed, place, target.secret),
    messageAuthenticator: 'require',
    timeoutMs: 3000,
    passAttributes: ['Class', 'Filter-Id'],
    createdAt: at,
    updatedAt: at,
    ...fields,
  };
}

async function openFront(node: string): Promise<RadiusFront> {
  const db = test.db();
  const gate = new DatabaseGate(() => db.sql`select 1`);
  const metrics = new WorkerMetrics({ node, worker: '0' }, async () => {
    throw new Error('nobody looks');
  });
  const asks = new Asks({
    links: [test.link()],
    node,
    sealer: { seal: (bytes: Uint8Array) => bytes, open: (bytes: Uint8Array) => bytes },
    answer: async () => ({ isGranted: true, state: null }),
    onSettled: async () => undefined,
  });
  test.atEnd(() => asks[Symbol.asyncDispose]());
  const events = new WorkerEvents(db, node);
  const verifier = new Verifier({
    node,
    db,
    gate,
    states: test.states(),
    asks,
    circuit: new Circuit({ db, gate, events, log }),
    keys,
    incarnation: { number: 0, id: 'one' },
    sendText: null,
    changePin: null,
    elsewhere: null,
    firstFactor: new FirstFactor({
      resolve: () => Promise.reject(new Error('no directory is asked')),
      signIn: () => Promise.reject(new Error('no directory is asked')),
    }),
    metrics,
    log,
  });
  const entries = new ParkedEntries(test.link(), 1);
  return RadiusFront.start({
    listen: { hosts: ['127.0.0.1'], authenticationPort: 0, accountingPort: 0 },
    db,
    gate,
    keys,
    verify: (attempt) => verifier.verify(attempt),
    awaitAnswer: (...args) => verifier.awaitAnswer(...args),
    refuse: (attempt, reason) => verifier.refuse(attempt, reason),
    // A log in which nothing stands is as silent as one that is away.
    parkedEntries: () => (isLogUp ? entries : new ParkedEntries(test.link(), 77)),
    isReady: async () => true,
    events,
    metrics,
    log,
  });
}

async function send(
  from: string,
  attributes: string[],
  { at = fronts[0]!, waitMs = 8000 } = {},
): Promise<string> {
  const tries = Math.ceil(waitMs / 2000);
  return runTool({
    command: 'radclient',
    args: ['-x', '-r', `${tries}`, '-t', '2', `127.0.0.1:${at.ports[0]}`, 'auth', shared],
    input: [
      ...attributes,
      'NAS-Identifier="gate"',
      'Calling-Station-Id="laptop"',
      `Packet-Src-IP-Address=${from}`,
      'Message-Authenticator=0x00',
    ].join(','),
  });
}

const pap = (name: string, password: string) => [
  `User-Name="${name}"`,
  `User-Password="${password}"`,
];
const stateOf = (output: string) =>
  `State=${/^\s+State = (0x[0-9a-f]+)/m.exec(output.slice(output.indexOf('Received')))?.[1]}`;

/** MSCHAPv2 as a client computes it (RFC 2759 §8), with the NT hash from FreeRADIUS' smbencrypt. */
async function mschapv2(name: string, password: string): Promise<string[]> {
  const hashes = await runTool({ command: 'smbencrypt', args: [password], input: '' });
  const ntHash = Buffer.from(/\t([0-9A-F]{32})/.exec(hashes)![1]!, 'hex');
  const [challenge, peer] = [randomBytes(16), randomBytes(16)];
  const sha = createHash('sha1').update(peer).update(challenge).update(name).digest();
  const padded = Buffer.concat([ntHash, Buffer.alloc(5)]);
  const parts = [0, 7, 14].map((at) => desBlock(padded.subarray(at, at + 7), sha.subarray(0, 8)));
  const response = Buffer.concat([Buffer.from([7, 0]), peer, Buffer.alloc(8), ...parts]);
  return [
    `User-Name="${name}"`,
    `MS-CHAP-Challenge=0x${challenge.toString('hex')}`,
    `MS-CHAP2-Response=0x${response.toString('hex')}`,
  ];
}

/** One DES block as triple DES with one key; 7 bytes become 8, each with a parity bit that nobody minds. */
function desBlock(seven: Buffer, block: Buffer): Buffer {
  const bits = BigInt(`0x${seven.toString('hex')}`);
  const bytes = Array.from({ length: 8 }, (_, i) => Number((bits >> BigInt(49 - 7 * i)) & 0x7fn));
  const one = Buffer.from(bytes.map((byte) => byte << 1));
  const cipher = createCipheriv('des-ede3-ecb', Buffer.concat([one, one, one]), null);
  return cipher.setAutoPadding(false).update(block);
}

/** Names and values of what came. */
function receivedIn(output: string): string[] {
  const lines = output.slice(output.indexOf('Received')).split('\n').slice(1);
  return lines.map((line) => line.trim()).filter((line) => /^(MS-|Filter-Id)/.test(line));
}

async function reasonsOf(user: UserDocument) {
  const all = await takeFinalOutbox(test.db(), 10_000);
  return all
    .filter(({ event }) => event.userId === user.id)
    .map(({ event: { reason, details } }) => ({ reason, target: details.target }));
}

const enrol = (username: string, more: Partial<UserDocument> = {}) =>
  test.addUser(keys.seed, secret, async () => ({ username, ...more }));

const exempt: Partial<UserDocument> = {
  exempt: {
    reason: 'has no phone yet',
    at: new Date().toISOString(),
    by: 'test',
    until: new Date(Date.now() + 3_600_000).toISOString(),
  },
};

describe.skipIf(!hasFreeradius)('a RADIUS target (needs freeradius)', () => {
  const names = [
    'anna',
    'bram',
    'cees',
    'dirk',
    'els',
    'fien',
    'gijs',
    'hugo',
    'ida',
    'jan',
    'lars',
    'mark',
    'nico',
  ];
  beforeAll(async () => {
    const users = names.map((name) => ({
      name,
      password: RIGHT,
      reply: [`Class := "of ${name}"`, 'Filter-Id := "inside"', 'Framed-MTU := 1400'],
    }));
    const asking = { name: 'koen', password: RIGHT, challenge: { text: 'PIN?', code: '1' } };
    target = await startTestFreeradius({ role: 'target', users: [...users, asking] });
    unsigned = await startTestFreeradius({ role: 'target', users, unsigned: true });
    await test.addApplication('vpn', {});
    const [deaf = 0] = await takeFreePorts(1);
    const plain = targetAt('plain', [target.port]);
    const behind = targetAt('behind', [deaf, target.port]);
    const bare = targetAt('bare', [unsigned.port]);
    const trusting = targetAt('trusting', [unsigned.port], { messageAuthenticator: 'off' });
    const gone = targetAt('gone', [deaf], { timeoutMs: 500 });
    for (const each of [plain, behind, bare, trusting, gone]) await test.addRadiusTarget(each);
    await test.addRadiusClient(clientAt('127.0.0.1', plain.id));
    await test.addRadiusClient(clientAt('127.0.0.2', behind.id));
    await test.addRadiusClient(clientAt('127.0.0.3', bare.id));
    await test.addRadiusClient(clientAt('127.0.0.4', trusting.id));
    await test.addRadiusClient(clientAt('127.0.0.5', gone.id));
    fronts = [await openFront('node-1'), await openFront('node-2')];
  }, 60_000);
  afterAll(async () => {
    for (const front of fronts) await front[Symbol.asyncDispose]();
    await target?.stop();
    await unsigned?.stop();
  });

  it('judges the password; with the code comes an accept with what may pass, before the client’s own', async () => {
    const user = await enrol('anna');
    const output = await send('127.0.0.1', pap('anna', `${RIGHT},${code(0)}`));
    expect(output).toContain(ACCEPT);
    const told = output.slice(output.indexOf('Received'));
    expect(told).toMatch(
      /Class = 0x6f6620616e6e61\n\s+Filter-Id = "inside"\n\s+Session-Timeout = 600/,
    );
    expect(told).not.toContain('Framed-MTU');
    expect(await reasonsOf(user)).toEqual([{ reason: null, target: 'plain' }]);
  });

  it('rejects a wrong password without spending the code, and counts it as one', async () => {
    const user = await enrol('bram');
    const wrong = await send('127.0.0.1', pap('bram', `wrong,${code(0)}`));
    expect(wrong).toContain(REJECT);
    expect(wrong).toContain(DENIED);
    expect(await send('127.0.0.1', pap('bram', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
    expect((await reasonsOf(user)).map(({ reason }) => reason)).toEqual(['wrong_password', null]);
  });

  it('keeps what the target returned until the answer, on whatever node that comes', async () => {
    await enrol('cees');
    const asked = await send('127.0.0.1', pap('cees', RIGHT));
    expect(asked).toContain(CHALLENGE);
    expect(asked.slice(asked.indexOf('Received'))).not.toContain('Filter-Id');
    await test.db().sql`delete from parked_entries`;
    const answer = [...pap('cees', code(0)), stateOf(asked)];
    const accepted = await send('127.0.0.1', answer, { at: fronts[1]! });
    expect(accepted).toContain(ACCEPT);
    expect(accepted).toContain('Filter-Id = "inside"');
  });

  it('needs no log for it at the node that asked, and spends no code where it is lost', async () => {
    await enrol('dirk');
    isLogUp = false;
    try {
      const asked = await send('127.0.0.1', pap('dirk', RIGHT));
      expect(asked).toContain(CHALLENGE);
      const answer = [...pap('dirk', code(0)), stateOf(asked)];
      const kept = await test.db().sql`delete from parked_entries returning *`;
      expect(await send('127.0.0.1', answer, { waitMs: 2000 })).not.toContain(ACCEPT);
      for (const { id, sealed } of kept) {
        await test.db().sql`
          insert into parked_entries values (${id}, ${sealed}, now() + interval '5 minutes')`;
      }
      const accepted = await send('127.0.0.1', answer);
      expect(accepted).toContain(ACCEPT);
      expect(accepted).toContain('Filter-Id = "inside"');
    } finally {
      isLogUp = true;
    }
  });

  it('goes on to the next server where one is gone', async () => {
    await enrol('els');
    expect(await send('127.0.0.2', pap('els', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
    expect(await send('127.0.0.2', pap('els', `${RIGHT},${code(1)}`))).toContain(ACCEPT);
  });

  it('lets nobody in, and counts nothing as wrong, where none answers', async () => {
    const user = await enrol('fien');
    expect(await send('127.0.0.5', pap('fien', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_unavailable');
    expect(await send('127.0.0.1', pap('fien', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
  });

  it('believes no reply without Message-Authenticator unless it is told to', async () => {
    const user = await enrol('gijs');
    expect(await send('127.0.0.3', pap('gijs', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_unavailable');
    expect(await send('127.0.0.4', pap('gijs', `${RIGHT},${code(0)}`))).toContain(ACCEPT);
  });

  it('does not ask on a target’s behalf, and passes nobody who is no user', async () => {
    const user = await enrol('koen');
    expect(await send('127.0.0.1', pap('koen', `${RIGHT},${code(0)}`))).toContain(DENIED);
    expect((await reasonsOf(user))[0]?.reason).toBe('target_challenge');
    expect(await send('127.0.0.1', pap('lars', RIGHT))).toContain(DENIED);
  });

  it('passes MSCHAPv2 with its keys hidden anew for the client, where no second step is needed', async () => {
    const user = await enrol('hugo', exempt);
    const proof = await mschapv2('hugo', RIGHT);
    const output = await send('127.0.0.1', proof);
    expect(output).toContain(ACCEPT);
    const direct = await runTool({
      command: 'radclient',
      args: ['-x', '-t', '4', `127.0.0.1:${target.port}`, 'auth', target.secret],
      input: [...proof, 'Message-Authenticator=0x00'].join(','),
    });
    // radclient shows keys as they are when it has opened them.
    expect(receivedIn(output)).toEqual(receivedIn(direct));
    const told = receivedIn(output).join(' ');
    expect(told).toMatch(/MS-CHAP2-Success = 0x07533d.*/);
    expect(told).toMatch(/MS-MPPE-Recv-Key = 0x[0-9a-f]{32}\b/);
    expect(output.slice(output.indexOf('Received'))).toContain('Session-Timeout = 600');
    expect(await reasonsOf(user)).toEqual([{ reason: null, target: 'plain' }]);
  });

  it('denies MSCHAPv2 with a wrong password as MSCHAPv2 wants it, and counts it', async () => {
    const user = await enrol('ida', exempt);
    const output = await send('127.0.0.1', await mschapv2('ida', 'wrong'));
    expect(output).toContain(REJECT);
    expect(output).toContain('MS-CHAP-Error = "\\007E=691 R=0 C=');
    expect((await reasonsOf(user))[0]?.reason).toBe('wrong_password');
  });

  it('asks no target by MSCHAPv2 about whom no password lets in, and tells no right one from a wrong one', async () => {
    const user = await enrol('jan');
    for (const password of [RIGHT, 'wrong']) {
      const output = await send('127.0.0.1', await mschapv2('jan', password));
      expect(output).toContain(REJECT);
      expect(output).toContain(DENIED);
      expect(output).toContain('E=691 R=0');
    }
    expect(await reasonsOf(user)).toEqual([
      { reason: 'no_method_for_protocol', target: undefined },
      { reason: 'no_method_for_protocol', target: undefined },
    ]);
  });

  it('refuses MSCHAPv2 that is not whole', async () => {
    const [name, , response] = await mschapv2('hugo', RIGHT);
    expect(await send('127.0.0.1', [name!, response!])).toContain(DENIED);
  });

  it('lets a sign-in sent again to another node in with the same attributes', async () => {
    await enrol('mark');
    const typed = pap('mark', `${RIGHT},${code(0)}`);
    const [one, two] = fronts;
    for (const output of await Promise.all(
      [one!, two!, two!].map((at) => send('127.0.0.1', typed, { at })),
    )) {
      expect(output).toContain(ACCEPT);
      expect(output).toContain('Filter-Id = "inside"');
    }
  });

  it('goes on where the first server is killed meanwhile, and waits for it no more once it is dead', async () => {
    const first = await startTestFreeradius({ role: 'target', users: [] });
    const both = targetAt('both', [first.port, target.port]);
    await test.addRadiusTarget(both);
    await test.addRadiusClient(clientAt('127.0.0.6', both.id));
    await enrol('nico');
    try {
      // The first knows nobody.
      await expect
        .poll(() => send('127.0.0.6', pap('nico', RIGHT), { waitMs: 2000 }), { timeout: 8000 })
        .toContain(REJECT);
      // Its port is there and silent.
      process.kill(first.pid, 'SIGSTOP');
      for (const counter of [0, 1, 2]) {
        const startedAt = performance.now();
        const output = await send('127.0.0.6', pap('nico', `${RIGHT},${code(counter)}`));
        expect(output).toContain(ACCEPT);
        if (counter === 2) expect(performance.now() - startedAt).toBeLessThan(1000);
      }
      await first.kill();
      expect(await send('127.0.0.6', pap('nico', `${RIGHT},${code(3)}`))).toContain(ACCEPT);
    } finally {
      await first.stop();
    }
  });
});
