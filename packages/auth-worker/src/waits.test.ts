import { randomUUID } from 'node:crypto';
import type { VerificationOutcome } from '@countersign/api';
import { openStates, shutStates, type StateWrite } from '@countersign/cluster';
import { storeUserStates } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { generateSecret, parseState, type UserDocument } from '@countersign/verification';
import { beforeEach, describe, expect, it, vi } from 'vitest';
import { makeTestKeys, makeTestVerifier, startTestAsks } from './testing/start-test-verifier.ts';
import { PatientStates, useTestStates } from './testing/use-test-states.ts';
import type { WaitingAttempt } from './step.ts';
import type { VerifierOptions } from './verifier-options.ts';
import type { Verifier } from './verifier.ts';
import type { AskedElsewhere } from './waits.ts';

// No agent copies states into PostgreSQL here: what these nodes know of waits is old at all times.
const test = useTestStates();
const keys = makeTestKeys();
const SECONDS = 40;

let asked: AskedElsewhere[] = [];
let cancelled: string[] = [];
let isReached = true;
beforeEach(() => {
  asked = [];
  cancelled = [];
  isReached = true;
});

const elsewhere = {
  of: () => ['call'] as const,
  async ask(one: AskedElsewhere) {
    asked.push(one);
    return { sent: isReached, details: {} };
  },
  cancel: (id: string) => void cancelled.push(id),
};

function startVerifier(options: Partial<VerifierOptions> = {}): Verifier {
  const asks = startTestAsks(test, `node-${randomUUID()}`);
  const sendText = async () => ({ sent: true, details: {} });
  return makeTestVerifier(test, { keys, asks, elsewhere, sendText, ...options });
}

function signIn(user: UserDocument, fields: Partial<WaitingAttempt> = {}): WaitingAttempt {
  return {
    caller: {
      id: 'vpn',
      name: 'vpn',
      scopes: new Set(['reasons:read']),
      applications: null,
      proof: { kind: 'api-key', secret: '' },
    },
    username: user.username,
    door: 'pap-challenge',
    code: null,
    pin: null,
    newPin: null,
    password: null,
    method: 'call',
    challenge: null,
    application: null,
    clientIp: null,
    remoteAddress: '127.0.0.1',
    idempotencyKey: randomUUID(),
    waiting: { seconds: SECONDS, holder: randomUUID().slice(0, 8), hasGivenUp: false },
    ...fields,
  };
}

const byAnother = (attempt: WaitingAttempt): WaitingAttempt => ({
  ...attempt,
  waiting: { ...attempt.waiting, holder: randomUUID().slice(0, 8) },
});

function waitOn(verifier: Verifier, attempt: WaitingAttempt, outcome: VerificationOutcome) {
  const given = new AbortController();
  const options = { signal: given.signal, hasGivenUp: () => true };
  return { told: verifier.awaitAnswer(attempt, outcome, options), giveUp: () => given.abort() };
}

const addUser = () => test.addUser(keys.seed, generateSecret());
const questionOf = ({ user, id }: AskedElsewhere) => ({ userId: user.id, questionId: id });
const APPROVED = { kind: 'verdict', approved: true };

async function copyState(user: UserDocument): Promise<void> {
  const read = await test.states().readThroughLeader(user.id, 1000);
  if (read.kind !== 'found') throw new Error(read.kind);
  const { revision, bytes } = read;
  const row = { userId: user.id, revision, state: parseState(bytes) };
  await storeUserStates(test.db(), [row], revision);
}

async function storedWaits(user: UserDocument) {
  const read = await test.states().readThroughLeader(user.id, 1000);
  return read.kind === 'found' ? parseState(read.bytes).waits : undefined;
}

