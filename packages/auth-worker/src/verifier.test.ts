import { randomUUID } from 'node:crypto';
import type { VerificationAttempt, VerificationOutcome } from '@countersign/api';
import { openStates, shutStates, type UserStates } from '@countersign/cluster';
import {
  closeCircuit,
  keepStopFacts,
  openCircuit,
  openDatabase,
  storeUserStates,
  takeFinalOutbox,
} from '@countersign/database';
import { deriveSpareCode, hashPin, spareCodeHash } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import {
  defaultSettings,
  emptyState,
  encodeState,
  generateSecret,
  hotp,
  mergeClaims,
  parseState,
  type UserDocument,
  type UserState,
} from '@countersign/verification';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { AttemptIds } from './attempt-ids.ts';
import { WorkerEvents } from './events.ts';
import { mergeDegradedClaims } from './merge-degraded-claims.ts';
import { makeTestKeys, makeTestVerifier, startTestAsks } from './testing/start-test-verifier.ts';
import { useTestStates } from './testing/use-test-states.ts';
import type { TextToSend, VerifierOptions } from './verifier-options.ts';
import type { Verifier } from './verifier.ts';

const test = useTestStates();
const secret = generateSecret();
const keys = makeTestKeys();
const sent: TextToSend[] = [];

const startAsks = (node: string, known: () => UserState | null) => startTestAsks(test, node, known);

function startVerifier(
  options: Partial<VerifierOptions> = {},
  asks = startAsks('node-1', () => null),
): Verifier {
  return makeTestVerifier(test, {
    keys,
    asks,
    sendText: async (text) => {
      sent.push(text);
      return { sent: true, details: {} };
    },
    ...options,
  });
}

function attempt(username: string, counter: number, idempotencyKey?: string): VerificationAttempt {
  return {
    caller: {
      id: 'caller',
      name: 'caller',
      scopes: new Set(),
      applications: null,
      proof: { kind: 'api-key', secret: '' },
    },
    username,
    door: 'http',
    code: hotp(secret, counter, { algorithm: 'SHA1', digits: 6 }),
    pin: null,
    newPin: null,
    password: null,
    method: null,
    challenge: null,
    application: null,
    clientIp: null,
    remoteAddress: '127.0.0.1',
    idempotencyKey: idempotencyKey ?? null,
  };
}

/** What a user's state becomes when another node's approval of this attempt without the quorum is merged into it. */
function approvedElsewhere(user: UserDocument, approved: VerificationAttempt): UserState {
  const { attemptId } = new AttemptIds(keys['attempt-id'], approved);
  const authenticatorId = user.authenticators[0]!.id;
  const item = `hotp:${authenticatorId}:0`;
  const claim = { id: attemptId, at: Date.now(), authenticatorId, last: 0, item };
  return mergeClaims(emptyState(), [claim], defaultSettings, Date.now());
}

async function storedState(userId: string) {
  const read = await test.states().readThroughLeader(userId, 1000);
  if (read.kind !== 'found') throw new Error(read.kind);
  return { userId, revision: read.revision, state: parseState(read.bytes) };
}

/** What the agent's follower does. */
async function copyState(userId: string): Promise<void> {
  const row = await storedState(userId);
  await storeUserStates(test.db(), [row], row.revision);
}

