import { describe, expect, it } from 'vitest';
import type { OathAuthenticator, UserDocument } from './documents.ts';
import { parseClaim } from './claims.ts';
import { askPassword, challengeOutcome, judgeStep, settlePassword } from './judge-step.ts';
import type { Judgement, StepInput } from './judge-step.ts';
import { mergeClaims } from './merge-claims.ts';
import { asksPin, FRONT_DOORS, METHOD_TABLE } from './methods.ts';
import type { FrontDoor, MethodRow } from './methods.ts';
import { hotp, totpStep } from './otp.ts';
import { seededRandom } from './seeded-random.ts';
import { defaultSettings, settingsFor } from './settings.ts';
import { emptyState, encodeState, noFailures, parseState, SPENT_MAX } from './user-state.ts';
import type { Spent, UserState } from './user-state.ts';

const MINUTE = 60_000;
const start = Date.parse('2025-06-01T12:00:00.000Z');
const createdAt = '2025-01-01T00:00:00.000Z';
const secret = Buffer.from('12345678901234567890');
const otherSecret = Buffer.from('abcdefghijklmnopqrst');

const totp: OathAuthenticator = {
  type: 'totp',
  id: '00000000-0000-4000-8000-000000000001',
  algorithm: 'SHA1',
  digits: 6,
  periodSeconds: 30,
  sealedSecret: 'AQID',
  createdAt,
};
const hotpToken: OathAuthenticator = {
  type: 'hotp',
  id: '00000000-0000-4000-8000-000000000002',
  algorithm: 'SHA1',
  digits: 6,
  initialCounter: 5,
  sealedSecret: 'AQID',
  createdAt,
};
const alice: UserDocument = {
  id: '00000000-0000-4000-8000-0000000000aa',
  username: 'alice',
  enabled: true,
  blocked: null,
  unlockedAt: null,
  authenticators: [totp],
  createdAt,
  updatedAt: createdAt,
};
const withToken: UserDocument = { ...alice, authenticators: [hotpToken] };
const WRONG = '000000';

const approved = { approved: true };
const denied = (reason: string) => ({ approved: false, reason });

describe('a TOTP code', () => {
  it('is approved for the step before, the present and the next one, each recorded', () => {
    for (const offset of [-1, 0, 1]) {
      const judgement = judge({ code: totpCode(offset) });
      const step = totpStep(start, 30) + offset;
      expect(judgement).toMatchObject({
        kind: 'record',
        verdict: approved,
        item: `totp:${totp.id}:${step}`,
        claim: { at: start, authenticatorId: totp.id, last: step },
        next: { accepted: { [totp.id]: [step, start / 1000] } },
      });
    }
  });

  it('is wrong two steps away', () => {
    for (const offset of [-2, 2]) {
      expect(judge({ code: totpCode(offset) })).toMatchObject({
        kind: 'record',
        verdict: denied('wrong_code'),
      });
    }
  });

  it('is accepted once: the second judge sees it used, and counts nothing', () => {
    const first = judge({ code: totpCode(0) });
    expect(judge({ code: totpCode(0), state: nextOf(first) })).toEqual({
      kind: 'final',
      verdict: denied('replayed'),
    });
  });

  it('of an earlier step is replayed once a later one was accepted', () => {
    const first = judge({ code: totpCode(1) });
    for (const offset of [-1, 0, 1]) {
      expect(judge({ code: totpCode(offset), state: nextOf(first) })).toMatchObject({
        kind: 'final',
        verdict: denied('replayed'),
      });
    }
  });

  it('of a later step is approved after an earlier one', () => {
    const first = judge({ code: totpCode(0) });
    expect(judge({ code: totpCode(1), state: nextOf(first) }).kind).toBe('record');
  });

  it('judged by two nodes on one state is recorded for the same item, so one of them loses', () => {
    const [one, two] = [judge({ code: totpCode(0) }), judge({ code: totpCode(0) })];
    expect(itemOf(one)).toBe(itemOf(two));
    // The loser reads the winner's state and judges again.
    expect(judge({ code: totpCode(0), state: nextOf(one) })).toMatchObject({
      verdict: denied('replayed'),
    });
  });

  it('is judged by its algorithm, digits and period', () => {
    const authenticator: OathAuthenticator = {
      ...totp,
      algorithm: 'SHA512',
      digits: 8,
      periodSeconds: 60,
    };
    const user = { ...alice, authenticators: [authenticator] };
    const code = hotp(secret, totpStep(start, 60), { algorithm: 'SHA512', digits: 8 });
    expect(judge({ user, code })).toMatchObject({ verdict: approved });
    expect(judge({ user, code: totpCode(0) })).toMatchObject({ verdict: denied('wrong_code') });
  });

  it('never lies beyond the step after the cluster’s median clock', () => {
    const ahead = { code: totpCode(1), medianNowMs: start - 20_000 };
    expect(judge(ahead)).toMatchObject({ verdict: denied('wrong_code') });
    expect(judge({ ...ahead, code: totpCode(0) })).toMatchObject({ verdict: approved });
    expect(judge({ ...ahead, medianNowMs: start + 60_000 })).toMatchObject({ verdict: approved });
    expect(judge({ code: totpCode(2), medianNowMs: start + 60_000 })).toMatchObject({
      verdict: denied('wrong_code'),
    });
  });
});

