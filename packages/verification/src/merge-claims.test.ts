import { describe, expect, it } from 'vitest';
import { ClaimError, holdsClaim, parseClaim } from './claims.ts';
import type { Claim } from './claims.ts';
import { mergeClaims, mergeStates } from './merge-claims.ts';
import { randomJson, seededRandom, shuffled } from './seeded-random.ts';
import type { Random } from './seeded-random.ts';
import { defaultSettings } from './settings.ts';
import type { Settings } from './settings.ts';
import {
  emptyState,
  encodeState,
  findAttempt,
  noFailures,
  parseState,
  shortId,
} from './user-state.ts';
import type { MethodFailures, UserState } from './user-state.ts';

const nowMs = 1_750_000_000_000;
const MINUTE = 60_000;
const first = '00000000-0000-4000-8000-000000000001';
const second = '00000000-0000-4000-8000-000000000002';
const ROUNDS = 300;

describe('merging claims', () => {
  it('takes the highest step or counter of each authenticator', () => {
    const claims = [approval('a', first, 7), approval('b', first, 5), approval('c', second, 1)];
    const merged = merge(emptyState(), claims);
    expect(merged.accepted[first]?.[0]).toBe(7);
    expect(merged.accepted[second]?.[0]).toBe(1);
  });

  it('adds failures up, and locks where the sum reaches the limit', () => {
    const state = withFailures({ failures: 3, firstFailureAt: nowMs - MINUTE, consecutive: 3 });
    const four = merge(state, [failure('a')]);
    expect(four.methods.code).toMatchObject({ failures: 4, lockedUntil: 0, consecutive: 4 });
    const locked = merge(state, [failure('a'), failure('b')]);
    expect(locked.methods.code).toMatchObject({
      failures: 0,
      lockouts: 1,
      lockedUntil: nowMs + 10 * MINUTE,
      consecutive: 5,
    });
  });

  it('keeps the later lock', () => {
    const until = nowMs + 1000 * MINUTE;
    const state = withFailures({ failures: 4, firstFailureAt: nowMs, lockedUntil: until });
    expect(merge(state, [failure('a')]).methods.code.lockedUntil).toBe(until);
    const forever = withFailures({ failures: 4, firstFailureAt: nowMs, lockedUntil: -1 });
    expect(merge(forever, [failure('a')]).methods.code.lockedUntil).toBe(-1);
  });

  it('counts failures older than the reset time only towards the hundred in a row', () => {
    const old = failure('a', nowMs - 10 * MINUTE);
    expect(merge(emptyState(), [old]).methods.code).toMatchObject({ failures: 0, consecutive: 1 });
    const state = withFailures({ consecutive: 99 });
    expect(merge(state, [old]).methods.code.lockedUntil).toBe(-1);
  });

  it('does not lock because the limit was lowered, without a failure that counts', () => {
    const state = withFailures({ failures: 4, firstFailureAt: nowMs, consecutive: 4 });
    const settings = { ...defaultSettings, lockout: { ...defaultSettings.lockout, failures: 2 } };
    const old = failure('a', nowMs - 10 * MINUTE);
    expect(mergeClaims(state, [old], settings, nowMs).methods.code.lockedUntil).toBe(0);
    expect(mergeClaims(state, [failure('b')], settings, nowMs).methods.code.lockouts).toBe(2);
  });

  it('does not count failures from before an unlock that the state has honoured', () => {
    const state = withFailures({ unlockedAt: 5 });
    const before = failure('a');
    expect(merge(state, [before]).methods.code).toEqual(state.methods.code);
    expect(holdsClaim(state, before)).toBe(true);
  });

  it('voids what the state counted before an unlock that a claim has honoured', () => {
    const state = withFailures({ failures: 4, firstFailureAt: nowMs, lockedUntil: -1 });
    const after = merge(state, [failure('a', nowMs, 5)]);
    expect(after.methods.code).toMatchObject({ failures: 1, lockedUntil: 0, unlockedAt: 5 });
  });

  it('turns a stored approval of the same code into replayed, so it cannot be handed out again', () => {
    const state = approvedState('mine');
    const rival = merge(state, [approval('theirs', first, 7)]);
    expect(rival.attempts.map(({ reason }) => reason)).toEqual(['replayed', 'replayed']);
    expect(parseState(encodeState(rival))).toEqual(rival);
    expect(merge(state, [approval('mine', first, 7)]).attempts).toEqual(state.attempts);
    for (const other of [approval('theirs', first, 8), approval('theirs', second, 7)]) {
      expect(merge(state, [other]).attempts.every(({ approved }) => approved)).toBe(true);
    }
  });

  it('keeps the verdict for the attempt that was approved, and for no other', () => {
    const merged = merge(emptyState(), [approval('mine', first, 7)]);
    expect(findAttempt(merged, 'mine', nowMs + 9000)).toMatchObject({ approved: true });
    expect(findAttempt(merged, 'mine', nowMs + 10_000)).toBe(null);
    expect(findAttempt(merged, 'theirs', nowMs)).toBe(null);
  });

  it('says what a state holds', () => {
    const claims = [approval('a', first, 7), failure('b')];
    const state = emptyState();
    expect(claims.map((claim) => holdsClaim(state, claim))).toEqual([false, false]);
    const merged = merge(state, claims);
    expect(claims.map((claim) => holdsClaim(merged, claim))).toEqual([true, true]);
  });

  it('remembers 32 failures for an hour', () => {
    const forty = Array.from({ length: 40 }, (_, index) => failure(`claim ${index}`));
    const state = merge(emptyState(), forty);
    expect(Object.keys(state.merged).length).toBe(32);
    const hourLater = nowMs + 60 * MINUTE;
    const later = mergeClaims(state, [failure('x', hourLater)], defaultSettings, hourLater);
    expect(Object.keys(later.merged)).toEqual([shortId('x')]);
  });

  it('of a long outage keeps no question or bypass that is over, so the state still fits', () => {
    const claims = Array.from({ length: 200 }, (_, index): Claim => {
      const id = `attempt ${index}`;
      const at = nowMs - (200 - index) * MINUTE;
      const until = Math.ceil((at + 5 * MINUTE) / 1000);
      return { id, at, item: `challenge:${index}`, spent: shortId(id), until };
    });
    const merged = merge(emptyState(), claims);
    expect(Object.keys(merged.spent ?? {}).length).toBeLessThanOrEqual(6);
    expect(merge(merged, claims)).toBe(merged);
    encodeState(merged);
  });

  it('in any order, at once or one by one, gives the same state', () => {
    const random = seededRandom(3);
    for (let round = 0; round < ROUNDS; round += 1) {
      const state = randomState(random);
      const settings = randomSettings(random);
      const claims = randomClaims(random);
      const atOnce = canonical(mergeClaims(state, claims, settings, nowMs));
      expect(canonical(mergeClaims(state, shuffled(claims, random), settings, nowMs))).toEqual(
        atOnce,
      );
      let oneByOne = state;
      for (const claim of shuffled(claims, random)) {
        oneByOne = mergeClaims(oneByOne, [claim], settings, nowMs);
      }
      expect(canonical(oneByOne)).toEqual(atOnce);
    }
  });

  it('twice changes nothing, then or later', () => {
    const random = seededRandom(4);
    for (let round = 0; round < ROUNDS; round += 1) {
      const settings = randomSettings(random);
      const claims = randomClaims(random);
      const merged = mergeClaims(randomState(random), claims, settings, nowMs);
      const again = shuffled(claims, random);
      expect(mergeClaims(merged, again, settings, nowMs)).toBe(merged);
      expect(mergeClaims(merged, again, settings, nowMs + 59 * MINUTE)).toBe(merged);
    }
  });
});