describe('verifying', () => {
  it('keeps what was used up when the log servers have forgotten every state', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    for (const counter of [0, 1]) {
      const outcome = await verifier.verify(attempt(user.username, counter));
      expect(outcome).toMatchObject({ approved: true, degraded: false });
    }
    await copyState(user.id);
    await test.loseAllStates();
    const wrong = await verifier.verify(attempt(user.username, 500));
    expect(wrong).toMatchObject({ approved: false, reason: 'wrong_code', degraded: false });
    const stored = await storedState(user.id);
    expect(stored.state.accepted[user.authenticators[0]!.id]?.[0]).toBe(1);
    expect(stored.state.methods.code.failures).toBe(1);
  });

  // Counters 62893 and 62912 of this seed have one code, found by search.
  it.each([
    { as: 'used, by its counters', copied: 62_893 },
    { as: 'one to come, which this node knows as used', copied: 62_890 },
  ])('approves a new code that an old copy takes for one $as', async ({ copied }) => {
    const seed = Buffer.from('12345678901234567890');
    const user = await test.addUser(keys.seed, seed);
    const { id } = user.authenticators[0]!;
    const usedUpTo = (counter: number) =>
      encodeState({ ...emptyState(), accepted: { [id]: [counter, 0] } });
    const old = await test.states().write(user.id, usedUpTo(copied), 0, 1000);
    if (old.kind !== 'written') throw new Error(old.kind);
    await copyState(user.id);
    const verifier = startVerifier();
    const typed = { ...attempt(user.username, 0), code: '132525' };
    let { revision } = old;
    if (copied < 62_893) {
      expect(await verifier.verify({ ...typed, clientIp: '10.0.0.2' })).toMatchObject({
        approved: true,
      });
      ({ revision } = await storedState(user.id));
    }
    await test.states().write(user.id, usedUpTo(62_911), revision, 1000);

    expect(await verifier.verify(typed)).toMatchObject({ approved: true, degraded: false });
    const replayed = { ...typed, clientIp: '10.0.0.1' };
    expect(await verifier.verify(replayed)).toMatchObject({ reason: 'replayed' });
  });

  it('marks the event of the failure that locks somebody out, and no other', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const reasons: unknown[] = [];
    for (let counter = 500; counter < 507; counter += 1) {
      const outcome = await verifier.verify(attempt(user.username, counter));
      reasons.push('reason' in outcome && outcome.reason);
    }
    const wrong = Array<string>(5).fill('wrong_code');
    expect(reasons).toEqual([...wrong, 'locked_out', 'locked_out']);
    const events = (await takeFinalOutbox(test.db(), 10_000))
      .map(({ event }) => event)
      .filter(({ userId }) => userId === user.id);
    expect(events).toHaveLength(7);
    const marked = events.filter(({ details }) => 'beginsLockout' in details);
    expect(marked).toMatchObject([{ reason: 'wrong_code', details: { beginsLockout: true } }]);
    expect(marked[0]).toEqual(events[4]);
  });

  it('denies whom a stop fact blocks from the next step on, and counts nothing', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    expect(await verifier.verify(attempt(user.username, 0))).toMatchObject({ approved: true });
    const nowMs = Date.now();
    await keepStopFacts(test.db(), [
      {
        id: randomUUID(),
        kind: 'user',
        subject: user.id,
        reason: 'lost phone',
        by: 'help desk',
        node: 'node-2',
        at: new Date(nowMs).toISOString(),
        expiresAt: new Date(nowMs + 60_000).toISOString(),
      },
    ]);
    for (const counter of [1, 500]) {
      const denied = await verifier.verify(attempt(user.username, counter));
      expect(denied).toMatchObject({ approved: false, reason: 'blocked', degraded: false });
    }
    const { state } = await storedState(user.id);
    expect(state.accepted[user.authenticators[0]!.id]?.[0]).toBe(0);
    expect(state.methods.code.failures).toBe(0);
  });

  it('tells an attempt its verdict again where another node approved it without the quorum', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const repeated = attempt(user.username, 0, randomUUID());
    const merged = approvedElsewhere(user, repeated);
    await test.states().write(user.id, encodeState(merged), 0, 1000);
    expect(await verifier.verify(repeated)).toMatchObject({ approved: true });
    expect(await verifier.verify(attempt(user.username, 0, randomUUID()))).toMatchObject({
      approved: false,
      reason: 'replayed',
    });
  });

  it('knows an attempt by a key that it was sent with a moment before, here and on another worker', async () => {
    const user = await test.addUser(keys.seed, secret);
    const [first, later] = [randomUUID(), randomUUID()];
    const begun = attempt(user.username, 0, first);
    const again = { ...attempt(user.username, 0, later), resentKeys: [first] };
    begun.resentKeys = [later];
    const [one, two] = [startVerifier(), startVerifier()];
    const [told, joined, elsewhere] = await Promise.all([
      one.verify(begun),
      one.verify(again),
      two.verify(again),
    ]);
    const approved = [told, joined, elsewhere].filter(
      (each) => 'approved' in each && each.approved,
    );
    // Which of two workers was first is not said; the other may be told to come again.
    for (const each of [told, joined, elsewhere]) {
      if (!approved.includes(each)) expect(each).toMatchObject({ reason: 'busy' });
    }
    expect(approved.length).toBeGreaterThan(0);
    const { id } = approved[0] as { id: string };
    for (const verifier of [one, two]) {
      expect(await verifier.verify(again)).toMatchObject({ approved: true, id });
      expect(await verifier.verify(begun)).toMatchObject({ approved: true, id });
    }
    const stranger = await two.verify(attempt(user.username, 0, later));
    expect(stranger).toMatchObject({ approved: false, reason: 'replayed' });
  });

  it('does so too when only that node knows of it yet', async () => {
    const user = await test.addUser(keys.seed, secret);
    const repeated = attempt(user.username, 0, randomUUID());
    const merged = approvedElsewhere(user, repeated);
    const asks = startAsks('node-1', () => null);
    startAsks('node-2', () => merged);
    await waitFor('node-2', () => asks.liveNodes().includes('node-2'), { timeoutMs: 5000 });
    // It has 150 ms to answer, and may stand still for longer.
    const broadcast = asks.broadcast.bind(asks);
    asks.broadcast = async (ask) => {
      let answers = await broadcast(ask);
      while (!answers.some(({ node }) => node === 'node-2')) answers = await broadcast(ask);
      return answers;
    };
    const verifier = startVerifier({}, asks);
    await openCircuit(test.db(), 'test');
    try {
      const stranger = await verifier.verify(attempt(user.username, 0, randomUUID()));
      expect(stranger).toMatchObject({ approved: false, reason: 'replayed', degraded: true });
      expect(await verifier.verify(repeated)).toMatchObject({ approved: true, degraded: true });
    } finally {
      await closeCircuit(test.db());
    }
  });

  it('says which node lives and did not answer: that one may have approved the same', async () => {
    const user = await test.addUser(keys.seed, secret);
    const asks = startAsks('node-1', () => null);
    startAsks('node-2', () => null);
    await waitFor('node-2', () => asks.liveNodes().includes('node-2'), { timeoutMs: 5000 });
    // Nothing comes within its 150 ms.
    asks.broadcast = async () => [];
    await openCircuit(test.db(), 'test');
    try {
      const outcome = await startVerifier({}, asks).verify(attempt(user.username, 0));
      expect(outcome).toMatchObject({ approved: true, degraded: true });
    } finally {
      await closeCircuit(test.db());
    }
    const told = (await takeFinalOutbox(test.db(), 1000)).map(({ event }) => event);
    const [approved] = told.filter(({ username }) => username === user.username);
    expect(approved?.details.unanswered).toEqual(['node-2']);
  });

  it('goes on while a move of the log keeps states out, and what it accepts is merged after that', async () => {
    const user = await test.addUser(keys.seed, secret);
    const authenticatorId = user.authenticators[0]!.id;
    const verifier = startVerifier();
    expect(await verifier.verify(attempt(user.username, 0))).toMatchObject({ degraded: false });
    const stop = new AbortController();
    const merging = mergeDegradedClaims({
      node: 'node-1',
      db: test.db(),
      states: test.states(),
      worker: 'test',
      events: new WorkerEvents(test.db(), 'node-1'),
      log: pino({ level: 'silent' }),
      signal: stop.signal,
    });
    const acceptedStep = async () => (await storedState(user.id)).state.accepted[authenticatorId];
    await shutStates(test.agentLink(), 1);
    try {
      const approved = await verifier.verify(attempt(user.username, 1));
      expect(approved).toMatchObject({ approved: true, degraded: true });
      for (const counter of [0, 1]) {
        const again = await verifier.verify(attempt(user.username, counter, randomUUID()));
        expect(again).toMatchObject({ approved: false, reason: 'replayed' });
      }
      expect((await acceptedStep())?.[0]).toBe(0);
      await openStates(test.agentLink(), 1);
      const isMerged = async () => (await acceptedStep())?.[0] === 1;
      await waitFor('what was accepted to be merged', isMerged, { timeoutMs: 8000 });
    } finally {
      await openStates(test.agentLink(), 1);
      // Else it would close the circuit that another test opens.
      stop.abort();
      await merging;
    }
    const third = await verifier.verify(attempt(user.username, 2));
    expect(third).toMatchObject({ approved: true, degraded: false });
  });

  it('leaves a final event of a key that came with other content', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const idempotencyKey = randomUUID();
    await verifier.verify(attempt(user.username, 0, idempotencyKey));
    await copyState(user.id);
    const other = await verifier.verify(attempt(user.username, 1, idempotencyKey));
    expect(other).toMatchObject({ kind: 'conflict' });
    const events = (await takeFinalOutbox(test.db(), 1000))
      .map(({ event }) => event)
      .filter(({ userId }) => userId === user.id);
    expect(events.map(({ result, reason }) => ({ result, reason }))).toEqual([
      { result: 'approved', reason: null },
      { result: 'denied', reason: 'idempotency_conflict' },
    ]);
  });
});