describe('an HOTP code', () => {
  it('is looked for from the initial counter, ten ahead and no further', () => {
    const user = withToken;
    for (const counter of [5, 14]) {
      expect(judge({ user, code: hotpCode(counter) })).toMatchObject({
        verdict: approved,
        item: `hotp:${hotpToken.id}:${counter}`,
        next: { accepted: { [hotpToken.id]: [counter, start / 1000] } },
      });
    }
    for (const counter of [4, 15]) {
      expect(judge({ user, code: hotpCode(counter) })).toMatchObject({
        kind: 'record',
        verdict: denied('wrong_code'),
      });
    }
  });

  it('is looked for from the last accepted counter afterwards', () => {
    const state = nextOf(judge({ user: withToken, code: hotpCode(14) }));
    for (const counter of [15, 24]) {
      const judgement = judge({ user: withToken, state, code: hotpCode(counter) });
      expect(judgement).toMatchObject({ verdict: approved, claim: { last: counter } });
    }
    expect(judge({ user: withToken, state, code: hotpCode(25) })).toMatchObject({
      verdict: denied('wrong_code'),
    });
  });

  it('of the last ten counters is replayed and never counts; an older one is wrong', () => {
    const state = acceptedState(hotpToken.id, 30);
    for (const counter of [21, 29, 30]) {
      expect(judge({ user: withToken, state, code: hotpCode(counter) })).toEqual({
        kind: 'final',
        verdict: denied('replayed'),
      });
    }
    expect(judge({ user: withToken, state, code: hotpCode(20) })).toMatchObject({
      kind: 'record',
      verdict: denied('wrong_code'),
    });
  });

  it('follows an initial counter that was moved far ahead', () => {
    const user = {
      ...alice,
      authenticators: [{ ...hotpToken, initialCounter: 2 ** 40 }],
    } satisfies UserDocument;
    const state = acceptedState(hotpToken.id, 30);
    expect(judge({ user, state, code: hotpCode(31) })).toMatchObject({
      verdict: denied('wrong_code'),
    });
    expect(judge({ user, state, code: hotpCode(2 ** 40 + 9) })).toMatchObject({
      verdict: approved,
    });
    expect(judge({ user, state, code: hotpCode(30) })).toMatchObject({
      verdict: denied('replayed'),
    });
  });
});

describe('a user with several authenticators', () => {
  const both: UserDocument = { ...alice, authenticators: [totp, hotpToken] };
  const secrets = new Map([
    [totp.id, secret],
    [hotpToken.id, otherSecret],
  ]);

  it('may use any of them, and each remembers its own', () => {
    const first = judge({ user: both, secrets, code: totpCode(0) });
    const second = judge({
      user: both,
      secrets,
      state: nextOf(first),
      code: hotpCode(5, otherSecret),
    });
    expect(Object.keys(nextOf(second).accepted)).toEqual([totp.id, hotpToken.id]);
  });

  it('pays one failure for a wrong code', () => {
    const judgement = judge({ user: both, secrets, code: WRONG });
    expect(nextOf(judgement).methods.code).toMatchObject({ failures: 1, consecutive: 1 });
  });

  it('cannot use one code twice because two of them share a seed', () => {
    const twin = { ...totp, id: '00000000-0000-4000-8000-000000000003' };
    const user = { ...alice, authenticators: [totp, twin] };
    const shared = new Map([
      [totp.id, secret],
      [twin.id, secret],
    ]);
    const first = judge({ user, secrets: shared, code: totpCode(0) });
    expect(first).toMatchObject({ verdict: approved });
    expect(judge({ user, secrets: shared, state: nextOf(first), code: totpCode(0) })).toEqual({
      kind: 'final',
      verdict: denied('replayed'),
    });
  });

  it('is judged by those whose secret could be opened, and denied when there are none', () => {
    const one = new Map([[hotpToken.id, otherSecret]]);
    const code = hotpCode(5, otherSecret);
    expect(judge({ user: both, secrets: one, code })).toMatchObject({ verdict: approved });
    const none = { kind: 'final', verdict: denied('no_method') };
    expect(judge({ user: both, secrets: new Map(), code })).toEqual(none);
    expect(judge({ user: { ...alice, authenticators: [] }, code })).toEqual(none);
  });
});

describe('a user who may not sign in', () => {
  it('is denied with nothing recorded, whatever the code', () => {
    for (const code of [totpCode(0), WRONG]) {
      expect(judge({ user: { ...alice, enabled: false }, code })).toEqual({
        kind: 'final',
        verdict: denied('disabled'),
      });
      expect(judge({ user: blockedUntil(start + 1), code })).toEqual({
        kind: 'final',
        verdict: denied('blocked'),
      });
    }
  });

  it('may again when the block has ended', () => {
    expect(judge({ user: blockedUntil(start), code: totpCode(0) })).toMatchObject({
      verdict: approved,
    });
  });

  function blockedUntil(expiresMs: number): UserDocument {
    const expiresAt = new Date(expiresMs).toISOString();
    return { ...alice, blocked: { reason: 'lost', at: createdAt, by: 'admin', expiresAt } };
  }
});

describe('the same attempt again', () => {
  it('gets its own verdict for 10 s, also where the code is used up or the user now locked', () => {
    const yes = judge({ code: totpCode(0), attemptId: 'one' });
    const no = judge({ code: WRONG, attemptId: 'two', state: nextOf(yes) });
    const state = nextOf(no);
    const again = { state, code: totpCode(0), attemptId: 'one' };
    expect(judge({ ...again, nowMs: start + 9_999 })).toEqual({
      kind: 'final',
      verdict: approved,
    });
    expect(judge({ ...again, user: { ...alice, enabled: false } })).toMatchObject({
      verdict: approved,
    });
    expect(judge({ state, code: WRONG, attemptId: 'two', nowMs: start + 5_000 })).toEqual({
      kind: 'final',
      verdict: denied('wrong_code'),
    });
    expect(judge({ ...again, nowMs: start + 10_000 })).toEqual({
      kind: 'final',
      verdict: denied('replayed'),
    });
  });

  it('with the same idempotency key and other content is a conflict', () => {
    const state = nextOf(judge({ code: totpCode(0), attemptId: 'one', keyHash: 'key' }));
    const other = { code: totpCode(1), attemptId: 'two', state };
    expect(judge({ ...other, keyHash: 'key' })).toEqual({ kind: 'conflict' });
    expect(judge({ ...other, keyHash: 'other key' })).toMatchObject({ verdict: approved });
    expect(judge({ ...other, keyHash: null })).toMatchObject({ verdict: approved });
    expect(judge({ ...other, keyHash: 'key', nowMs: start + 10_000 })).toMatchObject({
      verdict: approved,
    });
    expect(judge({ ...other, attemptId: 'one', keyHash: 'key' })).toMatchObject({
      kind: 'final',
      verdict: approved,
    });
  });

  it('finds the newest eight attempts, none older than 10 s', () => {
    const user = withToken;
    const state = run(
      Array.from({ length: 9 }, (_, index) => ({ user, code: hotpCode(5 + index) })),
    );
    expect(state.attempts.length).toBe(8);
    const later = judge({ user, state, code: hotpCode(20), nowMs: start + 10_008 });
    expect(nextOf(later).attempts.length).toBe(1);
  });
});

