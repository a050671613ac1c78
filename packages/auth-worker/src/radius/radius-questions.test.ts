import { randomBytes } from 'node:crypto';
import { takeFinalOutbox } from '@countersign/database';
import { hashPin } from '@countersign/operations';
import { makeAttribute, type Attribute } from '@countersign/radius';
import { about, sendRadius } from '@countersign/radius/testing';
import {
  generateSecret,
  hotp,
  parseState,
  totpStep,
  type UserDocument,
} from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import {
  makeFrontKeys,
  openTestFront,
  radiusClientAt,
  SHARED,
} from '../testing/open-test-front.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { TextToSend } from '../verifier-options.ts';

const DENIED = 'Sign-in denied.';
const FROM = '127.0.0.1';
const test = useTestStates();
const keys = makeFrontKeys();
const secret = generateSecret();
const code = (counter: number) => hotp(secret, counter, { algorithm: 'SHA1', digits: 6 });
const trusted = radiusClientAt(keys.seed, FROM, { firstFactor: { kind: 'none' } });
const turned = radiusClientAt(keys.seed, '127.0.0.6', { firstFactor: { kind: 'none' } });

let ports: number[];
let sent: TextToSend[] = [];

beforeAll(async () => {
  await test.addApplication('vpn', {});
  await test.addApplication('other', {});
  await test.addApplication('pins', {
    'methods.oathMode': 'code+pin',
    'methods.textMode': 'otp+pin',
  });
  await test.addApplication('office', {
    'trustedIps.ranges': ['198.51.100.0/24', '2001:db8::/64'],
  });
  await test.addApplication('nederlands', { 'company.language': 'nl' });
  const none = { kind: 'none' } as const;
  const clients = [
    trusted,
    turned,
    radiusClientAt(keys.seed, '127.0.0.2', { firstFactor: none }),
    radiusClientAt(keys.seed, '127.0.0.3', { firstFactor: none, application: 'other' }),
    radiusClientAt(keys.seed, '127.0.0.4', { firstFactor: none, application: 'pins' }),
    radiusClientAt(keys.seed, '127.0.0.5', { firstFactor: none, application: 'nederlands' }),
    radiusClientAt(keys.seed, '127.0.0.7', {
      firstFactor: none,
      application: 'office',
      callingStation: 'ip',
    }),
    radiusClientAt(keys.seed, '127.0.0.8', { firstFactor: none, application: 'office' }),
  ];
  for (const client of clients) await test.addRadiusClient(client);
  const onText = (text: TextToSend) => void sent.push(text);
  const opened = [
    await openTestFront(test, { node: 'node-1', keys, onText }),
    await openTestFront(test, { node: 'node-2', keys, onText }),
  ];
  ports = opened.map(({ port }) => port);
}, 60_000);
afterAll(() => vi.useRealTimers());

type Sending = {
  from?: string;
  station?: string;
  nas?: string;
  state?: Attribute[];
  at?: number;
  waitMs?: number;
  attributes?: Attribute[];
};

function send(username: string, typed: string | null, options: Sending = {}) {
  const { from = FROM, station, nas, state = [], at = 0, waitMs, attributes } = options;
  return sendRadius({
    port: ports[at]!,
    from,
    secret: SHARED,
    attributes: [
      ...(attributes ?? about(username, { ...(station && { station }), ...(nas && { nas }) })),
      ...state,
    ],
    password: typed,
    ...(waitMs && { waitMs }),
  });
}

async function asked(user: UserDocument, options: Sending = {}) {
  const question = await send(user.username, null, options);
  expect(question.kind).toBe('challenge');
  return question;
}

async function failuresOf(user: UserDocument): Promise<number> {
  const read = await test.states().readThroughLeader(user.id, 2000);
  return read.kind === 'found' ? (parseState(read.bytes).methods.code?.failures ?? 0) : 0;
}

const stateWith = (bytes: Buffer): Attribute[] => [{ type: 24, value: bytes }];