describe('a question', () => {
  it('is answered by any node, once, and can be looked at on a third', async () => {
    const user = await test.addUser(keys.seed, secret);
    const [one, two, three] = [startVerifier(), startVerifier(), startVerifier()];
    const asked = await ask(one, user);
    expect(asked).toMatchObject({ method: 'oath', mode: 'code', asks: ['code'] });
    const answered = await two.verify(answer(user, asked, { counter: 0 }));
    expect(answered).toMatchObject({ approved: true, id: asked.id });
    expect(await three.poll(pollOf(asked))).toMatchObject({ approved: true, id: asked.id });
    const again = await three.verify(answer(user, asked, { counter: 1 }));
    expect(again).toMatchObject({ approved: false, reason: 'challenge_spent' });
  });

  it('is not told while nothing can be read', async () => {
    const user = await test.addUser(keys.seed, secret);
    const asked = await ask(startVerifier(), user);
    const nowhere = { host: '/nowhere', port: 5432, user: 'nobody', database: 'none' };
    const db = openDatabase({ ...nowhere, max: 1, applicationName: 'test' });
    test.atEnd(() => db.close());
    const outcome = await startVerifier({ db }).poll(pollOf(asked));
    expect(outcome).toMatchObject({ kind: 'not_ready' });
  });

  it('is open until it is answered', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const asked = await ask(verifier, user);
    expect(await verifier.poll(pollOf(asked))).toEqual({ kind: 'open', id: asked.id });
  });

  it('costs nothing to ask and is spent by three wrong answers', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const asked = await ask(verifier, user);
    expect((await test.states().readThroughLeader(user.id, 1000)).kind).toBe('absent');
    for (const counter of [501, 502, 503]) {
      const wrong = await verifier.verify(answer(user, asked, { counter }));
      expect(wrong).toMatchObject({ approved: false, reason: 'wrong_code' });
    }
    const right = await verifier.verify(answer(user, asked, { counter: 0 }));
    expect(right).toMatchObject({ approved: false, reason: 'challenge_spent' });
    const other = await ask(verifier, user);
    expect(await verifier.verify(answer(user, other, { counter: 0 }))).toMatchObject({
      approved: true,
    });
  });

  it('of another user, client, application, id or incarnation is denied by name (rule 6)', async () => {
    const user = await test.addUser(keys.seed, secret);
    const other = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const asked = await ask(verifier, user);
    const mine = answer(user, asked, { counter: 0 });
    const { sealed } = asked;
    const flipped = `${sealed.slice(0, 40)}${sealed[40] === 'A' ? 'B' : 'A'}${sealed.slice(41)}`;
    const cases: [Partial<VerificationAttempt>, string][] = [
      [{ username: other.username }, 'challenge_user'],
      [{ caller: { ...mine.caller, id: 'somebody else' } }, 'challenge_client'],
      [{ application: 'VPN' }, 'challenge_application'],
      [{ door: 'web' }, 'challenge_front_door'],
      [{ challenge: { id: randomUUID(), sealed } }, 'challenge_damaged'],
      [{ challenge: { id: asked.id, sealed: flipped } }, 'challenge_damaged'],
      [{ challenge: { id: asked.id, sealed: '' } }, 'challenge_damaged'],
    ];
    for (const [changed, reason] of cases) {
      expect(await verifier.verify({ ...mine, ...changed })).toMatchObject({
        approved: false,
        reason,
      });
    }
    const elsewhere = startVerifier({ incarnation: { number: 1, id: 'two' } });
    expect(await elsewhere.verify(mine)).toMatchObject({ reason: 'challenge_incarnation' });
    expect(await verifier.verify(mine)).toMatchObject({ approved: true });
  });

  it('looks the same to a stranger whether there is such a user or not', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const [known, unknown] = await Promise.all(
      [user.username, 'nobody-at-all'].map((username) =>
        verifier.verify({ ...attempt(username, 0), code: null }),
      ),
    );
    if (known?.kind !== 'challenge' || unknown?.kind !== 'challenge')
      throw new Error('no question');
    expect(Object.keys(unknown)).toEqual(Object.keys(known));
    expect(unknown.sealed).toHaveLength(known.sealed.length);
    const reply = await verifier.verify({
      ...attempt('nobody-at-all', 0),
      challenge: { id: unknown.id, sealed: unknown.sealed },
    });
    expect(reply).toMatchObject({ approved: false, reason: 'unknown_user' });
  });
});