describe('a sign-in that waits, on a node whose copy of states stands still', () => {
  it('is approved by an answer that the copy does not know', async () => {
    const user = await addUser();
    const verifier = startVerifier();
    const attempt = signIn(user);
    const { told } = waitOn(verifier, attempt, await verifier.verify(attempt));
    expect(await verifier.answerWait(questionOf(asked[0]!), 'approved')).toBe('taken');
    expect(await told).toMatchObject(APPROVED);
  });

  it('rings nobody again, sent again while writes go unanswered', async () => {
    const user = await addUser();
    const attempt = signIn(user);
    expect(await startVerifier().verify(attempt)).toMatchObject({ kind: 'challenge' });
    await shutStates(test.agentLink(), 1);
    try {
      for (let times = 0; times < 2; times += 1) {
        if (times === 1) await copyState(user);
        const again = await startVerifier().verify(byAnother(attempt));
        expect(again).toMatchObject({ kind: 'challenge', id: asked[0]!.id });
      }
    } finally {
      await openStates(test.agentLink(), 1);
    }
    expect(asked).toHaveLength(1);
  });

  it('goes on in the hands of the last to come, also of those who came at once', async () => {
    const user = await addUser();
    const verifier = startVerifier();
    const first = signIn(user);
    const second = byAnother(first);
    const [one, two] = await Promise.all([verifier.verify(first), verifier.verify(second)]);
    expect(asked).toHaveLength(1);
    const waits = [waitOn(verifier, first, one), waitOn(verifier, second, two)];
    waits[0]!.giveUp();
    expect(await waits[0]!.told).toMatchObject({ approved: false, reason: 'busy' });
    expect(cancelled).toEqual([]);
    expect(await verifier.answerWait(questionOf(asked[0]!), 'approved')).toBe('taken');
    expect(await waits[1]!.told).toMatchObject(APPROVED);
  });

  it('that reached nobody is not waited for by whoever signs in again', async () => {
    const user = await addUser();
    const verifier = startVerifier();
    isReached = false;
    const attempt = signIn(user);
    const lost = { approved: false, reason: 'not_delivered' };
    expect(await verifier.verify(attempt)).toMatchObject(lost);
    expect(await verifier.verify(byAnother(attempt))).toMatchObject(lost);
    expect(asked).toHaveLength(1);
    isReached = true;
    const idempotencyKey = randomUUID();
    const lastingKeys = [attempt.idempotencyKey!];
    const later = await verifier.verify({ ...byAnother(attempt), idempotencyKey, lastingKeys });
    expect(later).toMatchObject({ kind: 'challenge' });
    expect(asked).toHaveLength(2);
  });
});

describe('a call chosen in place of another question', () => {
  it('lets in whom it was asked for, and nobody else who answers that question', async () => {
    const user = await addUser();
    const verifier = startVerifier();
    const question = await verifier.verify(signIn(user, { method: 'oath' }));
    if (question.kind !== 'challenge') throw new Error(question.kind);
    const { id, sealed } = question;
    const waits = [];
    for (const holder of ['one', 'two']) {
      const waiting = { seconds: SECONDS, holder, hasGivenUp: false };
      const attempt = signIn(user, { challenge: { id, sealed }, waiting });
      waits.push(waitOn(verifier, attempt, await verifier.verify(attempt)));
    }
    expect(asked).toHaveLength(2);
    const [one, two] = asked;
    await verifier.answerWait(questionOf(one!), 'approved');
    await verifier.answerWait(questionOf(two!), 'declined');
    expect(await waits[0]!.told).toMatchObject(APPROVED);
    expect(await waits[1]!.told).toMatchObject({ approved: false, reason: 'declined' });
  });
});