describe('the answer to a question', () => {
  it('counts only as the question went out, and nothing else costs anything (rule 6)', async () => {
    const [user, other] = [
      await test.addUser(keys.seed, secret),
      await test.addUser(keys.seed, secret),
    ];
    const { username } = user;
    const { state } = await asked(user);
    const bytes = state[0]!.value;
    expect(bytes.length).toBeLessThanOrEqual(253);
    const elsewhere: Sending[] = [
      { state, station: 'phone' },
      { state, nas: 'another gate' },
      { state, attributes: [makeAttribute('User-Name', username)] },
      { state, attributes: about(username).slice(0, 2) },
      { state, from: '127.0.0.2' },
      { state, from: '127.0.0.3' },
      ...[0, 1, 15, 16, 17, 100, bytes.length - 1].map((end) => ({
        state: stateWith(bytes.subarray(0, end)),
      })),
      { state: stateWith(Buffer.concat([bytes, Buffer.from([0])])) },
      { state: stateWith(Buffer.concat([bytes, Buffer.alloc(253 - bytes.length)])) },
      ...[0, 15, 16, 17, 40, bytes.length - 1].map((at) => {
        const flipped = Buffer.from(bytes);
        flipped[at]! ^= 1;
        return { state: stateWith(flipped) };
      }),
      { state: stateWith(randomBytes(bytes.length)) },
    ];
    const told = await Promise.all(elsewhere.map((way) => send(username, code(0), way)));
    for (const [index, answer] of told.entries()) {
      const seen = [answer.kind, answer.message, answer.state];
      expect(seen, JSON.stringify(elsewhere[index])).toEqual(['reject', DENIED, []]);
    }
    expect(await send(other.username, code(0), { state })).toMatchObject({ kind: 'reject' });
    const swapped = (await asked(user, { station: 'swapped' })).state[0]!.value;
    const mixed = Buffer.concat([swapped.subarray(0, 16), bytes.subarray(16)]);
    expect(await send(username, code(0), { state: stateWith(mixed) })).toMatchObject({
      kind: 'reject',
    });
    expect(await failuresOf(user)).toBe(0);
    expect(await send(username, code(0), { state, at: 1 })).toMatchObject({ kind: 'accept' });
    const reasons = (await takeFinalOutbox(test.db(), 10_000)).map(({ event }) => event.reason);
    expect(reasons).toEqual(
      expect.arrayContaining(['challenge_client', 'challenge_damaged', 'challenge_user']),
    );
  });

  it('with two States, or one that does not fit a packet, is not read at all', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user);
    const twice = await send(user.username, code(0), { state: [...state, ...state], waitMs: 500 });
    expect(twice.kind).toBe('silent');
    expect(await send(user.username, code(0), { state })).toMatchObject({ kind: 'accept' });
  });

  it('is worth nothing when the question is over', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user);
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() + 11 * 60_000 });
    try {
      expect(await send(user.username, code(0), { state })).toMatchObject({ kind: 'reject' });
    } finally {
      vi.useRealTimers();
    }
    expect(await failuresOf(user)).toBe(0);
  });

  it('is not looked at after three wrong ones, whichever nodes they reached', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user);
    for (const [number, at] of [0, 1, 0].entries()) {
      const wrong = await send(user.username, code(900 + number), { state, at });
      expect([wrong.kind, wrong.message]).toEqual(['reject', DENIED]);
    }
    expect(await send(user.username, code(0), { state, at: 1 })).toMatchObject({ kind: 'reject' });
    const again = await asked(user, { station: 'anew' });
    expect(
      await send(user.username, code(0), { state: again.state, station: 'anew' }),
    ).toMatchObject({ kind: 'accept' });
  });

  it('costs nothing where nothing was typed, and may have spaces in it', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user);
    for (const station of ['a', 'b', 'c', 'd']) {
      const empty = await asked(user, { station });
      expect(await send(user.username, '', { state: empty.state, station })).toMatchObject({
        kind: 'reject',
      });
    }
    expect(await send(user.username, '', { state })).toMatchObject({ kind: 'reject' });
    expect(await failuresOf(user)).toBe(0);
    const spaced = `${code(0).slice(0, 3)} ${code(0).slice(3)}`;
    expect(await send(user.username, spaced, { state })).toMatchObject({ kind: 'accept' });
  });

  it('that is a word every object of the language knows is a wrong code like any other', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user);
    for (const word of ['constructor', '__proto__', 'toString']) {
      expect(await send(user.username, word, { state })).toMatchObject({ kind: 'reject' });
    }
    expect(await failuresOf(user)).toBe(3);
    expect(await send(user.username, code(0), { state })).toMatchObject({ kind: 'reject' });
  });

  it('is none any more where the client no longer checks passwords itself', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state } = await asked(user, { from: '127.0.0.6' });
    const firstFactor = { kind: 'directory', directories: null } as const;
    await test.addRadiusClient({ ...turned, firstFactor });
    // A password alone is asked about then, and this user is from no directory.
    await expect
      .poll(() => send(user.username, code(900), { from: '127.0.0.6', station: 'x' }), {
        timeout: 8000,
      })
      .toMatchObject({ kind: 'reject' });
    await expect
      .poll(() => send('whoever', null, { from: '127.0.0.6', station: 'x' }), { timeout: 8000 })
      .toMatchObject({ kind: 'reject' });
    expect(await send(user.username, code(0), { state, from: '127.0.0.6' })).toMatchObject({
      kind: 'reject',
    });
  });
});

