import { randomUUID } from 'node:crypto';
import type { VerificationAttempt } from '@countersign/api';
import { closeCircuit, openCircuit, takeFinalOutbox } from '@countersign/database';
import type { SignIn } from '@countersign/directory';
import {
  defaultSettings,
  generateSecret,
  hotp,
  parseState,
  type DirectoryDocument,
  type UserDocument,
} from '@countersign/verification';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { FirstFactor } from './first-factor.ts';
import { PasswordBudget } from './password-budget.ts';
import { exampleDirectory } from './testing/example-directory.ts';
import { makeTestKeys, makeTestVerifier, startTestAsks } from './testing/start-test-verifier.ts';
import { useTestStates } from './testing/use-test-states.ts';
import type { Verifier } from './verifier.ts';

const LIMIT = defaultSettings.lockout.passwordFailures;
const RIGHT = 'Correct horse 1';
const test = useTestStates();
const secret = generateSecret();
const keys = makeTestKeys();
const corp = exampleDirectory('corp', ['CORP', 'corp.test']);
const lab = exampleDirectory('lab', ['lab.test']);

/** What was asked of a directory, and the most at once. */
let asked: { directory: string; who: object; password: string }[] = [];
let atOnce = { now: 0, most: 0 };
let answer: (who: { name: string } | { object: string }, password: string) => SignIn;
let hangs: Promise<void> | null = null;
let objectOf: (name: string) => { kind: 'found'; object: string } | { kind: 'unknown' };
let verifier: Verifier;
/** Other workers of the cluster, with the same log servers and a store that knows what this one's does. */
let others: Verifier[];

async function ask(
  directory: DirectoryDocument,
  who: { name: string } | { object: string },
  password: string,
): Promise<SignIn> {
  asked.push({ directory: directory.name, who, password });
  atOnce = { now: atOnce.now + 1, most: Math.max(atOnce.most, atOnce.now + 1) };
  await hangs;
  await new Promise((resolve) => setImmediate(resolve));
  atOnce.now -= 1;
  return answer(who, password);
}

async function resolve(_directory: DirectoryDocument, name: string) {
  return objectOf(name);
}

beforeAll(async () => {
  const asks = startTestAsks(test, 'node-1');
  const firstFactor = new FirstFactor({ resolve, signIn: ask });
  const start = () => makeTestVerifier(test, { keys, asks, firstFactor });
  verifier = start();
  others = Array.from({ length: 11 }, start);
  await test.addDirectory(corp);
  await test.addDirectory(lab);
  await test.addApplication('vpn', {}, 'pass');
  await test.addApplication('strict', { 'withoutQuorum.default': 'refuse' });
});

beforeEach(() => {
  asked = [];
  hangs = null;
  objectOf = (name) => ({ kind: 'found', object: `object of ${name}` });
  atOnce = { now: 0, most: 0 };
  answer = (who, password) =>
    password === RIGHT
      ? { kind: 'accepted', object: 'object' in who ? who.object : 'found', dn: 'cn=found' }
      : { kind: 'refused', reason: 'wrong_password' };
});