describe('a user of a directory', () => {
  const directory = randomUUID();
  const linked =
    (username: string, names: string[], mails: string[] = []) =>
    async () => {
      const place = { id: directory, object: username, dn: `CN=${username}`, item: null };
      return { username, directory: { ...place, names, mails } };
    };

  it('signs in with any of the names, each code once whatever the name', async () => {
    const user = await test.addUser(
      keys.seed,
      secret,
      linked('anna', ['corp\\anna', 'anna@corp.test', 'cn=anna,dc=corp'], ['a.mail@corp.test']),
    );
    const verifier = startVerifier();
    const names = ['Anna', 'CORP\\ANNA', 'anna@Corp.test', 'CN=Anna,DC=corp', 'A.Mail@corp.test'];
    for (const [counter, name] of names.entries()) {
      expect(await verifier.verify(attempt(name, counter))).toMatchObject({ approved: true });
      const again = await verifier.verify(attempt(names.at(-1)!, counter));
      expect(again).toMatchObject({ approved: false, reason: 'replayed' });
    }
    const events = await takeFinalOutbox(test.db(), 1000);
    const told = events.map(({ event }) => event).filter(({ userId }) => userId === user.id);
    expect(new Set(told.map(({ username }) => username))).toEqual(new Set(['anna']));
  });

  it('answers a question under another name, also where the username is ambiguous', async () => {
    const user = await test.addUser(keys.seed, secret, linked('berta', ['corp\\berta']));
    await test.addUser(keys.seed, secret, linked('b@branch.test', ['berta', 'branch\\berta']));
    const verifier = startVerifier();
    const answers: (string | null)[] = ['BERTA', 'corp\\berta', null];
    for (const [counter, username] of answers.entries()) {
      const asked = await ask(verifier, { ...user, username: 'corp\\berta' });
      const answered = { ...answer(user, asked, { counter }), username };
      expect(await verifier.verify(answered)).toMatchObject({ approved: true });
    }
    const asked = await ask(verifier, { ...user, username: 'corp\\berta' });
    const others = { ...answer(user, asked, { counter: 3 }), username: 'branch\\berta' };
    expect(await verifier.verify(others)).toMatchObject({ reason: 'challenge_user' });
  });

  it('looks like nobody under a name that two have, and a local user under theirs is found', async () => {
    await test.addUser(keys.seed, secret, linked('c1', ['clara', 'clara@corp.test']));
    await test.addUser(keys.seed, secret, linked('c2', ['clara', 'local-clara']));
    const local = await test.addUser(keys.seed, secret, async () => ({ username: 'local-clara' }));
    const verifier = startVerifier();
    const [ambiguous, unknown] = await Promise.all(
      ['clara', 'nobody at all'].map((name) => verifier.verify(attempt(name, 0))),
    );
    expect({ ...ambiguous, id: '' }).toEqual({ ...unknown, id: '' });
    expect(ambiguous).toMatchObject({ approved: false, reason: 'unknown_user' });
    expect(await verifier.verify(attempt(local.username, 0))).toMatchObject({ approved: true });
    expect(await verifier.verify(attempt('c2', 0))).toMatchObject({ approved: true });
  });

  it('has one step at a time, however many names are tried at once', async () => {
    const names = Array.from({ length: 8 }, (_, n) => `corp\\dora-${n}`);
    await test.addUser(keys.seed, secret, linked('dora', names));
    const states = test.states();
    let [now, most, told] = [0, 0, [] as string[]];
    const counted = Object.assign(Object.create(states) as UserStates, {
      readThroughLeader: states.readThroughLeader.bind(states),
      async write(...args: Parameters<UserStates['write']>) {
        now += 1;
        most = Math.max(most, now);
        try {
          // Until all have asked: four wait, the others were sent away.
          await waitFor('three answers', () => told.length >= 3, { timeoutMs: 10_000 });
          return await states.write(...args);
        } finally {
          now -= 1;
        }
      },
    });
    const verifier = startVerifier({ states: counted });
    const verify = async (name: string) => {
      const outcome = await verifier.verify(attempt(name, 0));
      told.push(outcome.kind === 'verdict' ? (outcome.reason ?? 'yes') : '');
    };
    await Promise.all(names.map(verify));
    expect(most).toBe(1);
    expect(told.filter((each) => each === 'yes')).toHaveLength(1);
    expect(told.filter((each) => each === 'replayed')).toHaveLength(4);
    expect(told.filter((each) => each === 'busy')).toHaveLength(3);
  });
});

describe('a stranger', () => {
  it('is asked a question also where the user is blocked, disabled or has nothing to answer with', async () => {
    const verifier = startVerifier();
    for (const fields of [{ enabled: false }, { authenticators: [] }]) {
      const user = await test.addUser(keys.seed, secret, async () => fields);
      const begin = { ...attempt(user.username, 0), code: null };
      expect(await verifier.verify(begin)).toMatchObject({ kind: 'challenge', method: 'oath' });
      const scopes = new Set(['reasons:read' as const]);
      const told = await verifier.verify({ ...begin, caller: { ...begin.caller, scopes } });
      expect(told).toMatchObject({ kind: 'verdict', approved: false });
    }
  });

  const stranger = { scopes: new Set(['verify' as const]) };

  it('cannot tell by a look at the question whether there is such a user', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const kinds = [];
    for (const username of [user.username, 'nobody-to-poll']) {
      const asked = await ask(verifier, { ...user, username });
      const poll = pollOf(asked);
      kinds.push((await verifier.poll({ ...poll, caller: { ...poll.caller, ...stranger } })).kind);
    }
    expect(kinds).toEqual(['open', 'open']);
  });

  it('sees no other kind of id in a conflict', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const key = randomUUID();
    await verifier.verify(attempt(user.username, 0, key));
    const conflict = await verifier.verify(attempt(user.username, 1, key));
    const { verificationId } = new AttemptIds(keys['attempt-id'], attempt(user.username, 1, key));
    expect(conflict).toEqual({ kind: 'conflict', id: verificationId });
  });
});