describe('one code', () => {
  it('from several stations at once on two nodes lets in one of them', async () => {
    const user = await test.addUser(keys.seed, secret);
    const stations = ['a', 'b', 'c', 'd', 'e', 'f'];
    const told = await Promise.all(
      stations.map((station, index) => send(user.username, code(0), { station, at: index % 2 })),
    );
    expect(told.filter(({ kind }) => kind === 'accept')).toHaveLength(1);
    expect(told.filter(({ kind }) => kind === 'reject')).toHaveLength(stations.length - 1);
  });

  it('from one station to two nodes at once is one sign-in', async () => {
    const user = await test.addUser(keys.seed, secret);
    const told = await Promise.all([0, 1, 1, 0].map((at) => send(user.username, code(0), { at })));
    expect(told.map(({ kind }) => kind)).toEqual(['accept', 'accept', 'accept', 'accept']);
  });

  it('that is wrong counts once within a minute, and another one again (rule 9)', async () => {
    const step = 30_000;
    vi.useFakeTimers({ toFake: ['Date'], now: Math.floor(Date.now() / step) * step + 5000 });
    try {
      const hotpUser = await test.addUser(keys.seed, secret);
      const [token] = hotpUser.authenticators;
      const user = {
        ...hotpUser,
        authenticators: [{ ...token!, type: 'totp', periodSeconds: 30 }],
      } as unknown as UserDocument;
      await test.changeUser(user);
      const now = totpStep(Date.now(), 30);
      const at = (offset: number) => code(now + offset);
      for (const station of ['a', 'b', 'c']) {
        expect(await send(user.username, at(50), { station })).toMatchObject({ kind: 'reject' });
      }
      expect(await failuresOf(user)).toBe(1);
      expect(await send(user.username, at(51))).toMatchObject({ kind: 'reject' });
      expect(await failuresOf(user)).toBe(2);
      expect(await send(user.username, at(0))).toMatchObject({ kind: 'accept' });
      expect(await failuresOf(user)).toBe(0);
    } finally {
      vi.useRealTimers();
    }
  });
});

describe('where somebody is', () => {
  it('is believed only from a client that is said to tell it, and only one address (rule 12)', async () => {
    const user = await test.addUser(keys.seed, secret);
    const ask = (station: string, from: string, more: Attribute[] = []) =>
      send(user.username, null, {
        from,
        attributes: [...about(user.username, { station }), ...more],
      });
    for (const inside of ['198.51.100.7', '::ffff:198.51.100.8', '2001:db8::1']) {
      expect(await ask(inside, '127.0.0.7')).toMatchObject({ kind: 'accept' });
      expect(await ask(inside, '127.0.0.8')).toMatchObject({ kind: 'challenge' });
    }
    const outside = ['198.51.101.7', '198.51.100.7 ', '198.51.100', '2001:db8:1::1', 'laptop'];
    for (const station of outside) {
      expect(await ask(station, '127.0.0.7')).toMatchObject({ kind: 'challenge' });
    }
    const second = makeAttribute('Calling-Station-Id', '203.0.113.9');
    const two = await ask('198.51.100.9', '127.0.0.7', [second]);
    expect(two).toMatchObject({ kind: 'challenge' });
  });
});

const phone = {
  type: 'phone' as const,
  id: '0198c1a0-0000-7000-8000-000000000001',
  number: '+31612345678',
  use: 'primary' as const,
  vouchedBy: 'test',
  verifiedAt: null,
  createdAt: new Date().toISOString(),
};

