import { describe, expect, it } from 'vitest';
import { parseClaim } from './claims.ts';
import type { UserDocument } from './documents.ts';
import { challengeOutcome, judgeStep } from './judge-step.ts';
import type { Judgement, StepInput } from './judge-step.ts';
import { mergeClaims, mergeStates } from './merge-claims.ts';
import { defaultSettings } from './settings.ts';
import { emptyState, encodeState, parseState, shortId, SPENT_MAX } from './user-state.ts';
import type { Spent, UserState } from './user-state.ts';
import { answerWait, ASKED_MAX, WAITS_MAX } from './waits.ts';

const start = Date.parse('2025-06-01T12:00:00.000Z');
const SECONDS = 30;
const alice: UserDocument = {
  id: '00000000-0000-4000-8000-0000000000aa',
  username: 'alice',
  enabled: true,
  blocked: null,
  unlockedAt: null,
  authenticators: [],
  createdAt: '2025-01-01T00:00:00.000Z',
  updatedAt: '2025-01-01T00:00:00.000Z',
};
const settings = {
  ...defaultSettings,
  methods: { ...defaultSettings.methods, default: 'call' as const },
};
const waitingBy = (holder: string, hasGivenUp = false) => ({
  seconds: SECONDS,
  holder,
  hasGivenUp,
});

type Sent = Partial<Pick<StepInput, 'state' | 'nowMs' | 'waiting' | 'user' | 'withoutQuorum'>> & {
  id?: string;
  door?: StepInput['attempt']['door'];
};

const attemptOf = (id: string, door: Sent['door'] = 'pap'): StepInput['attempt'] => ({
  id,
  keyHash: null,
  questionId: `question of ${id}`,
  client: 'vpn',
  door,
  code: null,
  method: null,
  wrongCodeHmac: null,
});

/** A sign-in over RADIUS with nothing but a password, which is right. */
function begin({ id = 'one', door, state = emptyState(), nowMs = start, ...rest }: Sent = {}) {
  return judgeStep({
    user: alice,
    secrets: new Map(),
    settings,
    elsewhere: ['call'],
    waiting: waitingBy('node-1'),
    ...rest,
    state,
    nowMs,
    attempt: attemptOf(id, door),
  });
}

/** What whoever waits asks when there is an answer, when the time is up, or when nobody waits any more. */
function handOut(
  state: UserState,
  { id = 'one', nowMs = start + 5000, ...rest }: Omit<Sent, 'state'> = {},
) {
  return judgeStep({
    user: alice,
    secrets: new Map(),
    settings,
    elsewhere: ['call'],
    waiting: waitingBy('node-1'),
    ...rest,
    state,
    nowMs,
    attempt: { ...attemptOf(`handing out ${id}`), questionId: `question of ${id}` },
    challenge: {
      id: `question of ${id}`,
      method: 'call',
      mode: 'standard',
      expiresAtMs: start + SECONDS * 1000,
      isSentCode: false,
    },
  });
}

function nextOf(judgement: Judgement): UserState {
  if (judgement.kind !== 'record') throw new Error(`nothing is recorded: ${judgement.kind}`);
  return parseState(encodeState(judgement.next));
}

function answered(state: UserState, answer: 'approved' | 'declined', id = 'one', at = 2000) {
  const told = answerWait(state, {
    questionId: `question of ${id}`,
    answer,
    nowMs: start + at,
  });
  if (told.kind !== 'answered') throw new Error(told.kind);
  return parseState(encodeState(told.next));
}

