import { hasSlapd, startTestSlapd, waitFor } from '@countersign/testing';
import type { TestSlapd } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryDefaults } from './defaults.ts';
import { Directory } from './directory.ts';
import { startFaultyServer, startRelay } from './testing/faulty-servers.ts';
import type { DirectoryConfig } from './types.ts';

// Longer than a server that does answer may stand still.
const ANSWER_MS = 3_000;
// Where none but silent ones decide.
const SHORT_ANSWER_MS = 600;
const PASSWORD = 'Wachtwoord.1';
const TEXT = { kind: 'unavailable', problem: expect.any(String) as string };

describe.skipIf(!hasSlapd)('of the servers of a directory', () => {
  let slapd: TestSlapd;
  beforeAll(async () => {
    slapd = await startTestSlapd();
  });
  afterAll(() => slapd?.stop());

  const open = (
    servers: string[],
    change: Partial<DirectoryConfig> = {},
    options: { signInMs?: number } = {},
  ) =>
    new Directory(
      {
        ...directoryDefaults('ldap'),
        name: 'people',
        type: 'ldap',
        domains: [],
        servers,
        account: slapd.reader,
        baseDn: slapd.baseDn,
        defaultCountry: 'NL',
        connectMs: 10_000,
        answerMs: ANSWER_MS,
        ...change,
      },
      options,
    );

  it.concurrent.each([
    ['says nothing', () => undefined, ANSWER_MS],
    [
      'sends garbage',
      (socket: { write: (text: string) => void }) => socket.write('HTTP/1.1 400\r\n\r\n'),
      0,
    ],
    ['closes', (socket: { destroy: () => void }) => socket.destroy(), 0],
  ])('one that %s is waited for once, then passed over', async (_what, take, costMs) => {
    await using faulty = await startFaultyServer(take);
    await using directory = open([faulty.url, slapd.ldapUrl]);
    const tookMs: number[] = [];
    for (let count = 0; count < 20; count += 1) {
      const startedAt = performance.now();
      const signIn = await directory.signIn({ name: 'alice' }, PASSWORD);
      expect(signIn).toMatchObject({ kind: 'accepted' });
      tookMs.push(performance.now() - startedAt);
      if (count === 0) expect(faulty.taken()).toBe(1);
    }
    expect(tookMs[0]).toBeGreaterThan(costMs * 0.9);
    const median = tookMs.slice(1).toSorted((a, b) => a - b)[9];
    expect(median).toBeLessThan(ANSWER_MS / 4);
    expect(faulty.taken()).toBeLessThanOrEqual(2);
  });

  it.concurrent('that answer nothing are waited for no longer than a sign-in may take, and nothing is sent late', async () => {
    await using silent = await startFaultyServer(() => undefined);
    const binds: Buffer[] = [];
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      if (bytes.includes(PASSWORD)) binds.push(bytes);
      onward.write(bytes);
    });
    const signInMs = 2_500;
    await using directory = open([silent.url, relay.url], { answerMs: 4_000 }, { signInMs });
    const late = await directory.signIn({ name: 'alice' }, PASSWORD);
    expect(late).toEqual({ ...TEXT, problem: `no answer within ${signInMs} ms in all` });
    expect(relay.taken()).toBe(0);
    // The lookup goes on, to the next server; the password does not.
    await waitFor('the next server', () => relay.taken() > 0, { timeoutMs: 10_000 });
    expect(await directory.resolve('alice')).toMatchObject({ kind: 'found' });
    expect(binds).toEqual([]);
    expect(await directory.signIn({ name: 'alice' }, PASSWORD)).toMatchObject({ kind: 'accepted' });
  });

  it.concurrent('one that nobody listens at costs nothing', async () => {
    const gone = await startFaultyServer(() => undefined);
    await gone[Symbol.asyncDispose]();
    await using directory = open([gone.url, slapd.ldapUrl]);
    expect(await directory.resolve('alice')).toMatchObject({ kind: 'found' });
  });

  it.concurrent('one that died under a request is replaced by the next within the same question', async () => {
    let isDead = false;
    let unheard = 0;
    await using first = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      if (isDead) unheard += 1;
      else onward.write(bytes);
    });
    await using directory = open([first.url, slapd.ldapUrl]);
    const circles = { groups: [{ name: 'circle a' }, { name: 'circle b' }] };
    expect(await directory.listGroups('circle')).toMatchObject(circles);
    isDead = true;
    expect(await directory.listGroups('circle')).toMatchObject(circles);
    expect(unheard).toBe(1);
  });

  it.concurrent('one that falls silent behind connections that lie idle is waited for once, and nobody is denied', async () => {
    let isDead = false;
    let unheard = 0;
    await using first = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      if (isDead) unheard += 1;
      else onward.write(bytes);
    });
    await using directory = open([first.url, slapd.ldapUrl]);
    const signIn = () => directory.signIn({ name: 'alice' }, PASSWORD);
    expect(await signIn()).toMatchObject({ kind: 'accepted' });
    isDead = true;
    expect(await signIn()).toMatchObject({ kind: 'accepted' });
    expect(unheard).toBe(1);
  });

  it.concurrent('all are silent: an answer all the same, in time, and then at once', async () => {
    await using one = await startFaultyServer(() => undefined);
    await using two = await startFaultyServer(() => undefined);
    await using directory = open([one.url, two.url], { answerMs: SHORT_ANSWER_MS });
    // Each is waited for once, and then no more.
    const once = [1, 1];
    expect(await directory.signIn({ name: 'alice' }, PASSWORD)).toEqual(TEXT);
    expect([one.taken(), two.taken()]).toEqual(once);
    expect(await directory.signIn({ name: 'alice' }, PASSWORD)).toEqual(TEXT);
    await expect(directory.search({ limit: 1 })).rejects.toMatchObject({ fault: 'unreachable' });
    expect([one.taken(), two.taken()]).toEqual(once);
  });

  it.concurrent('a bind without an answer is not sent again', async () => {
    let binds = 0;
    const relayAll = () =>
      startRelay(slapd.ldapUrl, (bytes, onward) => {
        const isPerson = bytes.includes('uid=alice') && bytes.includes('secret-of-alice');
        binds += isPerson ? 1 : 0;
        if (!isPerson) onward.write(bytes);
      });
    await using one = await relayAll();
    await using two = await relayAll();
    await using directory = open([one.url, two.url]);
    const signIn = await directory.signIn({ name: 'alice' }, 'secret-of-alice');
    // The directory may have heard it.
    expect(signIn).toEqual({ ...TEXT, mayBeWrong: true });
    expect(JSON.stringify(signIn)).not.toContain('secret-of-alice');
    expect(binds).toBe(1);
  });

  it.concurrent('many sign-ins wait for a silent one, and no longer than for one answer', async () => {
    let binds = 0;
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      const isPerson = bytes.includes('secret-of-alice');
      binds += isPerson ? 1 : 0;
      if (!isPerson) onward.write(bytes);
    });
    await using directory = open([relay.url]);
    expect(await directory.resolve('alice')).toMatchObject({ kind: 'found' });
    const startedAt = performance.now();
    const signIns = await Promise.all(
      Array.from({ length: 60 }, () => directory.signIn({ name: 'alice' }, 'secret-of-alice')),
    );
    // In turn they would all wait as long as a sign-in may.
    expect(performance.now() - startedAt).toBeLessThan(9_000);
    expect(signIns.every(({ kind }) => kind === 'unavailable')).toBe(true);
    expect(binds).toBeLessThanOrEqual(8);
  });

  it.concurrent('a bind that broke off before an answer is sent once more, and no third time', async () => {
    let binds = 0;
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward, client) => {
      if (bytes.includes('secret-of-alice')) {
        binds += 1;
        client.destroy();
      } else onward.write(bytes);
    });
    await using directory = open([relay.url, slapd.ldapUrl]);
    const signIn = await directory.signIn({ name: 'alice' }, 'secret-of-alice');
    expect(signIn).toEqual({ kind: 'refused', reason: 'wrong_password' });
    expect(binds).toBe(1);
    await using alone = open([relay.url]);
    const last = await alone.signIn({ name: 'alice' }, 'secret-of-alice');
    expect(last).toEqual({ ...TEXT, mayBeWrong: true });
    expect(binds).toBeLessThanOrEqual(3);
  });

  it.concurrent.each([
    ['no code', '300c02010361070a0004000400'],
    ['a referral', '300c02010361070a010a04000400'],
    ['another number', '300c02016361070a010004000400'],
    ['a search’s end', '300c02010365070a010004000400'],
    ['bytes behind its end', '300e02010361090a0100040004000000'],
    ['half of it', '300c0201036107'],
  ])('an answer to a bind with %s lets nobody in', async (_what, hex) => {
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward, client) => {
      if (bytes.includes('secret-of-alice')) client.write(Buffer.from(hex, 'hex'));
      else onward.write(bytes);
    });
    await using directory = open([relay.url]);
    const signIn = await directory.signIn({ name: 'alice' }, 'secret-of-alice');
    expect(signIn.kind).not.toBe('accepted');
  });

  it.concurrent('every one is told of by the test, in its own line', async () => {
    await using silent = await startFaultyServer(() => undefined);
    await using garbage = await startFaultyServer((socket) => void socket.write('nonsense'));
    await using directory = open([silent.url, garbage.url, slapd.ldapUrl]);
    const seen = await directory.test();
    expect(seen).toMatchObject({ ok: true, fault: null });
    expect(seen.line).toContain('2 of its servers cannot be used');
    expect(seen.servers.map(({ ok }) => ok)).toEqual([false, false, true]);
    expect(seen.servers[0]?.line).toContain(`no answer within ${ANSWER_MS} ms`);
    expect(seen.servers[1]?.line).toContain('it is not LDAP');
    await using alone = open([silent.url]);
    expect(await alone.test()).toMatchObject({ ok: false, fault: 'unreachable' });
  });

  it('a paused one is read again after the pause, without a restart of ours', async () => {
    await using directory = open([slapd.ldapUrl]);
    expect(await directory.resolve('alice')).toMatchObject({ kind: 'found' });
    slapd.pause();
    try {
      expect(await directory.resolve('alice')).toEqual(TEXT);
    } finally {
      slapd.resume();
    }
    const isBack = async () => (await directory.resolve('alice')).kind === 'found';
    await waitFor('the directory', isBack, { timeoutMs: 20_000, everyMs: 100 });
  });
});