describe('a user of a directory', () => {
  it('is signed in by object, and asked for the second step only then', async () => {
    const user = await addPerson();
    const begun = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(begun).toMatchObject({ kind: 'challenge', method: 'oath' });
    const { object } = user.directory!;
    expect(asked).toEqual([{ directory: 'corp', who: { object }, password: RIGHT }]);
    const done = await verifier.verify(attempt(user.username, { password: RIGHT, code: code(0) }));
    expect(done).toMatchObject({ approved: true });
  });

  it('is denied by a wrong password however right the code is, and the code stays good', async () => {
    const user = await addPerson();
    const wrong = attempt(user.username, { password: 'guess', code: code(0) });
    expect(await verifier.verify(wrong)).toMatchObject({ reason: 'wrong_password' });
    const right = attempt(user.username, { password: RIGHT, code: code(0) });
    expect(await verifier.verify(right)).toMatchObject({ approved: true });
  });

  it('is asked for at the directory no more than the limit, one sign-in at a time', async () => {
    const user = await addPerson();
    const guesses = Array.from({ length: 3 * LIMIT }, (_, index) =>
      verifier.verify(attempt(user.username, { password: `guess ${index}` })),
    );
    const reasons = (await Promise.all(guesses)).map(
      (outcome) => 'reason' in outcome && outcome.reason,
    );
    expect(new Set(reasons)).toEqual(new Set(['wrong_password', 'password_locked', 'busy']));
    expect(atOnce.most).toBe(1);
    expect(asked).toHaveLength(LIMIT);
    asked = [];
    const late = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(late).toMatchObject({ reason: 'password_locked' });
    expect(asked).toEqual([]);
  });

  it('is asked for no more than the limit by all workers of the cluster at once', async () => {
    const user = await addPerson();
    const guesses = [verifier, ...others].map((worker, index) =>
      worker.verify(attempt(user.username, { password: `guess ${index}` })),
    );
    await Promise.all(guesses);
    expect(asked.length).toBeGreaterThan(0);
    expect(asked.length).toBeLessThanOrEqual(LIMIT);
  });

  it('may mistype now and then for ever: a right password ends what was counted', async () => {
    const user = await addPerson();
    for (let index = 0; index < LIMIT; index += 1) {
      for (let times = 1; times < LIMIT; times += 1) {
        const wrong = await verifier.verify(attempt(user.username, { password: 'typo' }));
        expect(wrong).toMatchObject({ reason: 'wrong_password' });
      }
      const begun = await verifier.verify(attempt(user.username, { password: RIGHT }));
      expect(begun).toMatchObject({ kind: 'challenge' });
    }
  });

  it('is not asked for again with a key that was used, whatever the password', async () => {
    const user = await addPerson();
    const once = attempt(user.username, { password: RIGHT, code: code(0), key: randomUUID() });
    expect(await verifier.verify(once)).toMatchObject({ approved: true });
    asked = [];
    for (let index = 0; index < 2 * LIMIT; index += 1) {
      const other = { ...once, password: `guess ${index}` };
      expect(await verifier.verify(other)).toMatchObject({ kind: 'conflict' });
    }
    expect(asked).toEqual([]);
  });

  it('costs nothing when the directory did not hear it, and is not let in', async () => {
    const user = await addPerson();
    answer = () => ({ kind: 'unavailable', problem: 'no server answers' });
    for (let index = 0; index < LIMIT + 2; index += 1) {
      const outcome = await verifier.verify(attempt(user.username, { password: RIGHT }));
      expect(outcome).toMatchObject({ reason: 'directory_unavailable' });
    }
    answer = () => ({ kind: 'unavailable', problem: 'late', mayBeWrong: true });
    await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect((await stateOf(user)).methods.password).toMatchObject({ failures: 1 });
    answer = () => ({ kind: 'refused', reason: 'account_locked' });
    const locked = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(locked).toMatchObject({ reason: 'account_locked' });
  });

  it('gets the verdict again for the same attempt, without another bind', async () => {
    const user = await addPerson();
    const once = attempt(user.username, { password: RIGHT, code: code(0), key: randomUUID() });
    expect(await verifier.verify(once)).toMatchObject({ approved: true });
    // The copy of the state that this node has is as old as its follower.
    expect(await verifier.verify(once)).toMatchObject({ approved: true });
    const other = { ...once, password: 'guess' };
    expect(await verifier.verify(other)).toMatchObject({ kind: 'conflict' });
  });

  it('is named with its directory in the event, without the password', async () => {
    const user = await addPerson();
    await verifier.verify(attempt(user.username, { password: RIGHT, code: code(0) }));
    const events = (await takeFinalOutbox(test.db(), 10_000)).map(({ event }) => event);
    const own = events.filter(({ userId }) => userId === user.id);
    expect(own).toMatchObject([{ result: 'approved', details: { directory: 'corp' } }]);
    expect(JSON.stringify(events)).not.toContain(RIGHT);
  });
});

describe('without the quorum', () => {
  beforeAll(async () => {
    const { sql } = test.db();
    for (const name of ['node-1', 'node-2'])
      await sql`insert into nodes (id, document, revision) values (${name}, '{}', 1)`;
    await openCircuit(test.db(), 'test');
  });
  afterAll(async () => {
    await closeCircuit(test.db());
    await test.db().sql`delete from nodes`;
  });

  it("a user's directory is asked for no more than this node's share of the limit", async () => {
    const user = await addPerson();
    const guesses = [verifier, ...others].map((worker, index) =>
      worker.verify(attempt(user.username, { password: `guess ${index}` })),
    );
    await Promise.all(guesses);
    expect(atOnce.most).toBe(1);
    for (let index = 0; index < LIMIT; index += 1) {
      await verifier.verify(attempt(user.username, { password: `again ${index}` }));
    }
    expect(asked).toHaveLength(LIMIT / 2);
    const late = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(late).toMatchObject({ reason: 'password_locked', degraded: true });
  });

  it('the second step follows a right password', async () => {
    const user = await addPerson();
    const wrong = await verifier.verify(attempt(user.username, { password: 'typo' }));
    expect(wrong).toMatchObject({ reason: 'wrong_password', degraded: true });
    const begun = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(begun).toMatchObject({ kind: 'challenge', degraded: true });
    const done = await verifier.verify(attempt(user.username, { password: RIGHT, code: code(0) }));
    expect(done).toMatchObject({ approved: true, degraded: true });
  });

  it('no directory is asked where the application refuses then', async () => {
    const user = await addPerson();
    for (let index = 0; index < 2 * LIMIT; index += 1) {
      const typed = { password: `guess ${index}`, application: 'strict' };
      const outcome = await verifier.verify(attempt(user.username, typed));
      expect(outcome).toMatchObject({ reason: 'no_quorum' });
    }
    expect(asked).toEqual([]);
  });
});