describe('a text message', () => {
  it('is sent once for one key without the quorum too, however often it is asked for', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    const begun = { ...attempt(user.username, 0, randomUUID()), code: null };
    await openCircuit(test.db(), 'a test');
    try {
      const before = sent.length;
      const first = await verifier.verify(begun);
      for (let round = 0; round < 5; round += 1) {
        const again = await verifier.verify(begun);
        expect(again).toMatchObject({ kind: 'challenge', id: 'id' in first ? first.id : '' });
      }
      expect(sent.length).toBe(before + 1);
      const { code } = sent.at(-1)!;
      if (first.kind !== 'challenge') throw new Error(first.kind);
      expect(await verifier.verify(answer(user, first, { code }))).toMatchObject({
        approved: true,
      });
    } finally {
      await closeCircuit(test.db());
    }
  });

  it('is sent although the answer to the compare-and-set before it was lost', async () => {
    const user = await addUserWithPhone();
    const states = test.states();
    let lost = 0;
    /** The real store; the answer to its first write never arrives. */
    const write: UserStates['write'] = async (...args) => {
      const outcome = await states.write(...args);
      lost += 1;
      return lost === 1 ? { kind: 'silent', why: 'a test' } : outcome;
    };
    const deaf = new Proxy(states, {
      get: (target, name: keyof UserStates) =>
        name === 'write' ? write : target[name].bind(target),
    });
    const before = sent.length;
    const asked = await ask(startVerifier({ states: deaf }), user);
    expect(sent.length).toBe(before + 1);
    const { code } = sent.at(-1)!;
    const right = await startVerifier().verify(answer(user, asked, { code }));
    expect(right).toMatchObject({ approved: true });
  });

  it('has another code when an old key is used for another text', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    const begun = { ...attempt(user.username, 0, randomUUID()), code: null };
    await verifier.verify(begun);
    const { code } = sent.at(-1)!;
    // As if 10 s were over: the attempt is forgotten.
    const { state, revision } = await storedState(user.id);
    const later = encodeState({ ...state, attempts: [] });
    await test.states().write(user.id, later, revision, 1000);
    expect(await verifier.verify(begun)).toMatchObject({ kind: 'challenge' });
    expect(sent.at(-1)!.code).not.toBe(code);
  });

  it('brings a code that is good once, in its own verification, on any node', async () => {
    const user = await addUserWithPhone();
    const [one, two] = [startVerifier(), startVerifier()];
    const asked = await ask(one, user, { method: 'text' });
    expect(asked).toMatchObject({ method: 'text', sentTo: '+31*******78' });
    const text = sent.at(-1)!;
    expect(text).toMatchObject({ number: '+31612345678', minutes: 5 });
    expect(text.code).toMatch(/^\d{6}$/);
    const other = await ask(one, user, { method: 'text' });
    const elsewhere = await two.verify(answer(user, other, { code: text.code }));
    expect(elsewhere).toMatchObject({ approved: false, reason: 'wrong_code' });
    const right = answer(user, asked, { code: text.code });
    const outcomes = await Promise.all([one, two].map((verifier) => verifier.verify(right)));
    expect(outcomes.filter((outcome) => 'approved' in outcome && outcome.approved)).toHaveLength(1);
  });

  it('that is answered wrongly leaves an event of a text, not of a token', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    const asked = await ask(verifier, user);
    await verifier.verify(answer(user, asked, { code: '000001' }));
    const events = (await takeFinalOutbox(test.db(), 1000)).map(({ event }) => event);
    const ofUser = events.filter(({ userId }) => userId === user.id);
    expect(ofUser.map(({ result, details }) => [result, details.method])).toEqual([
      ['challenge', 'text'],
      ['denied', 'text'],
    ]);
  });

  it('is sent once for one idempotency key, and asks the same question again', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    const before = sent.length;
    const begun = { ...attempt(user.username, 0, 'text-1'), code: null, method: 'text' } as const;
    const [first, second] = [await verifier.verify(begun), await verifier.verify(begun)];
    expect(first).toMatchObject({ kind: 'challenge' });
    expect(second).toMatchObject({ kind: 'challenge', id: 'id' in first ? first.id : '' });
    expect(sent.length).toBe(before + 1);
  });

  it('is refused beyond the budget of an hour, whatever nodes are asked (rule 18)', async () => {
    const user = await addUserWithPhone();
    const verifiers = [startVerifier(), startVerifier()];
    for (let count = 0; count < 5; count += 1) {
      await ask(verifiers[count % 2]!, user, { method: 'text' });
    }
    const more = await verifiers[0]!.verify({
      ...attempt(user.username, 0),
      code: null,
      method: 'text',
    });
    expect(more).toMatchObject({ approved: false, reason: 'too_many_texts' });
  });

  it('works without the quorum, and is counted when it is back', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    await openCircuit(test.db(), 'a test');
    const asked = await ask(verifier, user, { method: 'text' });
    expect(asked.degraded).toBe(true);
    const { code } = sent.at(-1)!;
    const right = await verifier.verify(answer(user, asked, { code }));
    expect(right).toMatchObject({ approved: true, degraded: true });
    const again = await verifier.verify(answer(user, asked, { code }));
    expect(again).toMatchObject({ approved: false });
    await closeCircuit(test.db());
    const third = await verifier.verify(answer(user, asked, { code }));
    // Whether by its own row or by the state depends on whether that is merged by now.
    expect(third).toMatchObject({ approved: false });
    expect(['challenge_spent', 'replayed']).toContain('reason' in third && third.reason);
    await ask(verifier, user, { method: 'text' });
    expect((await storedState(user.id)).state.texts).toHaveLength(2);
  });

  it('that goes nowhere is told, and has used up its place in the budget', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier({ sendText: async () => ({ sent: false, details: {} }) });
    const outcome = await verifier.verify({
      ...attempt(user.username, 0),
      code: null,
      method: 'text',
    });
    expect(outcome).toMatchObject({ approved: false, reason: 'not_delivered' });
    expect((await storedState(user.id)).state.texts).toHaveLength(1);
  });
});