describe('a call chosen in place of another question by whoever typed another name of theirs', () => {
  it('is still waited for, sent again after all that is known of an attempt for seconds', async () => {
    const object = randomUUID();
    const name = `example\\${object}`;
    const user = await test.addUser(keys.seed, generateSecret(), async () => ({
      directory: { id: randomUUID(), object, dn: '', item: null, names: [name], mails: [] },
    }));
    const verifier = startVerifier();
    const question = await verifier.verify(signIn(user, { username: name, method: 'oath' }));
    if (question.kind !== 'challenge') throw new Error(question.kind);
    const { id, sealed } = question;
    const chosen = signIn(user, { username: name, challenge: { id, sealed } });
    const first = await verifier.verify(chosen);
    expect(asked).toHaveLength(1);
    const lastingKeys = [chosen.idempotencyKey!];
    const again = byAnother({ ...chosen, idempotencyKey: randomUUID(), lastingKeys });
    const outcome = await startVerifier().verify(again);
    expect(asked).toHaveLength(1);
    expect(outcome).toMatchObject({ kind: 'challenge', id: 'id' in first && first.id });
  });
});

describe('an answer', () => {
  it('is not lost where others write that state all the time', async () => {
    const user = await addUser();
    const attempt = signIn(user);
    const busy = new (class extends PatientStates {
      override async write(): Promise<StateWrite> {
        return { kind: 'conflict' };
      }
    })(test.link(), 1);
    const verifier = startVerifier();
    const { told } = waitOn(verifier, attempt, await verifier.verify(attempt));
    const receiver = startVerifier({ states: busy });
    expect(await receiver.answerWait(questionOf(asked[0]!), 'approved')).toBe('taken');
    expect(await told).toMatchObject(APPROVED);
  });

  it('is handed out in the midst of a flood of guesses at that name', async () => {
    const user = await addUser();
    const verifier = startVerifier();
    const attempt = signIn(user);
    const { told } = waitOn(verifier, attempt, await verifier.verify(attempt));
    let isOver = false;
    let refused = 0;
    const guess = async () => {
      while (!isOver) {
        const idempotencyKey = randomUUID();
        const guessed = await verifier.verify(signIn(user, { password: 'x', idempotencyKey }));
        if (guessed.kind === 'verdict' && guessed.reason === 'busy') refused += 1;
      }
    };
    const flood = Array.from({ length: 100 }, guess);
    try {
      await waitFor('a flood', () => refused > 100, { timeoutMs: 10_000 });
      await verifier.answerWait(questionOf(asked[0]!), 'approved');
      expect(await told).toMatchObject(APPROVED);
    } finally {
      isOver = true;
      await Promise.all(flood);
    }
  });

  it('is handed out to all who wait for it, on whichever node', async () => {
    const user = await addUser();
    const verifiers = [startVerifier(), startVerifier()];
    const attempt = signIn(user);
    // The second hears of it only seconds later, which must be within those that it is told again.
    vi.useFakeTimers({ toFake: ['Date'], now: Date.now() });
    const waits = [];
    for (const verifier of verifiers) {
      const own = byAnother(attempt);
      waits.push(waitOn(verifier, own, await verifier.verify(own)));
    }
    try {
      await verifiers[0]!.answerWait(questionOf(asked[0]!), 'approved');
      for (const { told } of waits) expect(await told).toMatchObject(APPROVED);
    } finally {
      vi.useRealTimers();
    }
  });

  it('is heard although the state of somebody else who waits cannot be read', async () => {
    const [user, other] = [await addUser(), await addUser()];
    const verifier = startVerifier();
    const ofOther = signIn(other);
    const waiting = waitOn(verifier, ofOther, await verifier.verify(ofOther));
    const attempt = signIn(user);
    const { told } = waitOn(verifier, attempt, await verifier.verify(attempt));
    const read = await test.states().readThroughLeader(other.id, 1000);
    if (read.kind !== 'found') throw new Error(read.kind);
    await test.states().write(other.id, Buffer.from('{"v":2}'), read.revision, 1000);
    const answer = questionOf(asked[1]!);
    // Received by another worker: this one has to look for it in the log.
    expect(await startVerifier().answerWait(answer, 'approved')).toBe('taken');
    expect(await told).toMatchObject(APPROVED);
    waiting.giveUp();
    await waiting.told;
    await waitFor('the wait to end', async () => (await storedWaits(user))?.length === 0, {
      timeoutMs: 5000,
    });
  });
});