describe('a wrong code', () => {
  it('is recorded as one failure, with a claim for a merge', () => {
    const judgement = judge({ code: WRONG, attemptId: 'one' });
    expect(judgement).toMatchObject({
      kind: 'record',
      verdict: denied('wrong_code'),
      item: null,
      claim: { id: 'one', at: start, failure: true, unlockedAt: 0 },
    });
    expect(nextOf(judgement).methods.code).toEqual({
      failures: 1,
      firstFailureAt: start,
      lockedUntil: 0,
      lockouts: 0,
      consecutive: 1,
      unlockedAt: 0,
    });
  });

  it('is not counted again by a claim its own attempt left behind', () => {
    const judgement = judge({ code: WRONG });
    if (judgement.kind !== 'record') throw new Error('a wrong code is recorded');
    const { next, claim } = judgement;
    expect(mergeClaims(next, [claim], defaultSettings, start + MINUTE)).toBe(next);
  });

  it.each(['', '12345', '1234567', 'abcdef', '12345a', ' 755224', '٠١٢٣٤٥', '9'.repeat(10_000)])(
    'may be anything: "%.20s" counts',
    (code) => {
      expect(judge({ code })).toMatchObject({ kind: 'record', verdict: denied('wrong_code') });
    },
  );

  it('that is identical counts once within its step from the same client', () => {
    const state = nextOf(judge({ code: WRONG }));
    const again = { code: WRONG, state };
    const once = { kind: 'final', verdict: denied('wrong_code') };
    expect(judge(again)).toEqual(once);
    expect(judge({ ...again, nowMs: start + 29_999 })).toEqual(once);
    expect(judge({ ...again, nowMs: start + 30_000 }).kind).toBe('record');
    expect(judge({ ...again, client: 'another' }).kind).toBe('record');
    expect(judge({ ...again, code: '000001' }).kind).toBe('record');
  });

  it('that alternates with another counts every time', () => {
    const codes = [WRONG, '000001', WRONG, '000001'];
    expect(run(codes.map((code) => ({ code }))).methods.code.failures).toBe(4);
  });

  it('that is identical counts every time for a user with no TOTP', () => {
    const state = run([WRONG, WRONG].map((code) => ({ user: withToken, code })));
    expect(state.methods.code.failures).toBe(2);
  });
});

describe('a lockout', () => {
  it('begins with the failure that reaches the limit, which is itself a wrong code', () => {
    const four = run(wrongCodes(4));
    expect(judge({ state: four, code: totpCode(0) })).toMatchObject({ verdict: approved });
    const fifth = judge({ state: four, code: 'fifth' });
    expect(fifth).toMatchObject({ kind: 'record', verdict: denied('wrong_code') });
    const state = nextOf(fifth);
    expect(state.methods.code.lockedUntil).toBe(start + 10 * MINUTE);
    for (const code of [totpCode(0), WRONG]) {
      expect(judge({ state, code })).toEqual({ kind: 'final', verdict: denied('locked_out') });
    }
  });

  it('ends by itself', () => {
    const state = run(wrongCodes(5));
    const nowMs = start + 10 * MINUTE;
    const code = hotp(secret, totpStep(nowMs, 30), totp);
    expect(judge({ state, code, nowMs: nowMs - 1 })).toMatchObject({
      verdict: denied('locked_out'),
    });
    expect(judge({ state, code, nowMs })).toMatchObject({ verdict: approved });
  });

  it('gives the whole limit again when it ends, and lasts twice as long the next time', () => {
    let state = emptyState();
    let nowMs = start;
    const minutes: number[] = [];
    for (let lockout = 0; lockout < 10; lockout += 1) {
      state = run(
        wrongCodes(5).map((code) => ({ ...code, nowMs })),
        state,
      );
      minutes.push((state.methods.code.lockedUntil - nowMs) / MINUTE);
      nowMs = state.methods.code.lockedUntil;
    }
    expect(minutes).toEqual([10, 20, 40, 80, 160, 320, 640, 1280, 1440, 1440]);
  });

  it('does not come from failures further apart than the reset time', () => {
    let state = run(wrongCodes(4));
    const late = start + 10 * MINUTE;
    state = run([{ code: 'late', nowMs: late }], state);
    expect(state.methods.code).toMatchObject({
      failures: 1,
      firstFailureAt: late,
      consecutive: 5,
      lockedUntil: 0,
    });
    const inTime = run([{ code: 'in time', nowMs: late - 1 }], run(wrongCodes(4)));
    expect(inTime.methods.code.lockedUntil).toBeGreaterThan(0);
  });

  it('is forgotten with all counts after a success', () => {
    const state = run([...wrongCodes(4), { code: totpCode(0) }]);
    expect(state.methods.code).toEqual(emptyState().methods.code);
  });

  it('lasts until an administrator unlocks after 100 failures in a row', () => {
    let state = emptyState();
    let nowMs = start;
    for (let index = 0; index < 100; index += 1) {
      expect(state.methods.code.lockedUntil).toBe(0);
      state = run([{ code: `wrong ${index}`, nowMs }], state);
      nowMs += 10 * MINUTE;
    }
    expect(state.methods.code.lockedUntil).toBe(-1);
    expect(judge({ state, code: totpCode(0), nowMs: nowMs + 1e12 })).toMatchObject({
      verdict: denied('locked_out'),
    });
    const unlockedAt = new Date(nowMs).toISOString();
    expect(judge({ state, code: totpCode(0), user: { ...alice, unlockedAt } })).toMatchObject({
      verdict: approved,
    });
  });

  it('follows a limit that was lowered, at the next failure', () => {
    const settings = {
      ...defaultSettings,
      lockout: { ...defaultSettings.lockout, failures: 2 },
    };
    const state = run(wrongCodes(4));
    expect(judge({ state, code: totpCode(0), settings })).toMatchObject({ verdict: approved });
    expect(nextOf(judge({ state, code: 'x', settings })).methods.code.lockedUntil).not.toBe(0);
  });
});