describe('a success that is remembered', () => {
  const application = 'cached';
  const cached = (user: UserDocument): VerificationAttempt => ({
    ...attempt(user.username, 0),
    code: null,
    application,
    clientIp: '192.0.2.7',
  });
  const began = async () => {
    await test.addApplication(application, {
      'caching.mode': 'user+application+address',
      'caching.minutes': 60,
    });
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const { code } = attempt(user.username, 0);
    expect(await verifier.verify({ ...cached(user), code })).toMatchObject({ approved: true });
    await copyState(user.id);
    return { user, verifier };
  };

  it('skips the second step for the same caller, application and address, and no other', async () => {
    const { user, verifier } = await began();
    const again = cached(user);
    expect(await verifier.verify(again)).toMatchObject({ approved: true, skipped: 'cached' });
    const { caller } = again;
    const others: Partial<VerificationAttempt>[] = [
      { clientIp: '192.0.2.8' },
      { clientIp: null, remoteAddress: '192.0.2.7' },
      { caller: { ...caller, id: 'another' } },
    ];
    for (const other of others) {
      expect(await verifier.verify({ ...again, ...other })).toMatchObject({ kind: 'challenge' });
    }
    const moved = startVerifier({ incarnation: { number: 1, id: 'two' } });
    expect(await moved.verify(again)).toMatchObject({ kind: 'challenge' });
  });

  it('is forgotten with any change of the user, and not believed without the store', async () => {
    const { user, verifier } = await began();
    await openCircuit(test.db(), 'a test');
    expect(await verifier.verify(cached(user))).toMatchObject({ kind: 'challenge' });
    await closeCircuit(test.db());
    await test.changeUser({ ...user, modes: { oath: 'code' }, updatedAt: '2026-01-02T03:04:05Z' });
    expect(await verifier.verify(cached(user))).toMatchObject({ kind: 'challenge' });
  });
});

describe('a PIN', () => {
  const withPin = (fields: Partial<NonNullable<UserDocument['pin']>> = {}) =>
    test.addUser(keys.seed, secret, async (id) => ({
      modes: { oath: 'code+pin' },
      pin: {
        ...(await hashPin(keys.pin, id, '8024')),
        setAt: new Date().toISOString(),
        mustChange: false,
        history: [],
        ...fields,
      },
    }));

  it('is judged together with the code: one CAS, right code and wrong PIN spend the code', async () => {
    const user = await withPin();
    const verifier = startVerifier();
    expect(await verifier.verify(attempt(user.username, 0))).toMatchObject({
      reason: 'pin_required',
    });
    const wrong = await verifier.verify({ ...attempt(user.username, 0), pin: '1111' });
    expect(wrong).toMatchObject({ approved: false, reason: 'wrong_pin' });
    const spent = await verifier.verify({ ...attempt(user.username, 0), pin: '8024' });
    expect(spent).toMatchObject({ approved: false, reason: 'replayed' });
    const { methods } = (await storedState(user.id)).state;
    expect([methods.code.failures, methods.pin?.failures]).toEqual([0, 1]);
    const right = await verifier.verify({ ...attempt(user.username, 1), pin: '8024' });
    expect(right).toMatchObject({ approved: true });
  });

  it('guessed with right codes locks the PIN at the limit', async () => {
    const user = await withPin();
    const verifier = startVerifier();
    for (let counter = 0; counter < 5; counter += 1) {
      const wrong = await verifier.verify({ ...attempt(user.username, counter), pin: '0007' });
      expect(wrong).toMatchObject({ reason: 'wrong_pin' });
    }
    const right = await verifier.verify({ ...attempt(user.username, 5), pin: '8024' });
    expect(right).toMatchObject({ approved: false, reason: 'locked_out' });
  });

  it('costs and spends the same without the quorum', async () => {
    const user = await withPin();
    const verifier = startVerifier();
    await openCircuit(test.db(), 'a test');
    const wrong = await verifier.verify({ ...attempt(user.username, 0), pin: '1111' });
    expect(wrong).toMatchObject({ approved: false, reason: 'wrong_pin', degraded: true });
    const spent = await verifier.verify({ ...attempt(user.username, 0), pin: '8024' });
    expect(spent).toMatchObject({ approved: false, reason: 'replayed' });
    await closeCircuit(test.db());
    const right = await verifier.verify({ ...attempt(user.username, 1), pin: '8024' });
    expect(right).toMatchObject({ approved: true, degraded: false });
  });

  it('set by somebody else has to be changed, by the master, with the code that proves the user', async () => {
    const user = await withPin({ mustChange: true });
    const changes: unknown[] = [];
    const verifier = startVerifier({
      changePin: async ({ username, pin, newPin }) => {
        changes.push({ username, pin, newPin });
        return newPin === '1234' ? 'too easy' : null;
      },
    });
    const first = await verifier.verify({ ...attempt(user.username, 0), pin: '8024' });
    expect(first).toMatchObject({ approved: false, reason: 'pin_change_required' });
    const weak = { ...attempt(user.username, 1), pin: '8024', newPin: '1234' };
    expect(await verifier.verify(weak)).toMatchObject({ reason: 'pin_change_required' });
    const good = { ...attempt(user.username, 2), pin: '8024', newPin: '7391' };
    expect(await verifier.verify(good)).toMatchObject({ approved: true });
    expect(changes).toHaveLength(2);
    const events = (await takeFinalOutbox(test.db(), 1000))
      .map(({ event }) => event)
      .filter(({ userId }) => userId === user.id);
    expect(events.map(({ result, details }) => [result, details.pinChange])).toEqual([
      ['denied', undefined],
      ['denied', 'too easy'],
      ['approved', undefined],
    ]);
  });

  it('that is being changed leaves no final event before it is known how that went', async () => {
    const user = await withPin({ mustChange: true });
    const ofUser = async () =>
      (await takeFinalOutbox(test.db(), 1000)).filter(({ event }) => event.userId === user.id);
    const early: unknown[] = [];
    const verifier = startVerifier({
      changePin: async () => {
        early.push(...(await ofUser()));
        return null;
      },
    });
    const good = { ...attempt(user.username, 0), pin: '8024', newPin: '7391' };
    expect(await verifier.verify(good)).toMatchObject({ approved: true });
    expect(early).toEqual([]);
    expect(await ofUser()).toMatchObject([{ event: { result: 'approved' } }]);
  });

  it('changed under one key to one PIN is a conflict with another PIN under it', async () => {
    const user = await withPin({ mustChange: true });
    const verifier = startVerifier({ changePin: async () => 'too easy' });
    const weak = { ...attempt(user.username, 0, randomUUID()), pin: '8024', newPin: '1234' };
    expect(await verifier.verify(weak)).toMatchObject({ reason: 'pin_change_required' });
    await copyState(user.id);
    expect(await verifier.verify({ ...weak, newPin: '7391' })).toMatchObject({ kind: 'conflict' });
  });
});

