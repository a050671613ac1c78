import { randomUUID } from 'node:crypto';
import { takeFinalOutbox } from '@countersign/database';
import type { Attribute } from '@countersign/radius';
import { about, sendRadius } from '@countersign/radius/testing';
import { FaultyTcp, hasSlapd, type TestSlapd } from '@countersign/testing';
import { generateSecret, hotp, parseState, type UserDocument } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  makeFrontKeys,
  openTestFront,
  radiusClientAt,
  SHARED,
} from '../testing/open-test-front.ts';
import { RIGHT_PASSWORD as RIGHT, startTestPeople } from '../testing/start-test-people.ts';
import { useTestStates } from '../testing/use-test-states.ts';
import type { TextToSend } from '../verifier-options.ts';

const DENIED = 'Sign-in denied.';
const FROM = '127.0.0.1';
/** Asks nothing. */
const MUTE = '127.0.0.2';
/** Speaks Dutch to strangers. */
const DUTCH = '127.0.0.3';
/** Takes codes right behind passwords, of 8 digits. */
const APPENDED = '127.0.0.4';
const test = useTestStates();
const keys = makeFrontKeys();
const secret = generateSecret();
const code = (counter: number, digits: 6 | 8 = 6) =>
  hotp(secret, counter, { algorithm: 'SHA1', digits });