describe('a sign-in that waits for an answer from elsewhere', () => {
  it('is recorded before anybody is asked, and lets nobody in', () => {
    const judgement = begin();
    expect(judgement).toMatchObject({
      kind: 'record',
      verdict: { approved: false },
      item: null,
      question: { method: 'call', untilMs: start + SECONDS * 1000 },
    });
    expect(judgement).not.toHaveProperty('isAsked');
    expect(handOut(nextOf(judgement))).toMatchObject({ kind: 'ask', repeated: true });
  });

  it('is approved once by an approval, and for 10 s again to the same', () => {
    const approved = handOut(answered(nextOf(begin()), 'approved'));
    expect(approved).toMatchObject({ kind: 'record', verdict: { approved: true } });
    const after = nextOf(approved);
    expect(challengeOutcome(after, 'question of one')).toBe('approved');
    const sentAgain = begin({ state: after, nowMs: start + 14_999 });
    expect(sentAgain).toEqual({ kind: 'final', verdict: { approved: true } });
    expect(handOut(after, { nowMs: start + 14_999 })).toEqual(sentAgain);
    expect(handOut(after, { nowMs: start + 15_001 })).toMatchObject({
      verdict: { reason: 'challenge_spent' },
    });
    expect(begin({ state: after, id: 'later', nowMs: start + 15_001 })).toMatchObject({
      kind: 'record',
      question: { method: 'call' },
    });
  });

  it('is denied by a no, which is told again too', () => {
    const denied = handOut(answered(nextOf(begin()), 'declined'));
    expect(denied).toMatchObject({ kind: 'record', verdict: { reason: 'declined' } });
    const sentAgain = begin({ state: nextOf(denied), nowMs: start + 9000 });
    expect(sentAgain).toMatchObject({ kind: 'final', verdict: { reason: 'declined' } });
  });

  it('asks nobody twice when it is sent again, at any time while it is waited for', () => {
    const begun = nextOf(begin());
    for (const after of [0, 9000, 11_000, SECONDS * 1000 - 1]) {
      expect(begin({ state: begun, nowMs: start + after })).toMatchObject({
        kind: 'ask',
        repeated: true,
        question: { untilMs: start + SECONDS * 1000 },
      });
    }
  });

  it('goes on where it is sent to next, which alone may end it from then on', () => {
    const begun = nextOf(begin());
    const joined = begin({ state: begun, nowMs: start + 12_000, waiting: waitingBy('node-2') });
    expect(joined).toMatchObject({ kind: 'record', isAsked: true, question: { method: 'call' } });
    const there = nextOf(joined);
    const late = { nowMs: start + SECONDS * 1000 };
    expect(handOut(there, { waiting: waitingBy('node-1', true) })).toMatchObject({
      kind: 'final',
      verdict: { reason: 'busy' },
    });
    expect(handOut(there, late)).toMatchObject({ verdict: { reason: 'busy' } });
    expect(handOut(there, { ...late, waiting: waitingBy('node-2') })).toMatchObject({
      kind: 'record',
      verdict: { reason: 'expired' },
    });
    expect(handOut(answered(there, 'approved', 'one', 13_000))).toMatchObject({
      verdict: { approved: true },
    });
  });

  it('is over in time, and no answer after that counts', () => {
    const begun = nextOf(begin());
    const nowMs = start + SECONDS * 1000;
    const question = { questionId: 'question of one', answer: 'approved' as const };
    expect(answerWait(begun, { ...question, nowMs: nowMs - 1 }).kind).toBe('answered');
    expect(answerWait(begun, { ...question, nowMs }).kind).toBe('over');
    const ended = nextOf(handOut(begun, { nowMs }));
    expect(answerWait(ended, { ...question, nowMs: start }).kind).toBe('over');
    expect(begin({ state: ended, nowMs: nowMs + 9000 })).toMatchObject({
      verdict: { reason: 'expired' },
    });
  });

  it('is approved by an answer in time that is handed out a moment late', () => {
    const state = answered(nextOf(begin()), 'approved', 'one', SECONDS * 1000 - 1);
    expect(handOut(state, { nowMs: start + SECONDS * 1000 + 300 })).toMatchObject({
      verdict: { approved: true },
    });
  });

  it('that was given up is as if it had never been, and may begin again', () => {
    const begun = nextOf(begin());
    const given = handOut(begun, { waiting: waitingBy('node-1', true) });
    expect(given).toMatchObject({ kind: 'record', verdict: { reason: 'abandoned' } });
    const again = begin({ state: nextOf(given), nowMs: start + 6000 });
    expect(again).toMatchObject({ kind: 'record', question: { method: 'call' } });
    expect(handOut(answered(nextOf(again), 'approved', 'one', 7000))).toMatchObject({
      verdict: { approved: true },
    });
  });

  it('that was given up as it was approved lets in whoever waits elsewhere, or sends it again', () => {
    const state = answered(nextOf(begin()), 'approved');
    expect(handOut(state, { waiting: waitingBy('node-1', true) })).toEqual({
      kind: 'final',
      verdict: { approved: false, reason: 'abandoned' },
    });
    const elsewhere = { waiting: waitingBy('node-2', true) };
    expect(handOut(state, elsewhere)).toMatchObject({ verdict: { reason: 'busy' } });
    expect(handOut(state)).toMatchObject({ kind: 'record', verdict: { approved: true } });
  });

  it('begins only where its approval will have room', () => {
    const spent = Object.fromEntries(
      Array.from({ length: SPENT_MAX - 2 }, (_, i) => [
        shortId(`${i}`),
        [start / 1000 + 300, 0, 1] satisfies Spent,
      ]),
    );
    let state: UserState = { ...emptyState(), spent };
    for (const id of ['one', 'two']) state = nextOf(begin({ id, state }));
    expect(begin({ id: 'three', state })).toMatchObject({ verdict: { reason: 'busy' } });
    for (const id of ['one', 'two']) {
      const approved = handOut(answered(state, 'approved', id), { id });
      expect(approved).toMatchObject({ verdict: { approved: true } });
      state = nextOf(approved);
    }
  });

  it('that was declined stays so where there is no room to remember its end', () => {
    const spent = Object.fromEntries(
      Array.from({ length: SPENT_MAX }, (_, i) => [
        shortId(`${i}`),
        [start / 1000 + 300, 0, 1] satisfies Spent,
      ]),
    );
    const begun = nextOf(begin());
    const declined = nextOf(handOut({ ...answered(begun, 'declined'), spent }));
    const approval = answered(begun, 'approved').waits![0]!;
    const claim = { id: 'too late', at: start, wait: approval };
    const merged = mergeClaims(declined, [claim], defaultSettings, start + 6000);
    expect(handOut(merged, { nowMs: start + 20_000 })).toMatchObject({
      verdict: { approved: false, reason: 'declined' },
    });
  });

  it('beside another is another question: one approval lets one in', () => {
    const both = nextOf(begin({ id: 'two', state: nextOf(begin()) }));
    const state = answered(both, 'approved', 'two');
    expect(handOut(state, { id: 'one' })).toMatchObject({ kind: 'ask' });
    expect(handOut(state, { id: 'two' })).toMatchObject({ verdict: { approved: true } });
  });

  it('is refused beyond so many at once, and those go on', () => {
    let state = emptyState();
    for (let i = 0; i < WAITS_MAX; i += 1) state = nextOf(begin({ id: `${i}`, state }));
    expect(begin({ id: 'more', state })).toMatchObject({
      kind: 'final',
      verdict: { reason: 'too_many_waiting' },
    });
    expect(handOut(answered(state, 'approved', '0'), { id: '0' })).toMatchObject({
      verdict: { approved: true },
    });
    const later = start + SECONDS * 1000;
    expect(begin({ id: 'more', state, nowMs: later })).toMatchObject({ kind: 'record' });
  });

  it('rings a telephone so many times an hour, however often it is given up, until it is approved', () => {
    let state = emptyState();
    const again = (i: number) => begin({ id: `${i}`, state, nowMs: start + i * 100 });
    for (let i = 0; i < ASKED_MAX; i += 1) {
      const begun = nextOf(again(i));
      const given = { id: `${i}`, nowMs: start + i * 100, waiting: waitingBy('node-1', true) };
      state = i < ASKED_MAX - 1 ? nextOf(handOut(begun, given)) : begun;
    }
    expect(again(ASKED_MAX)).toMatchObject({ verdict: { reason: 'too_many_waiting' } });
    const later = start + 3_700_000;
    expect(begin({ id: 'later', state, nowMs: later })).toMatchObject({ kind: 'record' });
    const last = `${ASKED_MAX - 1}`;
    state = nextOf(handOut(answered(state, 'approved', last), { id: last }));
    expect(begin({ id: 'after', state, nowMs: start + 6000 })).toMatchObject({ kind: 'record' });
  });

  it('cannot be approved for somebody who is blocked, disabled or locked out by then', () => {
    const state = answered(nextOf(begin()), 'approved');
    const expiresAt = new Date(start + 60_000).toISOString();
    const blocked = { at: alice.createdAt, reason: null, actor: 'x', expiresAt } as never;
    expect(handOut(state, { user: { ...alice, blocked } })).toMatchObject({
      verdict: { reason: 'blocked' },
    });
    expect(handOut(state, { user: { ...alice, enabled: false } })).toMatchObject({
      verdict: { reason: 'disabled' },
    });
  });

  it('is by the first answer, whatever comes after', () => {
    const declined = answered(nextOf(begin()), 'declined');
    const question = { questionId: 'question of one', nowMs: start + 3000 };
    expect(answerWait(declined, { ...question, answer: 'approved' }).kind).toBe('over');
    expect(answerWait(declined, { ...question, answer: 'declined' }).kind).toBe('repeated');
  });

  it('is asked of nobody by a method that this user cannot be asked by', () => {
    const judgement = judgeStep({
      user: alice,
      secrets: new Map(),
      settings,
      state: emptyState(),
      nowMs: start,
      attempt: attemptOf('one'),
    });
    expect(judgement).toMatchObject({ kind: 'final', verdict: { reason: 'no_method' } });
  });
});

