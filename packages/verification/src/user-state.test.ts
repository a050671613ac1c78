import { describe, expect, it } from 'vitest';
import { randomJson, seededRandom } from './seeded-random.ts';
import {
  ACCEPTED_MAX,
  CACHES_MAX,
  SPENT_MAX,
  StateError,
  TEXTS_MAX,
  USER_STATE_MAX_BYTES,
  emptyState,
  encodeState,
  findAttempt,
  parseState,
  pruneAccepted,
  shortId,
  unexpiredSpent,
} from './user-state.ts';
import type { Spent, UserState } from './user-state.ts';
import { ASKED_MAX, WAITS_KEPT_MAX } from './waits.ts';

const nowMs = 1_750_000_000_000;

describe('a user state', () => {
  it('reads back as it was written', () => {
    for (const state of [emptyState(), fullestState(20)]) {
      expect(parseState(encodeState(state))).toEqual(state);
    }
  });

  it('keeps fields of later versions, also inside', () => {
    const later = {
      ...emptyState(),
      recoveryCodes: ['used'],
      methods: { code: { ...emptyState().methods.code, extra: 1 }, phone: { failures: 2 } },
    };
    const text = Buffer.from(encodeState(parseState(Buffer.from(JSON.stringify(later)))));
    expect(JSON.parse(text.toString())).toEqual(later);
  });

  it('of a version that is not known is refused', () => {
    const bytes = Buffer.from(JSON.stringify({ ...emptyState(), v: 2 }));
    expect(() => parseState(bytes)).toThrow(StateError);
  });

  it('that is damaged is refused with a StateError and nothing else', () => {
    const random = seededRandom(2);
    const good = encodeState(fullestState(2));
    for (let length = 0; length < good.length; length += 1) {
      expect(() => parseState(good.subarray(0, length))).toThrow(StateError);
    }
    const errors: unknown[] = [];
    for (let round = 0; round < 2000; round += 1) {
      const noise = Uint8Array.from({ length: random(100) }, () => random(256));
      expect(() => parseState(noise)).toThrow(StateError);
      const fields = Object.keys(emptyState());
      const field = fields[random(fields.length)] ?? 'v';
      const value = { ...emptyState(), [field]: randomJson(random) };
      errors.push(errorOf(() => parseState(Buffer.from(JSON.stringify(value)))));
      const flipped = Uint8Array.from(good);
      flipped[random(good.length)] = random(256);
      errors.push(errorOf(() => parseState(flipped)));
    }
    expect(errors.filter((error) => error !== null && !(error instanceof StateError))).toEqual([]);
    expect(() => parseState(new Uint8Array(USER_STATE_MAX_BYTES + 1))).toThrow('too large');
  });

  it('never holds an approval with a reason, or a denial without', () => {
    const [attempt] = fullestState(1).attempts;
    for (const wrong of [
      { ...attempt, approved: true, reason: 'wrong_code' },
      { ...attempt, approved: false, reason: null },
    ]) {
      const bytes = Buffer.from(JSON.stringify({ ...emptyState(), attempts: [wrong] }));
      expect(() => parseState(bytes)).toThrow('attempts');
    }
  });
});

