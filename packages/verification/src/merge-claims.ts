import { failureId, isUsedClaim } from './claims.ts';
import type { Claim, FailureClaim, TextClaim, UsedClaim, WaitClaim } from './claims.ts';
import { addFailures, laterLock, lockoutOf } from './lockout.ts';
import { FACTORS } from './methods.ts';
import type { LockoutSettings, Settings } from './settings.ts';
import {
  ATTEMPTS_MAX,
  CACHES_MAX,
  isLongOver,
  MERGED_MAX,
  newestMerged,
  noFailures,
  PASSWORD_ASKS_MAX,
  recentTexts,
  rememberFailures,
  shortId,
  TEXTS_MAX,
  unexpiredSpent,
  WRONG_ANSWERS_MAX,
} from './user-state.ts';
import type { MethodFailures, Spent, StoredAttempt, UserState } from './user-state.ts';
import {
  ASKED_MAX,
  holdsWait,
  recentlyAsked,
  unionWaits,
  WAIT_OPEN,
  waitsInForce,
} from './waits.ts';

/**
 * Brings claims made without quorum into a user's state: accepted = maximum, failures = sum, lock
 * = latest. The order of claims and repeats do not matter; `state` itself comes back when it held
 * them all. A success among the claims clears nothing, and the window of merged failures begins
 * now: both err towards locking. 32 merged failures are remembered, for an hour.
 */
export function mergeClaims(
  state: UserState,
  claims: readonly Claim[],
  settings: Settings,
  nowMs: number,
): UserState {
  const used = claims.filter(isUsedClaim);
  const failed = claims.filter((claim) => 'failure' in claim);
  const texts = claims.filter((claim) => 'text' in claim);
  const merged = mergeFailures(mergeUsed(state, used, nowMs), failed, settings, nowMs);
  const waits = claims.filter((claim) => 'wait' in claim);
  return mergeWaits(mergeTexts(merged, texts, nowMs), waits, nowMs);
}

function mergeUsed(state: UserState, claims: readonly UsedClaim[], nowMs: number): UserState {
  let merged = state;
  for (const claim of claims) {
    const attempts = rememberAttempt(merged.attempts, claim);
    const marked = markUsed(merged, claim, nowMs);
    merged = attempts === merged.attempts ? marked : { ...marked, attempts };
  }
  return merged === state || !merged.spent
    ? merged
    : { ...merged, spent: unexpiredSpent(merged.spent, nowMs) };
}

/** The state itself where it has the item as used already, or where nobody can use it any more. */
function markUsed(state: UserState, claim: UsedClaim, nowMs: number): UserState {
  const isAnswer = !('spent' in claim) && claim.ends !== undefined;
  const ended = isAnswer ? markSpent(state, claim.ends!, claim, nowMs) : state;
  return markItem(ended, claim, nowMs);
}

function markItem(state: UserState, claim: UsedClaim, nowMs: number): UserState {
  if ('last' in claim) {
    const known = state.accepted[claim.authenticatorId];
    const later = laterAccepted(known, [claim.last, Math.floor(claim.at / 1000)]);
    if (later === known) return state;
    return { ...state, accepted: { ...state.accepted, [claim.authenticatorId]: later } };
  }
  if ('spent' in claim) return markSpent(state, [claim.spent, claim.until], claim, nowMs);
  const recovery = unionRecovery(state.recovery, [claim.generation, 1 << claim.recovery]);
  if (state.recovery?.[0] === recovery[0] && state.recovery[1] === recovery[1]) return state;
  return { ...state, recovery };
}

function markSpent(
  state: UserState,
  [key, until]: [string, number],
  { denied }: UsedClaim,
  nowMs: number,
): UserState {
  // A long outage leaves more of them than a state holds.
  if (isLongOver(until, nowMs)) return state;
  const known = unexpiredSpent(state.spent, nowMs)[key];
  const merged = maxSpent(known, [until, 0, denied ? 2 : 1]);
  if (known && merged.every((value, index) => value === known[index])) return state;
  return { ...state, spent: { ...state.spent, [key]: merged } };
}

/**
 * The attempt belongs to what was accepted: a client that lost the answer is told it again by any node. But where both
 * sides of a split accepted the same code neither may be delivered again: that would be a second approval after the
 * split was known. Old ones go with the next attempt that is recorded.
 */