describe('the maximum of two states', () => {
  it('is the same in any order and grouping, and of a state with itself', () => {
    const random = seededRandom(5);
    for (let round = 0; round < ROUNDS; round += 1) {
      const [a, b, c] = [randomState(random), randomState(random), randomState(random)];
      const ab = mergeStates(a, b);
      expect(canonical(ab)).toEqual(canonical(mergeStates(b, a)));
      expect(canonical(mergeStates(a, a))).toEqual(canonical(a));
      expect(canonical(mergeStates(ab, b))).toEqual(canonical(ab));
      expect(canonical(mergeStates(ab, c))).toEqual(canonical(mergeStates(a, mergeStates(b, c))));
    }
  });

  it('never accepts what either has accepted, and stays locked where either is', () => {
    const a = { ...withFailures({ lockedUntil: nowMs }), accepted: accepted(first, 9) };
    const b = { ...withFailures({ lockedUntil: -1 }), accepted: accepted(first, 8) };
    expect(mergeStates(a, b).accepted[first]?.[0]).toBe(9);
    expect(mergeStates(a, b).methods.code.lockedUntil).toBe(-1);
  });

  it('takes the counts of the one that has honoured the later unlock', () => {
    const a = withFailures({ lockedUntil: -1, failures: 4 });
    const b = withFailures({ unlockedAt: 5, failures: 1 });
    expect(mergeStates(a, b).methods.code).toEqual(b.methods.code);
  });

  it('denies both approvals of one code', () => {
    const merged = mergeStates(approvedState('mine'), approvedState('theirs'));
    expect(merged.attempts.map(({ reason }) => reason)).toEqual(['replayed', 'replayed']);
    const same = mergeStates(approvedState('mine'), approvedState('mine'));
    expect(same.attempts).toMatchObject([{ approved: true }]);
  });

  it('denies an attempt that either has denied', () => {
    const yes = approvedState('mine');
    const no = merge(yes, [approval('theirs', first, 7)]);
    for (const merged of [mergeStates(yes, no), mergeStates(no, yes)]) {
      expect(findAttempt(merged, 'mine', nowMs)).toMatchObject({ reason: 'replayed' });
    }
  });

  it('keeps fields of later versions from either', () => {
    const a = { ...emptyState(), later: 1 };
    const b = { ...emptyState(), methods: { code: noFailures, phone: { failures: 1 } } };
    expect(mergeStates(a, b)).toMatchObject({ later: 1, methods: { phone: { failures: 1 } } });
    expect(mergeStates(b, a)).toMatchObject({ later: 1, methods: { phone: { failures: 1 } } });
  });
});