/** With a token, a phone and the PIN 8024. */
async function addWellEquipped(more: Partial<UserDocument> = {}): Promise<UserDocument> {
  const user = await test.addUser(keys.seed, secret, async (id) => ({
    pin: {
      ...(await hashPin(keys.pin, id, '8024')),
      setAt: new Date().toISOString(),
      mustChange: false,
      history: [],
    },
    ...more,
  }));
  const equipped = { ...user, authenticators: [...user.authenticators, phone] };
  await test.changeUser(equipped);
  return equipped;
}

describe('a choice of methods', () => {
  it('is made by number, there and back, and each question is good once', async () => {
    const user = await addWellEquipped();
    const first = await asked(user);
    expect(first.message).toBe(
      'Enter the code from your authenticator, or type 2 to get a text message.',
    );
    sent = [];
    const text = await send(user.username, '2', { state: first.state, at: 1 });
    expect(text).toMatchObject({
      kind: 'challenge',
      message: 'Enter the code that was sent to +31*******78, or type 1 to use your authenticator.',
    });
    expect(sent).toHaveLength(1);
    const back = await send(user.username, '1', { state: text.state });
    expect([back.kind, back.message]).toEqual(['challenge', first.message]);
    const wrong = await send(user.username, sent[0]!.code, { state: back.state });
    expect(wrong.kind).toBe('reject');
    const right = await send(user.username, sent[0]!.code, { state: text.state });
    expect(right.kind).toBe('accept');
    const used = await send(user.username, sent[0]!.code, {
      state: text.state,
      at: 1,
      nas: 'gate',
    });
    expect(used.kind).toBe('accept');
    const elsewhere = await send(user.username, code(0), { state: text.state });
    expect(elsewhere.kind).toBe('reject');
  });

  it('has only what the user has: another number is a wrong code', async () => {
    const user = await test.addUser(keys.seed, secret);
    const { state, message } = await asked(user);
    expect(message).toBe('Enter the code from your authenticator.');
    sent = [];
    for (const number of ['2', '3', '0']) {
      expect(await send(user.username, number, { state })).toMatchObject({ kind: 'reject' });
    }
    expect(sent).toEqual([]);
  });

  it('with PINs takes code and PIN together, and says so', async () => {
    const user = await addWellEquipped();
    const from = '127.0.0.4';
    const { state, message } = await asked(user, { from });
    expect(message).toBe(
      'Enter the code from your authenticator and your PIN right behind it, or type 2 to get a text message.',
    );
    expect(await send(user.username, code(0), { state, from })).toMatchObject({ kind: 'reject' });
    const wrongPin = await send(user.username, `${code(0)}1111`, { state, from });
    expect([wrongPin.kind, wrongPin.message]).toEqual(['reject', DENIED]);
    const again = await asked(user, { from, station: 'again' });
    const right = await send(user.username, `${code(1)} 8024`, {
      state: again.state,
      from,
      station: 'again',
    });
    expect(right.kind).toBe('accept');
    const chosen = await asked(user, { from, station: 'text' });
    sent = [];
    const text = await send(user.username, '2', { state: chosen.state, from, station: 'text' });
    expect(text.message).toBe(
      'Enter the code that was sent to +31*******78 and your PIN right behind it, or type 1 to use your authenticator.',
    );
    const typed = `${sent[0]!.code}8024`;
    expect(
      await send(user.username, typed, { state: text.state, from, station: 'text' }),
    ).toMatchObject({ kind: 'accept' });
  });

  it('that is over because the PIN has to be changed says so, to whoever had all of it right', async () => {
    const from = '127.0.0.4';
    const user = await addWellEquipped();
    await test.changeUser({ ...user, pin: { ...user.pin!, mustChange: true } });
    const { state } = await asked(user, { from });
    const wrong = await send(user.username, `${code(0)}1111`, { state, from });
    expect(wrong.message).toBe(DENIED);
    const again = await asked(user, { from, station: 'again' });
    const right = await send(user.username, `${code(1)}8024`, {
      state: again.state,
      from,
      station: 'again',
    });
    expect([right.kind, right.message]).toEqual([
      'reject',
      'Change your PIN first, then sign in again.',
    ]);
  });

  it('is in the language of the application before a password is proven', async () => {
    const user = await addWellEquipped({ language: 'en' });
    const from = '127.0.0.5';
    const { state, message } = await asked(user, { from });
    expect(message).toBe('Voer de code van uw authenticator in, of typ 2 voor een sms-bericht.');
    const denied = await send(user.username, code(900), { state, from });
    expect(denied.message).toBe('Aanmelden geweigerd.');
  });
});