describe.skipIf(!hasSlapd)('strangers and passwords over RADIUS (needs slapd)', () => {
  let people: Awaited<ReturnType<typeof startTestPeople>>;
  let way: FaultyTcp;
  let port: number;
  let sent: TextToSend[] = [];

  beforeAll(async () => {
    people = await startTestPeople(test, { keys, secret, people: 14, reach });
    await test.addApplication('vpn', {});
    await test.addApplication('nederlands', { 'company.language': 'nl' });
    for (const client of [
      radiusClientAt(keys.seed, FROM),
      radiusClientAt(keys.seed, MUTE, { canChallenge: false }),
      radiusClientAt(keys.seed, DUTCH, { application: 'nederlands' }),
      radiusClientAt(keys.seed, APPENDED, {
        canChallenge: false,
        commaCode: false,
        appendedCode: true,
        codeLength: 8,
      }),
    ]) {
      await test.addRadiusClient(client);
    }
    const { directories } = people;
    const onText = (text: TextToSend) => void sent.push(text);
    ({ port } = await openTestFront(test, { node: 'node-1', keys, directories, onText }));
  }, 60_000);
  afterAll(async () => {
    await people?.stop();
    await way?.[Symbol.asyncDispose]();
  });

  /** By a way that a test can make slow. */
  async function reach({ ldapUrl }: TestSlapd): Promise<string> {
    const { hostname: host, port: slapdPort } = new URL(ldapUrl);
    const target = { host, port: Number(slapdPort) };
    way = await FaultyTcp.start({ fault: { kind: 'none' }, target });
    return `ldap://127.0.0.1:${way.port}`;
  }

  const enrol = (uid: string, more: Partial<UserDocument> = {}) => people.enrol(uid, more);

  function send(
    username: string,
    password: Buffer | string,
    { from = FROM, station = 'laptop', state = [] as Attribute[] } = {},
  ) {
    const attributes = [...about(username, { station }), ...state];
    return sendRadius({ port, from, secret: SHARED, attributes, password });
  }

  async function stateOf({ id }: UserDocument) {
    const read = await test.states().readThroughLeader(id, 2000);
    return read.kind === 'found' ? parseState(read.bytes) : null;
  }

  async function eventsOf(user: UserDocument) {
    const all = await takeFinalOutbox(test.db(), 10_000);
    return all.map(({ event }) => event).filter(({ userId }) => userId === user.id);
  }

  const reasonsOf = async (user: UserDocument) =>
    (await eventsOf(user)).map(({ reason }) => reason);

  it('are denied as late and in the same words, whether a slow directory was asked or not (rule 13)', async () => {
    const [alice, bob] = [await enrol('alice'), await enrol('bob', { enabled: false })];
    await enrol('zoe', { authenticators: [] });
    await send('alice', 'wrong', { station: 'before' });
    way.change({ kind: 'delay', ms: 350 });
    way.reset();
    try {
      const first = await send('alice', 'wrong once');
      expect(first.tookMs).toBeGreaterThan(350);
      const denials = [
        await send('alice', 'wrong twice'),
        await send('bob', RIGHT),
        await send('bob', 'wrong'),
        await send('nobody', RIGHT),
        await send('nobody', `${RIGHT},${code(0)}`),
        await send('zoe', ''),
        await send('al\u0000ice', RIGHT),
      ];
      const marks = denials.map(({ tookMs }) => Math.floor((tookMs + 2) / 250));
      const seen = denials.map(({ kind, message, attributes }) =>
        JSON.stringify([kind, message, attributes.map(({ type }) => type)]),
      );
      expect(new Set(seen)).toEqual(new Set([JSON.stringify(['reject', DENIED, [80, 18]])]));
      // What the first took here: on its way back it may stand still. A denial is held for 3 s at most.
      const [, asked] = await eventsOf(alice);
      const heldMs = Math.min(asked!.durationMs!, 3000);
      expect(heldMs).toBeGreaterThan(350);
      expect(Math.min(...marks)).toBeGreaterThanOrEqual(Math.ceil(heldMs / 250));
    } finally {
      way.change({ kind: 'none' });
      way.reset();
    }
    expect(await reasonsOf(alice)).toEqual(['wrong_password', 'wrong_password', 'wrong_password']);
    expect(await reasonsOf(bob)).toEqual(['disabled', 'disabled']);
  });

  it('learn nothing and cost nobody anything before the password is right (rule 18)', async () => {
    const phone = {
      type: 'phone' as const,
      id: randomUUID(),
      number: '+31612345678',
      use: 'primary' as const,
      vouchedBy: 'test',
      verifiedAt: null,
      createdAt: new Date().toISOString(),
    };
    const user = await enrol('eva', { method: 'text', authenticators: [phone] });
    sent = [];
    for (const typed of ['guess', 'guess,text', 'guess,123456']) {
      const told = await send('eva', typed, { station: typed });
      expect([told.kind, told.message]).toEqual(['reject', DENIED]);
    }
    expect(sent).toEqual([]);
    const state = await stateOf(user);
    expect(state?.texts ?? []).toEqual([]);
    expect(state?.methods.code?.failures ?? 0).toBe(0);
    expect(state?.methods.password?.failures).toBe(3);
    expect(await send('eva', `${RIGHT},text`)).toMatchObject({ kind: 'challenge' });
    expect(sent).toHaveLength(1);
  });

  it('is a password with whatever letters, up to the 128 bytes that fit, NULs never (rule 22)', async () => {
    const { slapd } = people;
    const { dn } = slapd.people.find(({ uid }) => uid === 'pieter')!;
    const user = await enrol('pieter');
    const longest = `${'pÿ,'.repeat(29)}é,xx`;
    const passwords = ['a,b,123456', 'ünïcödé密碼,', longest];
    let counter = 0;
    let before = RIGHT;
    for (const password of passwords) {
      await slapd.modifyAs(
        dn,
        before,
        `dn: ${dn}\nchangetype: modify\nreplace: userPassword\nuserPassword:: ${Buffer.from(password).toString('base64')}\n`,
      );
      const both = `${password},${code(counter)}`;
      expect(Buffer.byteLength(both)).toBeLessThanOrEqual(128);
      expect(await send('pieter', both)).toMatchObject({ kind: 'accept' });
      counter += 1;
      before = password;
    }
    expect(Buffer.byteLength(`${longest},${code(0)}`)).toBe(128);
    const padded = Buffer.concat([Buffer.from(longest), Buffer.alloc(3)]);
    expect(await send('pieter', padded, { station: 'padded' })).toMatchObject({
      kind: 'challenge',
    });
    const cut = Buffer.concat([Buffer.from(longest), Buffer.from([0, 0x78])]);
    expect(await send('pieter', cut)).toMatchObject({ kind: 'reject' });
    expect((await stateOf(user))?.methods.password?.failures ?? 0).toBe(0);
  });

  it('takes a tail of another length, or a word in other letters, for part of the password', async () => {
    const user = await enrol('bart');
    const right = code(0);
    for (const typed of [`${RIGHT},${right}0`, `${RIGHT},${right.slice(1)}`, `${RIGHT},Text`]) {
      expect(await send('bart', typed)).toMatchObject({ kind: 'reject' });
    }
    expect(await reasonsOf(user)).toEqual(['wrong_password', 'wrong_password', 'wrong_password']);
    expect(await send('bart', `,${right}`)).toMatchObject({ kind: 'reject' });
    expect(await send('bart', `${RIGHT},${right}`)).toMatchObject({ kind: 'accept' });
  });

  it('has codes of 8 digits behind the password where the client says so', async () => {
    const hotpUser = await enrol('nora');
    const [token] = hotpUser.authenticators;
    const eight = { ...token!, digits: 8 } as UserDocument['authenticators'][number];
    await test.changeUser({ ...hotpUser, authenticators: [eight] });
    const from = APPENDED;
    const wrong = await send('nora', `${RIGHT}${code(0, 8).slice(0, 6)}`, { from });
    expect(wrong.kind).toBe('reject');
    const alone = await send('nora', RIGHT, { from });
    expect([alone.kind, alone.message]).toEqual([
      'reject',
      'Enter your password and your code right behind it: password123456',
    ]);
    expect(await send('nora', `${RIGHT}${code(0, 8)}`, { from })).toMatchObject({ kind: 'accept' });
  });

  it('are told how to type a code only with the right password, and are asked in their language', async () => {
    await enrol('jvries', { language: 'nl' });
    const from = MUTE;
    expect((await send('jvries', 'wrong', { from })).message).toBe(DENIED);
    expect((await send('jvries', RIGHT, { from })).message).toBe(
      'Voer uw wachtwoord, een komma en uw code in één keer in: wachtwoord,123456',
    );
    expect((await send('jvries', `${RIGHT},${code(900)}`, { from })).message).toBe(DENIED);
    const asked = await send('jvries', RIGHT);
    expect(asked.message).toBe('Voer de code van uw authenticator in.');
    const wrong = await send('jvries', code(900), { state: asked.state });
    expect([wrong.kind, wrong.message]).toEqual(['reject', 'Aanmelden geweigerd.']);
    const english = people.slapd.people.at(-1)!.uid;
    await enrol(english, { language: 'en' });
    expect((await send(english, 'wrong', { from: DUTCH })).message).toBe('Aanmelden geweigerd.');
    const question = await send(english, RIGHT, { from: DUTCH });
    expect(question.message).toBe('Enter the code from your authenticator.');
  });
});