function rememberAttempt(attempts: StoredAttempt[], claim: UsedClaim): StoredAttempt[] {
  const { item, at } = claim;
  const id = shortId(claim.id);
  const verdict = claim.denied
    ? { approved: false, reason: 'wrong_pin' as const }
    : { approved: true, reason: null };
  const own = { id, key: null, ...verdict, item, at };
  const isKnown = attempts.some((attempt) => attempt.id === id);
  const all = isKnown ? attempts : [...attempts, own].toSorted(byAge);
  const rivals = all.filter((attempt) => attempt.item === item);
  if (rivals.length < 2 || rivals.every(({ approved }) => !approved)) return all;
  return all.map((one) => (one.approved && one.item === item ? denied(one) : one));
}

function byAge(a: StoredAttempt, b: StoredAttempt): number {
  return a.at - b.at || (a.id < b.id ? -1 : 1);
}

function denied(attempt: StoredAttempt): StoredAttempt {
  return { ...attempt, approved: false, reason: 'replayed' };
}

function mergeFailures(
  state: UserState,
  claims: readonly FailureClaim[],
  settings: Settings,
  nowMs: number,
): UserState {
  // One claim may come from several nodes.
  const byId = new Map(claims.map((claim) => [failureId(claim), claim]));
  const fresh = [...byId].filter(([id]) => !Object.hasOwn(state.merged, id));
  if (fresh.length === 0) return state;

  const methods = { ...state.methods };
  for (const factor of FACTORS) {
    const own = fresh
      .map(([, claim]) => claim)
      .filter((claim) => (claim.factor ?? 'code') === factor);
    const before = methods[factor] ?? noFailures;
    if (own.length > 0) {
      methods[factor] = countClaims(before, own, lockoutOf(settings, factor), nowMs);
    }
  }
  const ids = fresh.map(([id]) => id);
  const answered = fresh.flatMap(([, claim]) => (claim.answered ? [claim.answered] : []));
  const attempts = new Set(fresh.map(([, claim]) => shortId(claim.id)));
  return {
    ...state,
    // Asked with the quorum, and counted without it.
    ...(state.passwordAsks && {
      passwordAsks: state.passwordAsks.filter(([id]) => !attempts.has(id)),
    }),
    ...(answered.length > 0 && { spent: countAnswers(state.spent, answered, nowMs) }),
    methods,
    merged: rememberFailures(state.merged, ids, nowMs),
  };
}

function countAnswers(
  spent: UserState['spent'],
  answered: readonly NonNullable<FailureClaim['answered']>[],
  nowMs: number,
): Record<string, Spent> {
  const counted = unexpiredSpent(spent, nowMs);
  for (const [key, until] of answered) {
    if (isLongOver(until, nowMs)) continue;
    const wrong = (counted[key]?.[1] ?? 0) + 1;
    counted[key] = maxSpent(counted[key], [until, wrong, wrong >= WRONG_ANSWERS_MAX ? 2 : 0]);
  }
  return counted;
}

function mergeTexts(state: UserState, claims: readonly TextClaim[], nowMs: number): UserState {
  const byId = new Map(claims.map((claim) => [shortId(claim.id), claim]));
  const fresh = [...byId].filter(([id]) => !Object.hasOwn(state.merged, id));
  if (fresh.length === 0) return state;
  const sent = fresh.map(([, { at }]) => Math.floor(at / 1000));
  const texts = [...(state.texts ?? []), ...sent].toSorted((a, b) => a - b);
  const ids = fresh.map(([id]) => id);
  return {
    ...state,
    texts: recentTexts(texts, nowMs),
    merged: rememberFailures(state.merged, ids, nowMs),
  };
}

function mergeWaits(state: UserState, claims: readonly WaitClaim[], nowMs: number): UserState {
  const missing = claims.filter(({ wait }) => !holdsWait(state, wait, nowMs));
  const before = recentlyAsked(state, nowMs);
  const askedElsewhere = unionTexts(before, askedIn(state, claims, nowMs)).slice(-ASKED_MAX);
  const isKnown = askedElsewhere.join() === before.join();
  if (missing.length === 0 && isKnown) return state;
  const waits = unionWaits(
    waitsInForce(state, nowMs),
    missing.map(({ wait }) => wait),
  );
  return { ...state, waits, ...(!isKnown && { askedElsewhere }) };
}