describe('a directory that hangs', () => {
  it('is not noticed by whoever signs in without a password, with 200 waiting for it', async () => {
    const waiting: UserDocument[] = [];
    for (let index = 0; index < 200; index += 1) waiting.push(await addPerson());
    const users: UserDocument[] = [];
    for (let index = 0; index < 50; index += 1) users.push(await test.addUser(keys.seed, secret));
    const before = await tookMs(users, code(0));
    const hanging = Promise.withResolvers<void>();
    hangs = hanging.promise;
    const late = waiting.map(({ username }) =>
      verifier.verify(attempt(username, { password: RIGHT })),
    );
    await waitFor('all to wait', () => asked.length === waiting.length, { timeoutMs: 20_000 });
    const beside = await tookMs(users, code(1));
    answer = () => ({ kind: 'unavailable', problem: 'no answer' });
    hanging.resolve();
    for (const outcome of await Promise.all(late)) {
      expect(outcome).toMatchObject({ reason: 'directory_unavailable' });
    }
    const after = await tookMs(users, code(2));
    const quiet = Math.max(middle(before), middle(after));
    expect(middle(beside)).toBeLessThan(3 * quiet + 100);
  }, 60_000);

  it('takes no more than 1,000 places of a worker', async () => {
    const { id, object } = { id: corp.id, object: 'somebody' };
    const asks = Promise.withResolvers<SignIn>();
    const factor = new FirstFactor({ resolve, signIn: () => asks.promise });
    const user = { directory: { id, object } } as UserDocument;
    const settings = { directories: [corp], settings: defaultSettings, address: null };
    const waiting = Array.from({ length: 1000 }, () => factor.ofUser(user, RIGHT, settings));
    const refused = { kind: 'refused', reason: 'directory_unavailable' };
    expect((await factor.ofUser(user, RIGHT, settings)).judged).toEqual(refused);
    asks.resolve({ kind: 'accepted', object, dn: 'cn=x' });
    await Promise.all(waiting);
    expect((await factor.ofUser(user, RIGHT, settings)).judged).toEqual({ kind: 'right' });
  });
});

describe('whoever has no first factor here', () => {
  it('is denied as a user of no directory', async () => {
    const user = await test.addUser(keys.seed, secret);
    const outcome = await verifier.verify(attempt(user.username, { password: RIGHT }));
    expect(outcome).toMatchObject({ reason: 'no_directory' });
    expect(asked).toEqual([]);
  });

  it('is denied as a stranger, and no directory is asked', async () => {
    const outcome = await verifier.verify(attempt('nobody', { password: RIGHT }));
    expect(outcome).toMatchObject({ reason: 'unknown_user' });
    expect(asked).toEqual([]);
  });
});