describe('an administrator’s unlock', () => {
  it('voids lock and failures once, even where this node’s clock is behind the administrator’s', () => {
    const user = { ...alice, unlockedAt: new Date(start + 15_000).toISOString() };
    const state = run(wrongCodes(5));
    expect(judge({ state, code: totpCode(0), user })).toMatchObject({ verdict: approved });
    const again = run(
      wrongCodes(5).map((wrong) => ({ ...wrong, user })),
      state,
    );
    expect(again.methods.code.unlockedAt).toBe(start + 15_000);
    expect(judge({ state: again, code: totpCode(0), user })).toMatchObject({
      verdict: denied('locked_out'),
    });
  });

  it('is used up by a success too', () => {
    const user = { ...alice, unlockedAt: new Date(start).toISOString() };
    const state = run([
      { code: totpCode(0), user },
      ...wrongCodes(5).map((ask) => ({ ...ask, user })),
    ]);
    expect(judge({ state, code: totpCode(1), user })).toMatchObject({
      verdict: denied('locked_out'),
    });
    const signedIn = nextOf(judge({ code: totpCode(0), user }));
    expect(signedIn.methods.code).toEqual({ ...noFailures, unlockedAt: start });
  });
});

describe('a password, where a directory holds the first factor', () => {
  const right = { kind: 'right' } as const;
  const wrong = { kind: 'wrong' } as const;
  const limit = defaultSettings.lockout.passwordFailures;
  const typed = (password: StepInput['password']) => ({ code: totpCode(0), password });

  it('that is right leaves the code to be judged as ever', () => {
    expect(judge(typed(right))).toMatchObject({ kind: 'record', verdict: approved });
    expect(judge({ code: WRONG, password: right })).toMatchObject({
      verdict: denied('wrong_code'),
    });
  });

  it('that is wrong costs itself, and leaves a right code good', () => {
    const judgement = judge(typed(wrong));
    expect(judgement).toMatchObject({ kind: 'record', verdict: denied('wrong_password') });
    const { methods, accepted } = nextOf(judgement);
    expect(methods).toMatchObject({ code: noFailures, password: { failures: 1 } });
    expect(accepted).toEqual({});
    expect(judge({ ...typed(right), state: nextOf(judgement), attemptId: 'next' })).toMatchObject({
      verdict: approved,
    });
  });

  it('goes before whatever skips the second step', () => {
    const until = new Date(start + MINUTE).toISOString();
    const exempt = { reason: 'ill', at: createdAt, by: 'admin', until };
    const user: UserDocument = { ...alice, exempt };
    const step = (password: StepInput['password']) => judge({ user, code: null, password });
    expect(step(right)).toMatchObject({ verdict: { approved: true, skipped: 'exempt' } });
    expect(step(wrong)).toMatchObject({ verdict: denied('wrong_password') });
    expect(step({ kind: 'refused', reason: 'directory_unavailable' })).toEqual({
      kind: 'final',
      verdict: denied('directory_unavailable'),
    });
  });

  it('is not asked about any more after its limit, right or wrong, and again after its minutes', () => {
    const state = run(
      Array.from({ length: limit }, (_, index) => ({ ...typed(wrong), attemptId: `try ${index}` })),
    );
    for (const password of [right, wrong]) {
      expect(judge({ ...typed(password), state, attemptId: 'late' })).toEqual({
        kind: 'final',
        verdict: denied('password_locked'),
      });
    }
    // Who shows no password is not in that lockout.
    expect(judge({ code: totpCode(0), state, attemptId: 'none' })).toMatchObject({
      verdict: approved,
    });
    const nowMs = start + defaultSettings.lockout.passwordMinutes * MINUTE;
    const code = hotp(secret, totpStep(nowMs, 30), { algorithm: 'SHA1', digits: 6 });
    const later = judge({ code, password: right, state, nowMs, attemptId: 'later' });
    expect(later).toMatchObject({ verdict: approved });
    expect(nextOf(later).methods.password).toEqual(noFailures);
  });

  it('without the quorum has its share of the limit on each node', () => {
    const share = (password: number) =>
      judge({ ...typed(right), withoutQuorum: { knownNodes: 2, localFailures: { password } } });
    expect(share(1)).toMatchObject({ verdict: approved });
    expect(share(2)).toMatchObject({ verdict: denied('password_locked') });
  });

  /** The state once so many passwords are asked for that are not answered. */
  const asking = (count: number): UserState =>
    Array.from({ length: count }).reduce<UserState>((state, _, index) => {
      const next = askPassword(inputOf({ code: null, state, attemptId: `ask ${index}` }));
      if (!next) throw new Error(`ask ${index} is refused`);
      return parseState(encodeState(next));
    }, emptyState());

  it('that is being asked for counts until it is answered, so that none can be guessed beside it', () => {
    const state = asking(limit);
    const more = (nowMs: number) =>
      askPassword(inputOf({ code: null, state, attemptId: 'more', nowMs }));
    expect(more(start)).toBeNull();
    // Whoever asked died: then it counts as long as a wrong one.
    expect(more(start + (defaultSettings.lockout.passwordMinutes - 1) * MINUTE)).toBeNull();
    expect(more(start + (defaultSettings.lockout.passwordMinutes + 1) * MINUTE)).not.toBeNull();
    // The answers to those that were asked in time are judged all the same.
    const first = judge({ ...typed(right), state, attemptId: 'ask 0' });
    expect(first).toMatchObject({ verdict: approved });
    expect(nextOf(first).passwordAsks).toHaveLength(limit - 1);
    const wrongs = Array.from({ length: limit }, (_, index) => `ask ${index}`).reduce(
      (before, attemptId) => nextOf(judge({ ...typed(wrong), state: before, attemptId })),
      state,
    );
    expect(wrongs.passwordAsks).toBeUndefined();
    expect(wrongs.methods.password).toMatchObject({ lockouts: 1, consecutive: limit });
  });

  it('costs nothing where the directory did not hear it, and one failure where it may have', () => {
    const settle = (password: StepInput['password']) =>
      settlePassword(inputOf({ code: null, state: asking(1), attemptId: 'ask 0', password }));
    const away = { kind: 'refused', reason: 'directory_unavailable' } as const;
    expect(settle(away)).toEqual(emptyState());
    const heard = settle({ ...away, mayBeWrong: true });
    expect(heard?.methods.password).toMatchObject({ failures: 1 });
    expect(heard?.passwordAsks).toBeUndefined();
    const other = inputOf({ code: null, state: asking(1), attemptId: 'other', password: away });
    expect(settlePassword(other)).toBeNull();
  });

  it('that is right ends what was counted, with answers that never came, but no lockout', () => {
    const later = start + 2 * MINUTE;
    const late = { ...typed(wrong), state: asking(2), attemptId: 'ask 1', nowMs: later };
    const own = { code: null, attemptId: 'own', password: right, nowMs: later };
    const mistyped = askPassword(inputOf({ ...own, state: nextOf(judge(late)) }))!;
    expect(mistyped).toMatchObject({ methods: { password: { failures: 1 } } });
    expect(mistyped.passwordAsks).toHaveLength(2);
    const settled = settlePassword(inputOf({ ...own, state: mistyped }));
    expect(settled?.methods.password).toEqual(noFailures);
    expect(settled?.passwordAsks).toBeUndefined();
    const locked = { ...noFailures, lockedUntil: later + MINUTE, lockouts: 1 };
    const methods = { code: noFailures, password: locked };
    const held = settlePassword(inputOf({ ...own, state: { ...mistyped, methods } }));
    expect(held?.methods.password).toEqual(locked);
  });

  it('is asked for once for an attempt, but by a step whose own writing was not answered', () => {
    const again = { code: null, state: asking(1), attemptId: 'ask 0' };
    expect(askPassword(inputOf(again))).toBeNull();
    const withoutQuorum = { knownNodes: 1, localFailures: {} };
    expect(askPassword(inputOf({ ...again, withoutQuorum }))).not.toBeNull();
  });

  it('that was asked for with the quorum and counted without it is counted once', () => {
    const { id } = inputOf({ code: null, attemptId: 'ask 0' }).attempt;
    const claim = { id, at: start, failure: true, factor: 'password', unlockedAt: 0 } as const;
    const merged = mergeClaims(asking(1), [claim], defaultSettings, start);
    expect(merged.methods.password).toMatchObject({ failures: 1 });
    expect(merged.passwordAsks ?? []).toEqual([]);
  });
});