/** When somebody was asked: that counts for an hour, however soon it was over. An approval ended what came before. */
function askedIn({ spent }: UserState, claims: readonly WaitClaim[], nowMs: number): number[] {
  const begun = claims.filter(({ wait: [key, , answer] }) => {
    return answer === WAIT_OPEN && spent?.[key]?.[2] !== 1;
  });
  // One claim may come from several nodes.
  const byId = new Map(begun.map(({ id, at }) => [`${id} ${at}`, Math.floor(at / 1000)]));
  const asked = [...byId.values()].toSorted((a, b) => a - b);
  return recentlyAsked({ askedElsewhere: asked }, nowMs);
}

function countClaims(
  counts: MethodFailures,
  claims: readonly FailureClaim[],
  lockout: LockoutSettings,
  nowMs: number,
): MethodFailures {
  const unlockedAt = Math.max(counts.unlockedAt, ...claims.map((claim) => claim.unlockedAt));
  const before = unlockedAt > counts.unlockedAt ? { ...counts, ...noFailures, unlockedAt } : counts;
  const since = claims.filter((claim) => claim.unlockedAt === unlockedAt);
  const recent = since.filter((claim) => claim.at > nowMs - lockout.resetMinutes * 60_000).length;
  if (since.length === 0) return before;
  const after = addFailures(before, {
    count: recent,
    outsideWindow: since.length - recent,
    lockout,
    nowMs,
  });
  return {
    ...after,
    firstFailureAt: recent > 0 && after.failures > 0 ? nowMs : after.firstFailureAt,
  };
}

/**
 * The maximum of two states of one user, for a judge without quorum who has several. Order and
 * repeats do not matter. Where only one knows a field of a later version, that one's is kept.
 */
export function mergeStates(a: UserState, b: UserState): UserState {
  return {
    ...b,
    ...a,
    accepted: maxAccepted(a.accepted, b.accepted),
    methods: {
      ...b.methods,
      ...a.methods,
      ...maxOfFactors(a.methods, b.methods),
    },
    lastWrong: laterWrong(a.lastWrong, b.lastWrong),
    attempts: unionAttempts(a.attempts, b.attempts),
    merged: newestMerged(unionMerged(a.merged, b.merged), MERGED_MAX),
    ...(a.resyncs && b.resyncs && { resyncs: laterResyncs(a.resyncs, b.resyncs) }),
    ...(a.spent && b.spent && { spent: unionSpent(a.spent, b.spent) }),
    ...(a.recovery && b.recovery && { recovery: unionRecovery(a.recovery, b.recovery) }),
    ...(a.texts && b.texts && { texts: unionTexts(a.texts, b.texts) }),
    ...(a.caches && b.caches && { caches: unionCaches(a.caches, b.caches) }),
    ...(a.askedElsewhere &&
      b.askedElsewhere && { askedElsewhere: unionTexts(a.askedElsewhere, b.askedElsewhere) }),
    ...(a.waits && b.waits && { waits: unionWaits(a.waits, b.waits) }),
    ...(a.passwordAsks &&
      b.passwordAsks && { passwordAsks: unionAsks(a.passwordAsks, b.passwordAsks) }),
  };
}

function maxOfFactors(a: UserState['methods'], b: UserState['methods']): UserState['methods'] {
  const max = { code: maxFailures(a.code, b.code) } as UserState['methods'];
  for (const factor of FACTORS) {
    const [ofA, ofB] = [a[factor], b[factor]];
    const most = ofA && ofB ? maxFailures(ofA, ofB) : (ofA ?? ofB);
    if (most) max[factor] = most;
  }
  return max;
}

/** Whatever was used up on either side is; where one says approved and the other not, it is over for nothing. */
function maxSpent(a: Spent | undefined, b: Spent): Spent {
  if (!a) return b;
  const end = Math.max(a[2], b[2]) as Spent[2];
  return [Math.max(a[0], b[0]), Math.max(a[1], b[1]), end];
}

function unionSpent(a: Record<string, Spent>, b: Record<string, Spent>): Record<string, Spent> {
  const union = { ...a };
  for (const [key, spent] of Object.entries(b)) union[key] = maxSpent(union[key], spent);
  return union;
}

type Recovery = NonNullable<UserState['recovery']>;

function unionRecovery(a: Recovery | undefined, b: Recovery): Recovery {
  if (!a || a[0] !== b[0]) return a && a[0] > b[0] ? a : b;
  return [a[0], a[1] | b[1]];
}