describe('a claim', () => {
  it('reads back from JSON, and nothing else does', () => {
    for (const claim of [approval('a', first, 7), failure('b')]) {
      expect(parseClaim(JSON.parse(JSON.stringify(claim)))).toEqual(claim);
      expect(() => parseClaim({ ...claim, extra: 1 })).toThrow(ClaimError);
    }
    const random = seededRandom(6);
    for (let round = 0; round < 1000; round += 1) {
      expect(() => parseClaim(randomJson(random))).toThrow(ClaimError);
    }
  });
});

function merge(state: UserState, claims: Claim[]): UserState {
  return mergeClaims(state, claims, defaultSettings, nowMs);
}

function approval(id: string, authenticatorId: string, last: number): Claim {
  return { id, at: nowMs, authenticatorId, last, item: `totp:${authenticatorId}:${last}` };
}

function failure(id: string, at = nowMs, unlockedAt = 0): Claim {
  return { id, at, failure: true, unlockedAt };
}

function accepted(id: string, last: number): UserState['accepted'] {
  return { [id]: [last, nowMs / 1000] };
}

function withFailures(failures: Partial<MethodFailures>): UserState {
  return { ...emptyState(), methods: { code: { ...noFailures, ...failures } } };
}

function approvedState(attemptId: string): UserState {
  return {
    ...emptyState(),
    accepted: accepted(first, 7),
    attempts: [
      {
        id: shortId(attemptId),
        key: null,
        approved: true,
        reason: null,
        item: `totp:${first}:7`,
        at: nowMs,
      },
    ],
  };
}

// Small ranges, so that ids, items and positions meet often.
function randomClaims(random: Random): Claim[] {
  return Array.from({ length: random(30) }, () => {
    const id = `claim ${random(60)}`;
    // What an id stands for is fixed: one attempt has one outcome.
    const number = Number(id.slice(6));
    if (number >= 40) return randomOtherClaim(id, number);
    if (number % 3 === 0) {
      return { ...approval(id, number % 2 ? first : second, number % 5), at: nowMs - number };
    }
    const failed = failure(id, nowMs - number * MINUTE, number % 7 === 0 ? 5 : 0);
    if (number % 3 === 1) return failed;
    return { ...failed, answered: [shortId(`${number % 3}`), nowMs / 1000 + 60] };
  });
}