describe('without quorum', () => {
  it('a node has its share of the limit, at least one failure', () => {
    const localBudget = (state: UserState, knownNodes: number) =>
      [0, 1, 2, 3, 4, 5].findIndex((code) => {
        const withoutQuorum = { knownNodes, localFailures: { code } };
        const judgement = judge({ state, code: totpCode(0), withoutQuorum });
        return judgement.kind === 'final' && !judgement.verdict.approved;
      });
    expect(localBudget(emptyState(), 1)).toBe(5);
    expect(localBudget(emptyState(), 2)).toBe(2);
    expect(localBudget(emptyState(), 3)).toBe(1);
    expect(localBudget(emptyState(), 9)).toBe(1);
    expect(localBudget(run(wrongCodes(3)), 1)).toBe(2);
    expect(localBudget(run(wrongCodes(4)), 3)).toBe(1);
  });

  it('a spent share is a lockout', () => {
    const withoutQuorum = { knownNodes: 3, localFailures: { code: 1 } };
    expect(judge({ code: totpCode(0), withoutQuorum })).toEqual({
      kind: 'final',
      verdict: denied('locked_out'),
    });
  });
});

const PHONE = '00000000-0000-4000-8000-000000000005';
const RECOVERY_AT = '2025-05-01T00:00:00.000Z';
/** Somebody with everything, in any mode. */
const everything: UserDocument = {
  ...alice,
  authenticators: [
    totp,
    {
      type: 'phone',
      id: PHONE,
      number: '+31612345678',
      use: 'primary',
      vouchedBy: 'admin',
      verifiedAt: null,
      createdAt,
    },
  ],
  pin: { salt: '', hash: '', setAt: createdAt, mustChange: false, history: [] },
  recoveryCodes: { at: RECOVERY_AT, hashes: ['00'] },
};

const working = METHOD_TABLE.filter(({ method }) => ['oath', 'text', 'recovery'].includes(method));