/** Of each second as many as the side that knows of more: a budget is no lock. */
function unionTexts(a: readonly number[], b: readonly number[]): number[] {
  const [ofA, ofB] = [a, b].map((texts) => Map.groupBy(texts, (at) => at));
  const seconds = [...new Set([...a, ...b])].toSorted((x, y) => x - y);
  return seconds
    .flatMap((at) => {
      const [inA, inB] = [ofA?.get(at) ?? [], ofB?.get(at) ?? []];
      return inA.length >= inB.length ? inA : inB;
    })
    .slice(-TEXTS_MAX);
}

type Resyncs = NonNullable<UserState['resyncs']>;

function laterResyncs(a: Resyncs, b: Resyncs): Resyncs {
  const union = { ...a };
  for (const [id, entry] of Object.entries(b)) {
    const known = union[id];
    const isLater = !known || entry[1] > known[1] || (entry[1] === known[1] && entry[0] > known[0]);
    if (isLater) union[id] = entry;
  }
  return union;
}

type Caches = NonNullable<UserState['caches']>;

function unionCaches(a: Caches, b: Caches): Caches {
  const until = new Map(a);
  for (const [key, at] of b) until.set(key, Math.max(at, until.get(key) ?? 0));
  return [...until].toSorted((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1)).slice(-CACHES_MAX);
}

type Asks = NonNullable<UserState['passwordAsks']>;

function unionAsks(a: Asks, b: Asks): Asks {
  const union = [...new Map([...b, ...a])];
  return union.toSorted((x, y) => x[1] - y[1] || (x[0] < y[0] ? -1 : 1)).slice(-PASSWORD_ASKS_MAX);
}

function maxAccepted(a: UserState['accepted'], b: UserState['accepted']): UserState['accepted'] {
  const union = { ...a };
  for (const [id, entry] of Object.entries(b)) union[id] = laterAccepted(union[id], entry);
  return union;
}

type Accepted = UserState['accepted'][string];

function laterAccepted(known: Accepted | undefined, entry: Accepted): Accepted {
  if (!known) return entry;
  const [last, at] = known;
  return entry[0] > last || (entry[0] === last && entry[1] > at) ? entry : known;
}

function maxFailures(a: MethodFailures, b: MethodFailures): MethodFailures {
  // Counts from before an unlock that the other has honoured are void.
  if (a.unlockedAt !== b.unlockedAt) return a.unlockedAt > b.unlockedAt ? a : b;
  return {
    ...b,
    ...a,
    failures: Math.max(a.failures, b.failures),
    firstFailureAt: Math.max(a.firstFailureAt, b.firstFailureAt),
    lockedUntil: laterLock(a.lockedUntil, b.lockedUntil),
    lockouts: Math.max(a.lockouts, b.lockouts),
    consecutive: Math.max(a.consecutive, b.consecutive),
  };
}

function laterWrong(a: UserState['lastWrong'], b: UserState['lastWrong']): UserState['lastWrong'] {
  if (!a || !b) return a ?? b;
  if (a.at !== b.at) return a.at > b.at ? a : b;
  return JSON.stringify(a) >= JSON.stringify(b) ? a : b;
}

function unionAttempts(a: readonly StoredAttempt[], b: readonly StoredAttempt[]): StoredAttempt[] {
  const byId = new Map<string, StoredAttempt>();
  for (const attempt of [...a, ...b]) {
    const known = byId.get(attempt.id);
    byId.set(attempt.id, known ? standing(known, attempt) : attempt);
  }
  const all = [...byId.values()].toSorted(byAge);
  const itemsOf = Map.groupBy(all, (attempt) => attempt.item);
  return all
    .map((attempt) => {
      const hasRival = attempt.item !== null && (itemsOf.get(attempt.item)?.length ?? 0) > 1;
      return hasRival && attempt.approved ? denied(attempt) : attempt;
    })
    .slice(-ATTEMPTS_MAX);
}

/** The same attempt with two verdicts: the denial stands. */
function standing(a: StoredAttempt, b: StoredAttempt): StoredAttempt {
  if (a.approved !== b.approved) return a.approved ? b : a;
  return JSON.stringify(a) <= JSON.stringify(b) ? a : b;
}

function unionMerged(a: UserState['merged'], b: UserState['merged']): [string, number][] {
  const union = { ...a };
  for (const [id, at] of Object.entries(b)) union[id] = Math.max(at, union[id] ?? 0);
  return Object.entries(union);
}