/** Of a challenge or bypass (some long over), a recovery code, a text, or a wrong PIN. */
function randomOtherClaim(id: string, number: number): Claim {
  const at = nowMs - number;
  const denied = number % 8 === 0 ? { denied: true as const } : {};
  if (number % 4 === 0) {
    const of = number % 3;
    const until = nowMs / 1000 + [300, 60, -600][of]!;
    return { id, at, item: `challenge:${of}`, spent: shortId(`${of}`), until, ...denied };
  }
  if (number % 4 === 1) {
    const [generation, recovery] = [1 + (number % 3), number % 5];
    return { id, at, item: `recovery:${generation}:${recovery}`, recovery, generation, ...denied };
  }
  if (number % 4 === 2) return { id, at: nowMs - (number % 3) * 1000, text: true };
  return { ...failure(id, at, number % 7 === 0 ? 5 : 0), factor: 'pin' };
}

function randomState(random: Random): UserState {
  const attempts = [0, 1, 2]
    .filter(() => random(2) === 1)
    .map(() => {
      const number = random(12) * 3;
      return {
        id: shortId(`claim ${number}`),
        key: null,
        approved: true,
        reason: null,
        item: `totp:${number % 2 ? first : second}:${number % 5}`,
        at: nowMs - number,
      };
    });
  const failures = random(5);
  return {
    ...emptyState(),
    accepted: random(2) ? accepted(first, random(8)) : accepted(second, random(8)),
    methods: {
      code: {
        failures,
        firstFailureAt: failures === 0 ? 0 : nowMs - random(20) * MINUTE,
        lockedUntil: [0, -1, nowMs + random(100) * MINUTE][random(3)] ?? 0,
        lockouts: random(4),
        consecutive: failures + random(95),
        unlockedAt: random(3) * 3,
      },
    },
    lastWrong: random(2) ? null : { hmac: `h${random(3)}`, client: 'c', step: 1, at: random(3) },
    attempts: [...new Map(attempts.map((attempt) => [attempt.id, attempt])).values()]
      .filter(({ item }, index, all) => all.findIndex((one) => one.item === item) === index)
      .toSorted((a, b) => a.at - b.at || (a.id < b.id ? -1 : 1)),
    merged: random(2) ? {} : { [shortId(`claim ${random(40)}`)]: nowMs / 1000 - random(100) },
    ...(random(2) && { resyncs: { [first]: [random(3), random(3)] as [number, number] } }),
    ...(random(2) && { spent: randomSpent(random) }),
    ...(random(2) && { recovery: [random(3), random(32)] as [number, number] }),
    ...(random(2) && { texts: randomTexts(random) }),
    ...(random(2) && { caches: randomCaches(random) }),
  };
}

function randomSpent(random: Random): NonNullable<UserState['spent']> {
  const key = shortId(`${random(3)}`);
  const end = ([0, 1, 2] as const)[random(3)]!;
  return { [key]: [nowMs / 1000 + random(900) - 450, random(4), end] };
}

/** Also several within a second. */
function randomTexts(random: Random): number[] {
  const texts = Array.from({ length: random(6) }, () => nowMs / 1000 - random(4));
  return texts.toSorted((a, b) => a - b);
}

function randomCaches(random: Random): [string, number][] {
  const keys = [0, 1, 2, 3, 4, 5].filter(() => random(2) === 1);
  const caches = keys.map((key) => [`k${key}`, nowMs / 1000 + random(5)] as [string, number]);
  return caches.toSorted((a, b) => a[1] - b[1] || (a[0] < b[0] ? -1 : 1));
}

function randomSettings(random: Random): Settings {
  const { lockout } = defaultSettings;
  const chosen = { failures: 1 + random(6), resetMinutes: 1 + random(60), releaseMinutes: 10 };
  return { ...defaultSettings, lockout: { ...lockout, ...chosen } };
}

/** Without the order of keys, which means nothing. */
function canonical(state: UserState): unknown {
  return {
    ...state,
    accepted: new Map(Object.entries(state.accepted)),
    merged: new Map(Object.entries(state.merged)),
    ...(state.spent && { spent: new Map(Object.entries(state.spent)) }),
    ...(state.resyncs && { resyncs: new Map(Object.entries(state.resyncs)) }),
  };
}