describe('without the quorum', () => {
  const withoutQuorum = { knownNodes: 3, localFailures: {} };
  const mergedWith = (...judgements: Judgement[]) =>
    judgements.reduce((state, judgement) => {
      if (judgement.kind !== 'record') throw new Error(judgement.kind);
      const claim = parseClaim(structuredClone(judgement.claim));
      return mergeClaims(state, [claim], defaultSettings, start);
    }, emptyState());

  it('a wait and its answer are claims, which merge in any order and once', () => {
    const begun = begin({ withoutQuorum });
    const state = mergedWith(begun);
    expect(state.waits).toEqual(nextOf(begun).waits);
    const told = answerWait(state, {
      questionId: 'question of one',
      answer: 'approved',
      nowMs: start,
    });
    if (told.kind !== 'answered') throw new Error(told.kind);
    const claim = { id: 'answer', at: start, wait: told.wait };
    const merged = mergeClaims(emptyState(), [claim], defaultSettings, start);
    expect(mergeClaims(merged, [claim], defaultSettings, start)).toBe(merged);
    if (begun.kind !== 'record') throw new Error(begun.kind);
    const both = mergeClaims(merged, [begun.claim], defaultSettings, start);
    expect(both).toEqual({ ...merged, askedElsewhere: [start / 1000] });
    expect(mergeClaims(both, [claim, begun.claim], defaultSettings, start)).toBe(both);
    expect(mergeStates(state, merged).waits).toEqual(merged.waits);
    expect(mergeStates(merged, state).waits).toEqual(merged.waits);
    const approved = handOut(merged, { withoutQuorum });
    expect(approved).toMatchObject({
      verdict: { approved: true },
      item: 'challenge:question of one',
    });
    const used = mergedWith(begun, approved);
    expect(used.spent).toBeDefined();
    expect(handOut(used, { nowMs: start + 16_000 })).toMatchObject({
      verdict: { reason: 'challenge_spent' },
    });
  });

  it('rings a telephone no more often in an hour than with it', () => {
    const [begun, later] = [[] as Judgement[], start + (SECONDS + 60) * 1000];
    for (let i = 0; i < ASKED_MAX; i += 1) {
      const nowMs = start + Math.floor(i / WAITS_MAX) * SECONDS * 1000;
      const state = mergedWith(...begun);
      begun.push(begin({ id: `${i}`, state, nowMs, withoutQuorum }));
    }
    // By then the first of them are over, and the claims alone say that they were.
    const claims = begun.map((one) => {
      if (one.kind !== 'record') throw new Error(one.kind);
      return one.claim;
    });
    const state = mergeClaims(emptyState(), claims, defaultSettings, later);
    expect(mergeClaims(state, claims, defaultSettings, later)).toBe(state);
    expect(begin({ id: 'more', state, nowMs: later, withoutQuorum })).toMatchObject({
      verdict: { reason: 'too_many_waiting' },
    });
    const nextHour = later + 3_600_000;
    const after = mergeClaims(emptyState(), claims, defaultSettings, nextHour);
    expect(begin({ id: 'more', state: after, nowMs: nextHour })).toMatchObject({ kind: 'record' });
  });

  it('tells the same again who sends the sign-in itself again, and rings nobody', () => {
    const begun = begin({ withoutQuorum });
    const state = answered(mergedWith(begun), 'approved');
    const approved = handOut(state, { withoutQuorum });
    const used = mergedWith(begun, approved);
    const again = begin({ state: used, nowMs: start + 14_000, withoutQuorum });
    expect(again).toEqual({ kind: 'final', verdict: { approved: true } });
    expect(begin({ state: used, nowMs: start + 16_000, withoutQuorum })).toMatchObject({
      kind: 'final',
      verdict: { reason: 'challenge_spent' },
    });
  });

  it('of two answers on two sides the denial stands', () => {
    const begun = nextOf(begin());
    const [yes, no] = [answered(begun, 'approved'), answered(begun, 'declined')];
    for (const state of [mergeStates(yes, no), mergeStates(no, yes)]) {
      expect(handOut(state)).toMatchObject({ verdict: { reason: 'declined' } });
    }
  });
});