describe('a stranger at an application that passes them', () => {
  it('passes with the right password of the one directory that the name is of', async () => {
    const pass = (name: string, password: string) =>
      verifier.verify(attempt(name, { password, application: 'vpn' }));
    expect(await pass('CORP\\guest', RIGHT)).toMatchObject({ skipped: 'user_match_off' });
    expect(asked).toMatchObject([{ directory: 'corp', who: { object: 'object of CORP\\guest' } }]);
    expect(await pass('CORP\\guest', 'guess')).toMatchObject({ reason: 'wrong_password' });
    expect(await pass('guest', RIGHT)).toMatchObject({ reason: 'unknown_user' });
    expect(await pass('OTHER\\guest', RIGHT)).toMatchObject({ reason: 'unknown_user' });
  });

  it('is no stranger where the object it is has a user, and is not asked for there', async () => {
    const user = await addPerson();
    const { object } = user.directory!;
    objectOf = () => ({ kind: 'found', object });
    for (const alias of ['alias@corp.test', `CN=${object},DC=corp,DC=test@corp.test`]) {
      for (const password of [RIGHT, 'guess']) {
        const typed = attempt(alias, { password, application: 'vpn' });
        expect(await verifier.verify(typed)).toMatchObject({ reason: 'unknown_user' });
      }
    }
    expect(asked).toEqual([]);
  });

  it('passes without a password, where others check those, only as the one object that is no user', async () => {
    const pass = (name: string) =>
      verifier.verify(attempt(name, { password: null, application: 'vpn' }));
    const user = await addPerson();
    expect(await pass('CORP\\guest')).toMatchObject({ skipped: 'user_match_off' });
    objectOf = () => ({ kind: 'found', object: user.directory!.object });
    expect(await pass('CORP\\alias')).not.toMatchObject({ approved: true });
    objectOf = () => ({ kind: 'unknown' });
    expect(await pass('CORP\\Display Name')).not.toMatchObject({ approved: true });
    expect(await pass('guest')).not.toMatchObject({ approved: true });
    expect(asked).toEqual([]);
  });

  it('has one limit under all of their names, however many are tried at once', async () => {
    objectOf = () => ({ kind: 'found', object: 'the same one' });
    const names = ['CORP\\same', 'corp\\SAME ', 'same@corp.test', 's@corp.test'];
    const guesses = Array.from({ length: 4 * LIMIT }, (_, index) => {
      const name = names[index % names.length]!;
      return verifier.verify(attempt(name, { password: `guess ${index}`, application: 'vpn' }));
    });
    await Promise.all(guesses);
    expect(asked).toHaveLength(LIMIT);
  });

  it('is not asked for any more after the limit', async () => {
    const guess = () =>
      verifier.verify(attempt('CORP\\late', { password: 'guess', application: 'vpn' }));
    for (let index = 0; index < LIMIT; index += 1) await guess();
    asked = [];
    expect(await guess()).toMatchObject({ reason: 'password_locked' });
    expect(asked).toEqual([]);
  });
});

describe('a stranger where there are no directories', () => {
  it('passes without a password: users have no other names then', async () => {
    const known = { directories: [], settings: defaultSettings, address: null };
    const factor = new FirstFactor({ resolve, signIn: ask });
    const isUser = async () => true;
    const proof = await factor.knowStranger('guest', { ...known, isUser });
    expect(proof.judged).toEqual({ kind: 'right' });
  });
});

describe('wrong passwords by subject', () => {
  const limit = { failures: 3, minutes: 10 };

  it('count for so many minutes from the first', () => {
    const budget = new PasswordBudget();
    for (let minute = 0; minute < 3; minute += 1) {
      expect(budget.isSpent('a', limit, minute * 60_000)).toBe(false);
      budget.add('a', limit, minute * 60_000);
    }
    expect(budget.isSpent('a', limit, 10 * 60_000 - 1)).toBe(true);
    expect(budget.isSpent('b', limit, 0)).toBe(false);
    expect(budget.isSpent('a', limit, 10 * 60_000)).toBe(false);
  });

  it('are forgotten of whoever was heard of longest ago, when there are too many', () => {
    const budget = new PasswordBudget();
    for (let index = 0; index < 3; index += 1) budget.add('first', limit, 0);
    for (let index = 0; index < 20_000; index += 1) budget.add(`other ${index}`, limit, 1);
    expect(budget.isSpent('first', limit, 2)).toBe(false);
  });
});

/** Ms of each of some verifications, one after the other. */
async function tookMs(users: UserDocument[], typed: string): Promise<number[]> {
  const took: number[] = [];
  for (const { username } of users) {
    const startedAt = performance.now();
    const outcome = await verifier.verify(attempt(username, { password: null, code: typed }));
    took.push(performance.now() - startedAt);
    expect(outcome).toMatchObject({ approved: true });
  }
  return took;
}

function middle(values: number[]): number {
  return values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)]!;
}

async function stateOf({ id }: UserDocument) {
  const read = await test.states().readThroughLeader(id, 1000);
  if (read.kind !== 'found') throw new Error(read.kind);
  return parseState(read.bytes);
}

async function addPerson(): Promise<UserDocument> {
  const object = randomUUID();
  const link = { id: corp.id, object, dn: `CN=${object},DC=corp,DC=test`, item: null };
  return test.addUser(keys.seed, secret, async () => ({
    directory: { ...link, names: [], mails: [] },
  }));
}

function code(counter: number): string {
  return hotp(secret, counter, { algorithm: 'SHA1', digits: 6 });
}

function attempt(
  username: string,
  typed: { password: string | null; code?: string; application?: string; key?: string },
): VerificationAttempt {
  return {
    caller: {
      id: 'caller',
      name: 'caller',
      scopes: new Set(),
      applications: null,
      proof: { kind: 'api-key', secret: '' },
    },
    username,
    password: typed.password,
    door: 'http',
    code: typed.code ?? null,
    pin: null,
    newPin: null,
    method: null,
    challenge: null,
    application: typed.application ?? null,
    clientIp: null,
    remoteAddress: '127.0.0.1',
    idempotencyKey: typed.key ?? null,
  };
}