describe.each(working)('the row $method $mode of the table', (row) => {
  const { method, doors, costs } = row;
  const { user, challenge, right, answer } = caseOf(row);

  it('ends the question also where only the claim of the answer is known', () => {
    const { claim } = answer(right) as Extract<Judgement, { kind: 'record' }>;
    const elsewhere = mergeClaims(emptyState(), [parseClaim(claim)], defaultSettings, start);
    expect(challengeOutcome(elsewhere, challenge.id)).toBe('approved');
    expect(answer({ ...right, state: elsewhere })).toMatchObject({ kind: 'final' });
  });

  it('accepts what it says, once, whatever the next question is', () => {
    const first = answer(right);
    expect(first).toMatchObject({ kind: 'record', verdict: approved, item: expect.any(String) });
    const state = parseState(encodeState(nextOf(first)));
    expect(judge({ user, code: WRONG, challenge, pin: 'right', state, ...right })).toMatchObject({
      kind: 'final',
      verdict: denied('challenge_spent'),
    });
    if (method === 'text') return;
    const other = { ...challenge, id: '00000000-0000-4000-8000-00000000000d' };
    expect(answer({ ...right, challenge: other, state })).toMatchObject({
      kind: 'final',
      verdict: denied('replayed'),
    });
  });

  it('costs a failure of the code when the code is wrong, and spends the question at the third', () => {
    let state = emptyState();
    for (const count of [1, 2, 3]) {
      const wrong = answer({ code: `wrong ${count}`, state });
      expect(wrong).toMatchObject({ verdict: denied('wrong_code'), item: null });
      state = nextOf(wrong);
      expect(state.methods[costs.code ?? 'pin']?.failures).toBe(count);
    }
    expect(state.methods.pin).toBeUndefined();
    expect(answer({ ...right, state })).toEqual({
      kind: 'final',
      verdict: denied('challenge_spent'),
    });
  });

  it.each(FRONT_DOORS)('at the front door %s works as the table says', (door) => {
    const verdict = doors.includes(door) ? approved : denied('no_method_for_protocol');
    expect(answer({ ...right, door })).toMatchObject({ verdict });
  });

  it('is denied by a lockout of each factor it costs, and of no other', () => {
    for (const factor of ['code', 'pin'] as const) {
      const locked = { ...noFailures, lockedUntil: start + 1 };
      const state = {
        ...emptyState(),
        methods: { code: noFailures, [factor]: locked },
      };
      const isHit = Object.values(costs).includes(factor);
      const verdict = isHit ? denied('locked_out') : approved;
      expect(answer({ ...right, state })).toMatchObject({ verdict });
    }
  });
});

describe.each(working.filter(({ method }) => method !== 'recovery'))(
  'the method $method $mode',
  (row) => {
    const { method, mode, asks, begins } = row;
    const { user } = caseOf(row);

    it(`asks for ${asks.join(' and ')}, and ${begins === 'nothing' ? 'does nothing else' : begins}`, () => {
      const judgement = judge({ user, code: null });
      const question = { method, row: { mode, asks }, phoneId: method === 'text' ? PHONE : null };
      const expected = begins === 'nothing' ? { kind: 'ask' } : { next: { texts: [start / 1000] } };
      expect(judgement).toMatchObject({ question, ...expected });
    });
  },
);

it('a question offers a text only where there is anything to send one through', () => {
  const offered = (canSendTexts: boolean) => {
    const judgement = judge({ user: everything, code: null, canSendTexts });
    return judgement.kind === 'ask' ? judgement.question.others : null;
  };
  expect(offered(true)).toEqual(['text']);
  expect(offered(false)).toEqual([]);
});

describe.each(working.filter(asksPin))('the row $method $mode, which asks for a PIN', (row) => {
  const { challenge, right, answer } = caseOf(row);

  it('judges code and PIN together: one wrong spoils both', () => {
    expect(answer(right, null)).toEqual({ kind: 'final', verdict: denied('pin_required') });
    const wrongPin = answer(right, 'wrong');
    expect(wrongPin).toMatchObject({
      verdict: denied('wrong_pin'),
      item: expect.any(String),
      next: { methods: { code: { failures: 0 }, pin: { failures: 1 } } },
    });
    expect(answer({ ...right, state: nextOf(wrongPin) })).toMatchObject({ kind: 'final' });
    const bothWrong = answer({}, 'wrong');
    expect(bothWrong).toMatchObject({
      verdict: denied('wrong_code'),
      next: { methods: { code: { failures: 1 }, pin: { failures: 1 } } },
    });
  });

  it('says nothing about a PIN that comes with a used or a repeated wrong code', () => {
    const state = nextOf(answer({ code: WRONG }, 'right'));
    for (const pin of ['right', 'wrong'] as const) {
      expect(answer({ code: WRONG, state }, pin)).toEqual({
        kind: 'final',
        verdict: denied('wrong_code'),
      });
    }
    const used = nextOf(answer({ code: totpCode(0) }, 'right'));
    const other = { ...challenge, id: '00000000-0000-4000-8000-00000000000d' };
    for (const pin of ['right', 'wrong'] as const) {
      expect(answer({ code: totpCode(0), state: used, challenge: other }, pin)).toEqual({
        kind: 'final',
        verdict: denied('replayed'),
      });
    }
  });
});

describe.each(working.filter((row) => !asksPin(row)))('the row $method $mode', (row) => {
  it('does not care for a PIN', () => {
    for (const pin of ['right', 'wrong', null] as const) {
      expect(caseOf(row).answer(caseOf(row).right, pin)).toMatchObject({ verdict: approved });
    }
  });
});