describe('the size of a user state', () => {
  it('stays within 4096 bytes at its fullest with 20 authenticators, with nothing dropped', () => {
    const state = fullestState(20);
    const bytes = encodeState(state);
    expect(bytes.length).toBeLessThanOrEqual(USER_STATE_MAX_BYTES);
    expect(parseState(bytes)).toEqual(state);
  });

  it('gives up attempts and merged ids before what was accepted, the locks or unknown fields', () => {
    const state = { ...fullestState(30), later: 'x'.repeat(800) };
    const bytes = encodeState(state);
    expect(bytes.length).toBeLessThanOrEqual(USER_STATE_MAX_BYTES);
    const kept = parseState(bytes);
    expect(kept.accepted).toEqual(state.accepted);
    expect(kept.methods).toEqual(state.methods);
    expect(kept).toHaveProperty('later', state.later);
    expect(kept.attempts).toEqual(state.attempts.slice(-1));
  });

  it('holds everything that a judge may fill it with, but for what may go', () => {
    const { attempts, ...rest } = fullestState(ACCEPTED_MAX);
    const spent = Array.from({ length: SPENT_MAX }, (_, index) => [shortId(`${index}`), full()]);
    const pin = { ...rest.methods.code };
    const state: UserState = {
      ...rest,
      methods: { ...rest.methods, pin },
      attempts,
      resyncs: { [Object.keys(rest.accepted)[0]!]: [2 ** 48, nowMs / 1000] },
      spent: Object.fromEntries(spent),
      recovery: [nowMs / 1000, 0xffff],
      texts: Array.from({ length: TEXTS_MAX }, (_, index) => nowMs / 1000 + index),
      waits: Array.from({ length: WAITS_KEPT_MAX }, (_, index) => {
        return [shortId(`${index}`), nowMs / 1000, 2, shortId('attempt'), 'holder12'];
      }),
      askedElsewhere: Array.from({ length: ASKED_MAX }, (_, index) => nowMs / 1000 + index),
      caches: Array.from({ length: CACHES_MAX }, (_, index) => [`${index}`.repeat(43), nowMs]),
    };
    const kept = parseState(encodeState(state));
    for (const field of [
      'accepted',
      'methods',
      'spent',
      'recovery',
      'texts',
      'waits',
      'askedElsewhere',
    ] as const) {
      expect(kept[field]).toEqual(state[field]);
    }
    expect(kept.attempts).toEqual(attempts.slice(-1));

    function full(): Spent {
      return [nowMs / 1000, 3, 2];
    }
  });

  it('is an error where even that does not fit', () => {
    expect(() => encodeState(fullestState(70))).toThrow(StateError);
  });

  it('keeps accepted codes of at most 24 authenticators, the known ones and the latest', () => {
    const { accepted } = fullestState(40);
    const ids = Object.keys(accepted);
    const known = new Set(ids.slice(0, 20));
    const kept = Object.keys(pruneAccepted(accepted, known));
    expect(kept).toEqual([...ids.slice(0, 20), ...ids.slice(36)]);
    const most = fullestState(ACCEPTED_MAX).accepted;
    expect(pruneAccepted(most, new Set())).toEqual(most);
  });
});

describe('what is used up', () => {
  it('is kept until it is over by the slowest clock too, also by a node with the fastest', () => {
    const until = nowMs / 1000;
    const spent = { [shortId('a')]: [until, 0, 1] as Spent };
    const fastest = 20_000;
    // By the slowest clock it ends 20 s later, and asked again 10 s later once more.
    for (const lateMs of [0, 29_999]) {
      expect(unexpiredSpent(spent, nowMs + lateMs + fastest)).toEqual(spent);
    }
    expect(unexpiredSpent(spent, nowMs + 60_000)).toEqual({});
  });
});

describe('a recorded attempt', () => {
  it('is found for 10 s, also by a node whose clock is a little behind', () => {
    const id = 'attempt';
    const [attempt] = fullestState(1).attempts;
    if (!attempt) throw new Error('the fullest state has attempts');
    const state = { ...emptyState(), attempts: [{ ...attempt, id: shortId(id), at: nowMs }] };
    expect(findAttempt(state, id, nowMs + 9_999)?.at).toBe(nowMs);
    expect(findAttempt(state, id, nowMs - 19_999)?.at).toBe(nowMs);
    expect(findAttempt(state, id, nowMs + 10_000)).toBeNull();
    expect(findAttempt(state, id, nowMs - 20_000)).toBeNull();
    expect(findAttempt(state, 'another', nowMs)).toBeNull();
  });
});

function errorOf(act: () => unknown): unknown {
  try {
    act();
  } catch (error) {
    return error;
  }
  return null;
}

function fullestState(authenticators: number): UserState {
  const ids = Array.from(
    { length: authenticators },
    (_, index) => `0190a1b2-c3d4-7e5f-8a9b-${String(index).padStart(12, '0')}`,
  );
  const seconds = nowMs / 1000;
  return {
    v: 1,
    accepted: Object.fromEntries(ids.map((id, index) => [id, [2 ** 48 + 9, seconds + index]])),
    methods: {
      code: {
        failures: 99,
        firstFailureAt: nowMs,
        lockedUntil: nowMs,
        lockouts: 99,
        consecutive: 99,
        unlockedAt: nowMs,
      },
    },
    lastWrong: { hmac: shortId('h'), client: shortId('c'), step: 58_333_333, at: nowMs },
    attempts: Array.from({ length: 8 }, (_, index) => ({
      id: shortId(`attempt ${index}`),
      key: shortId(`key ${index}`),
      approved: true,
      reason: null,
      item: `hotp:${ids[0]}:${2 ** 48 + 9}`,
      at: nowMs + index,
    })),
    merged: Object.fromEntries(
      Array.from({ length: 32 }, (_, index) => [shortId(`claim ${index}`), seconds]),
    ),
  };
}