describe('guesses without the quorum', () => {
  it('exceed the budget by one at most for each other worker that judges at the same moment', async () => {
    const user = await test.addUser(keys.seed, secret);
    const workers = Array.from({ length: 8 }, () => startVerifier());
    await openCircuit(test.db(), 'a test');
    try {
      const outcomes = [];
      for (let round = 0; round < 3; round += 1) {
        const guesses = workers.map((worker, index) =>
          worker.verify(attempt(user.username, 500 + round * 10 + index)),
        );
        outcomes.push(...(await Promise.all(guesses)));
      }
      const wrong = outcomes.filter((one) => 'reason' in one && one.reason === 'wrong_code');
      expect(wrong.length).toBeLessThanOrEqual(5 + workers.length - 1);
    } finally {
      await closeCircuit(test.db());
    }
  });

  it('spend a question at the third', async () => {
    const user = await addUserWithPhone();
    const verifier = startVerifier();
    await openCircuit(test.db(), 'a test');
    try {
      const asked = await ask(verifier, user);
      for (const code of ['000001', '000002', '000003']) {
        const wrong = await verifier.verify(answer(user, asked, { code }));
        expect(wrong).toMatchObject({ reason: 'wrong_code' });
      }
      const right = answer(user, asked, { code: sent.at(-1)!.code });
      expect(await verifier.verify(right)).toMatchObject({ reason: 'challenge_spent' });
    } finally {
      await closeCircuit(test.db());
    }
  });
});

describe('what stands in for a code', () => {
  it('is a recovery code, each once, on any node', async () => {
    const code = deriveSpareCode(keys['spare-code'], 'a test');
    const user = await test.addUser(keys.seed, secret, async (id) => ({
      recoveryCodes: {
        at: new Date().toISOString(),
        hashes: [spareCodeHash(keys['spare-code'], 'recovery', id, code)],
      },
    }));
    const typed = { ...attempt(user.username, 0), code: code.toLowerCase().replaceAll('-', ' ') };
    const outcomes = await Promise.all(
      [startVerifier(), startVerifier()].map((verifier) => verifier.verify({ ...typed })),
    );
    expect(outcomes.filter((outcome) => 'approved' in outcome && outcome.approved)).toHaveLength(1);
  });

  it('is a bypass, once, until it ends', async () => {
    const now = Date.now();
    const bypass = (expiresAt: number) => ({
      id: randomUUID(),
      reason: 'left the phone at home',
      at: new Date(now - 1000).toISOString(),
      by: 'help desk',
      expiresAt: new Date(expiresAt).toISOString(),
    });
    const user = await test.addUser(keys.seed, secret, async () => ({
      bypass: bypass(now + 300_000),
    }));
    const begin = { ...attempt(user.username, 0), code: null };
    const outcomes = await Promise.all(
      [startVerifier(), startVerifier()].map((verifier) => verifier.verify({ ...begin })),
    );
    const skips = outcomes.map((outcome) => ('skipped' in outcome ? outcome.skipped : null));
    expect(skips.filter((skip) => skip === 'bypass')).toHaveLength(1);
    await copyState(user.id);
    expect(await startVerifier().verify({ ...begin })).toMatchObject({ kind: 'challenge' });
    const late = await test.addUser(keys.seed, secret, async () => ({ bypass: bypass(now - 1) }));
    expect(await startVerifier().verify({ ...begin, username: late.username })).toMatchObject({
      kind: 'challenge',
    });
  });

  it('is an exemption, until it ends, but never for somebody blocked or disabled (rule 3)', async () => {
    const exempt = (until: number) => ({
      reason: 'service account',
      at: new Date().toISOString(),
      by: 'admin',
      until: new Date(until).toISOString(),
    });
    const [soon, past] = [exempt(Date.now() + 60_000), exempt(Date.now() - 1)];
    const verifier = startVerifier();
    const outcomeOf = async (fields: Partial<UserDocument>) => {
      const user = await test.addUser(keys.seed, secret, async () => fields);
      const begin = { ...attempt(user.username, 0), code: null };
      const scopes = new Set(['reasons:read' as const]);
      return verifier.verify({ ...begin, caller: { ...begin.caller, scopes } });
    };
    expect(await outcomeOf({ exempt: soon })).toMatchObject({ approved: true, skipped: 'exempt' });
    expect(await outcomeOf({ exempt: past })).toMatchObject({ kind: 'challenge' });
    expect(await outcomeOf({ exempt: soon, enabled: false })).toMatchObject({ reason: 'disabled' });
  });
});