/** Somebody who has this method, a question, what the row accepts as its answer, and how to give one. */
function caseOf({ method, mode, asks }: MethodRow) {
  const user: UserDocument = {
    ...everything,
    ...((method === 'oath' || method === 'text') && { method, modes: { [method]: mode } }),
  };
  const challenge = {
    id: '00000000-0000-4000-8000-00000000000c',
    method: method === 'text' ? ('text' as const) : ('oath' as const),
    mode: method === 'recovery' ? 'code' : mode,
    expiresAtMs: start + 5 * MINUTE,
    isSentCode: false,
  };
  const right: Partial<Ask> = {
    oath: { code: totpCode(0) },
    text: { code: '424242', challenge: { ...challenge, isSentCode: true } },
    recovery: { code: 'a recovery code', recoveryPlace: 0 },
  }[method as 'oath' | 'text' | 'recovery'];
  const usualPin = asks.includes('pin') ? 'right' : null;
  const answer = (typed: Partial<Ask>, pin: StepInput['pin'] = usualPin) =>
    judge({ user, code: WRONG, challenge, pin, ...typed });
  return { user, challenge, right, answer };
}

describe('what is used up', () => {
  it('leaves the state when it is over, whatever is recorded next', () => {
    const old = (index: number) => [`${index}`.padStart(16, 'x'), [start / 1000 - 600, 0, 1]];
    const spent = Object.fromEntries(Array.from({ length: 300 }, (_, index) => old(index)));
    const state = { ...emptyState(), spent };
    for (const code of [totpCode(0), WRONG]) {
      const { next } = recorded(judge({ code, state }));
      encodeState(next);
      expect(next.spent).toEqual({});
    }
  });

  it('without room for more refuses a question, and an answer that could not be remembered', () => {
    const spent = Object.fromEntries(
      Array.from({ length: SPENT_MAX }, (_, index) => [
        `${index}`.padStart(16, 'x'),
        [start / 1000 + 60, 0, 1] as Spent,
      ]),
    );
    const state = { ...emptyState(), spent };
    const busy = { kind: 'final', verdict: denied('busy') };
    expect(judge({ code: null, state })).toEqual(busy);
    const challenge = {
      id: '00000000-0000-4000-8000-00000000000c',
      method: 'text' as const,
      mode: 'otp',
      expiresAtMs: start + MINUTE,
      isSentCode: true,
    };
    expect(judge({ user: everything, code: '424242', challenge, state })).toEqual(busy);
    const wrong = { ...challenge, isSentCode: false };
    const failed = judge({ user: everything, code: '000001', challenge: wrong, state });
    expect(nextOf(failed).methods.code.failures).toBe(1);
    expect(judge({ code: totpCode(0), state })).toMatchObject({ verdict: approved });
  });
});

describe('judging', () => {
  it('changes neither the state it is given nor fields it does not know', () => {
    const state = Object.freeze({ ...emptyState(), later: { kept: true } });
    const before = Buffer.from(encodeState(state)).toString();
    for (const code of [totpCode(0), WRONG]) {
      expect(nextOf(judge({ state, code }))).toHaveProperty('later', { kept: true });
    }
    expect(Buffer.from(encodeState(state)).toString()).toBe(before);
  });

  it('stores neither code, client, key nor attempt id as they are', () => {
    const judgement = judge({
      code: '424242',
      client: 'vpn-client',
      keyHash: 'key-hash',
      attemptId: 'attempt-id',
    });
    const stored = Buffer.from(encodeState(nextOf(judgement))).toString();
    for (const text of ['424242', 'vpn-client', 'key-hash', 'attempt-id']) {
      expect(stored).not.toContain(text);
    }
  });
});

describe('codes from before a forced promotion (rule 30)', () => {
  const lostAt = start - 5_000;

  it('are refused of TOTP up to the step of that moment, and accepted from the next step on', () => {
    const asked = { codesNotBeforeMs: lostAt };
    expect(judge({ ...asked, code: totpCode(-1) })).toMatchObject({ verdict: denied('replayed') });
    const sameStep = { codesNotBeforeMs: start };
    expect(judge({ ...sameStep, code: totpCode(0) })).toMatchObject({
      verdict: denied('replayed'),
    });
    expect(judge({ ...sameStep, code: totpCode(1) })).toMatchObject({ verdict: approved });
  });

  it('prove an HOTP token only two in a row', () => {
    const asked = { codesNotBeforeMs: lostAt, user: withToken };
    const first = judge({ ...asked, code: hotpCode(30) });
    expect(first).toMatchObject({ kind: 'record', verdict: denied('resync'), item: null });
    const { next } = recorded(first);
    expect(next.methods.code).toEqual(noFailures);
    const known = parseState(encodeState(next));

    expect(judge({ ...asked, state: known, code: hotpCode(30) })).toMatchObject({
      kind: 'final',
      verdict: denied('resync'),
    });
    expect(judge({ ...asked, state: known, code: hotpCode(40) })).toMatchObject({
      verdict: denied('resync'),
    });
    const second = judge({ ...asked, state: known, code: hotpCode(31) });
    expect(second).toMatchObject({ verdict: approved, item: `hotp:${hotpToken.id}:31` });

    const after = recorded(second).next;
    expect(after.resyncs).toEqual({});
    expect(judge({ ...asked, state: after, code: hotpCode(32) })).toMatchObject({
      verdict: approved,
    });
    expect(judge({ ...asked, state: after, code: hotpCode(31) })).toMatchObject({
      verdict: denied('replayed'),
    });
  });

  it('never resynchronise a token without the quorum, or long after the first code', () => {
    const asked = { codesNotBeforeMs: lostAt, user: withToken };
    const alone = { ...asked, withoutQuorum: { knownNodes: 3, localFailures: {} } };
    expect(judge({ ...alone, code: hotpCode(6) })).toMatchObject({
      kind: 'final',
      verdict: denied('resync'),
    });
    const { next } = recorded(judge({ ...asked, code: hotpCode(6) }));
    const late = { ...asked, state: next, nowMs: start + 11 * MINUTE };
    expect(judge({ ...late, code: hotpCode(7) })).toMatchObject({ verdict: denied('resync') });
  });

  it('do not trouble a token enrolled later', () => {
    const user: UserDocument = {
      ...withToken,
      authenticators: [{ ...hotpToken, createdAt: new Date(start - 1000).toISOString() }],
    };
    expect(judge({ codesNotBeforeMs: lostAt, user, code: hotpCode(6) })).toMatchObject({
      verdict: approved,
    });
  });
});