describe('while the cluster key is changed', () => {
  const next = Object.fromEntries(
    Object.entries(makeTestKeys()).map(([purpose, key]) => [
      purpose,
      { ...key, keyId: '11111111' },
    ]),
  ) as VerifierOptions['keys'];
  const withOthers = (active: VerifierOptions['keys'], other: VerifierOptions['keys']) =>
    Object.fromEntries(
      Object.entries(active).map(([purpose, key]) => [
        purpose,
        {
          ...key,
          others: [other[purpose as keyof VerifierOptions['keys']]],
          ...(purpose === 'pin' && { first: keys.pin }),
        },
      ]),
    ) as unknown as VerifierOptions['keys'];
  const behind = withOthers(keys, next);
  const ahead = withOthers(next, keys);

  it.each([
    ['further', behind, ahead],
    ['less far', ahead, behind],
  ])(
    'an attempt repeated at a node that is %s with it gets its own verdict again',
    async (_, one, two) => {
      const user = await test.addUser(keys.seed, secret);
      const first = attempt(user.username, 0, randomUUID());
      const approved = await startVerifier({ keys: one }).verify(first);
      expect(approved).toMatchObject({ approved: true });
      const node = startVerifier({ keys: two });
      expect(await node.verify(first)).toEqual(approved);
      const replayed = await node.verify(attempt(user.username, 0, randomUUID()));
      expect(replayed).toMatchObject({ approved: false, reason: 'replayed' });
    },
  );

  it('a text that was sent before is answered after, and the same asking sends no other', async () => {
    const user = await addUserWithPhone();
    const begun = {
      ...attempt(user.username, 0, randomUUID()),
      code: null,
      method: 'text',
    } as const;
    const asked = await startVerifier({ keys: behind }).verify(begun);
    const { code } = sent.at(-1)!;
    const before = sent.length;
    const node = startVerifier({ keys: ahead });
    const again = await node.verify(begun);
    expect(again).toMatchObject({ kind: 'challenge' });
    expect(sent.length).toBe(before);
    if (asked.kind !== 'challenge' || again.kind !== 'challenge') throw new Error(again.kind);
    expect(again.id).toBe(asked.id);
    const right = await node.verify(answer(user, again, { code }));
    expect(right).toMatchObject({ approved: true });
    // The question as it was sealed first is the same question.
    const spent = await node.verify(answer(user, asked, { code }));
    expect(spent).toMatchObject({ approved: false });
  });

  it('PINs and recovery codes are good on every node', async () => {
    const recovery = deriveSpareCode({ keyId: 'none', key: Buffer.alloc(32, 1) });
    const user = await test.addUser(next.seed, secret, async (id) => ({
      modes: { oath: 'code+pin' },
      pin: {
        ...(await hashPin(ahead.pin, id, '8024')),
        setAt: new Date().toISOString(),
        mustChange: false,
        history: [],
      },
      recoveryCodes: {
        at: new Date().toISOString(),
        hashes: [spareCodeHash(keys['spare-code'], 'recovery', id, recovery)],
      },
    }));
    const lasting = { 'spare-code': keys['spare-code'] };
    const [one, two] = [behind, ahead].map((ring) =>
      startVerifier({ keys: { ...ring, ...lasting } }),
    );
    const right = await one!.verify({ ...attempt(user.username, 0), pin: '8024' });
    expect(right).toMatchObject({ approved: true });
    const wrong = await two!.verify({ ...attempt(user.username, 1), pin: '8025' });
    expect(wrong).toMatchObject({ approved: false, reason: 'wrong_pin' });
    const spare = { ...attempt(user.username, 0), code: recovery, pin: '8024' };
    expect(await two!.verify(spare)).toMatchObject({ approved: true });
  });
});

type Asked = Extract<VerificationOutcome, { kind: 'challenge' }>;

async function ask(
  verifier: Verifier,
  user: UserDocument,
  fields: Partial<VerificationAttempt> = {},
): Promise<Asked> {
  const outcome = await verifier.verify({ ...attempt(user.username, 0), code: null, ...fields });
  if (outcome.kind !== 'challenge') throw new Error(JSON.stringify(outcome));
  return outcome;
}

function answer(
  user: UserDocument,
  asked: Asked,
  typed: { counter: number } | { code: string },
): VerificationAttempt {
  const { id, sealed } = asked;
  const made = attempt(user.username, 'counter' in typed ? typed.counter : 0);
  return {
    ...made,
    username: null,
    ...('code' in typed && { code: typed.code }),
    challenge: { id, sealed },
  };
}

function pollOf({ id, sealed }: Asked) {
  const { caller, door, application } = attempt('', 0);
  return { caller, door, application, challenge: { id, sealed } };
}

function addUserWithPhone(): Promise<UserDocument> {
  const at = new Date().toISOString();
  return test.addUser(keys.seed, secret, async () => ({
    authenticators: [
      {
        type: 'phone',
        id: randomUUID(),
        number: '+31612345678',
        use: 'primary',
        vouchedBy: 'admin',
        verifiedAt: null,
        createdAt: at,
      },
    ],
  }));
}