function recorded(judgement: Judgement): Extract<Judgement, { kind: 'record' }> {
  if (judgement.kind !== 'record') throw new Error(judgement.kind);
  return judgement;
}

type Ask = Partial<Omit<StepInput, 'attempt'>> & {
  code: string | null;
  door?: FrontDoor;
  attemptId?: string;
  keyHash?: string | null;
  client?: string;
};

let asked = 0;

function judge(ask: Ask): Judgement {
  return judgeStep(inputOf(ask));
}

function inputOf(ask: Ask): StepInput {
  const { code, door = 'http', attemptId, keyHash = null, client = 'vpn', ...rest } = ask;
  const { user = alice, settings = defaultSettings } = rest;
  asked += 1;
  return {
    user: alice,
    secrets: new Map([
      [totp.id, secret],
      [hotpToken.id, secret],
    ]),
    state: emptyState(),
    nowMs: start,
    ...rest,
    settings: settingsFor(settings, null, user),
    attempt: {
      id: attemptId ?? `attempt ${asked}`,
      keyHash,
      code,
      client,
      door,
      method: null,
      wrongCodeHmac: `hmac of ${code}`,
    },
  };
}

/** Judges one after the other, each on the stored state of the one before. */
function run(asks: Ask[], from: UserState = emptyState()): UserState {
  let state = from;
  for (const ask of asks) state = parseState(encodeState(nextOf(judge({ ...ask, state }))));
  return state;
}

function wrongCodes(count: number): Ask[] {
  return Array.from({ length: count }, (_, index) => ({ code: `wrong ${index}` }));
}

function nextOf(judgement: Judgement): UserState {
  if (judgement.kind !== 'record') throw new Error(`nothing recorded: ${judgement.kind}`);
  return judgement.next;
}

function itemOf(judgement: Judgement): string | null {
  return judgement.kind === 'record' ? judgement.item : null;
}

function acceptedState(authenticatorId: string, last: number): UserState {
  return { ...emptyState(), accepted: { [authenticatorId]: [last, start / 1000] } };
}

function totpCode(offset: number): string {
  return hotp(secret, totpStep(start, 30) + offset, totp);
}

function hotpCode(counter: number, seed = secret): string {
  return hotp(seed, counter, hotpToken);
}

describe('a way in beside the usual one', () => {
  it('asks the PIN where the usual one does', () => {
    const user: UserDocument = { ...alice, method: 'text', modes: { text: 'otp+pin' } };
    expect(judge({ user, code: totpCode(0) })).toMatchObject({ verdict: denied('pin_required') });
    const open: UserDocument = { ...alice, method: 'text' };
    expect(judge({ user: open, code: totpCode(0) })).toMatchObject({ verdict: approved });
  });
});

describe('the texts of one user', () => {
  const textMe: UserDocument = {
    ...alice,
    method: 'text',
    authenticators: [
      {
        type: 'phone',
        id: totp.id,
        number: '+31612345678',
        use: 'primary',
        vouchedBy: 'admin',
        verifiedAt: null,
        createdAt,
      },
    ],
  };
  const ask = (state: UserState, nowMs: number) =>
    judge({ user: textMe, code: null, state, nowMs });
  /** The state after it was sent; null: it was refused. */
  const send = (state: UserState, nowMs: number): UserState | null => {
    const judgement = ask(state, nowMs);
    if (judgement.kind === 'record') return parseState(encodeState(judgement.next));
    expect(judgement).toEqual({ kind: 'final', verdict: denied('too_many_texts') });
    return null;
  };
  const hour = 60 * MINUTE;

  it('are five within an hour: the sixth is refused until the first is an hour old', () => {
    let state = emptyState();
    for (let text = 0; text < 5; text += 1) state = send(state, start + text * MINUTE)!;
    expect(send(state, start + 10 * MINUTE)).toBeNull();
    expect(send(state, start + hour - 1000)).toBeNull();
    expect(send(state, start + hour)).not.toBeNull();
  });

  it('are twenty within a day', () => {
    let state = emptyState();
    for (let text = 0; text < 20; text += 1) state = send(state, start + text * 15 * MINUTE)!;
    expect(state.texts).toHaveLength(20);
    expect(JSON.stringify(state.texts).length).toBeLessThan(256);
    expect(send(state, start + 20 * hour)).toBeNull();
    expect(send(state, start + 24 * hour)).not.toBeNull();
  });

  it('are never more in any window of an hour or a day, at any times', () => {
    const random = seededRandom(18);
    const sent: number[] = [];
    let state = emptyState();
    let nowMs = start;
    for (let attempt = 0; attempt < 5000; attempt += 1) {
      nowMs += random(20 * MINUTE);
      const next = send(state, nowMs);
      if (!next) continue;
      state = next;
      sent.push(nowMs);
    }
    const most = (windowMs: number) =>
      Math.max(
        ...sent.map(
          (from, i) => sent.slice(i, i + 30).filter((at) => at < from + windowMs - 1000).length,
        ),
      );
    expect([most(hour), most(24 * hour)]).toEqual([5, 20]);
  });

  it('stay refused by a clock behind, by times out of order, and by more than are kept', () => {
    const ahead = Array.from({ length: 5 }, () => start / 1000 + 15);
    expect(send({ ...emptyState(), texts: ahead }, start)).toBeNull();
    const shuffled = [3, 1, 4, 0, 2].map((minutes) => start / 1000 - minutes * 60);
    expect(send({ ...emptyState(), texts: shuffled }, start)).toBeNull();
    const many = Array.from({ length: 10_000 }, (_, index) => start / 1000 - 10_000 + index);
    expect(send({ ...emptyState(), texts: many }, start)).toBeNull();
  });
});
