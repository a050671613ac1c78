import type { ApprovedClaim, Claim, FailureClaim } from './claims.ts';
import { addFailures, laterLock } from './lockout.ts';
import type { Settings } from './settings.ts';
import {
  ATTEMPTS_MAX,
  MERGED_MAX,
  newestMerged,
  noFailures,
  rememberFailures,
  shortId,
} from './user-state.ts';
import type { MethodFailures, StoredAttempt, UserState } from './user-state.ts';

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
  const approved = claims.filter((claim) => 'last' in claim);
  const failed = claims.filter((claim) => 'failure' in claim);
  return mergeFailures(mergeApproved(state, approved), failed, settings, nowMs);
}

function mergeApproved(state: UserState, claims: readonly ApprovedClaim[]): UserState {
  let merged = state;
  for (const claim of claims) {
    const attempts = rememberApproval(merged.attempts, claim);
    const known = merged.accepted[claim.authenticatorId];
    const later = laterAccepted(known, [claim.last, Math.floor(claim.at / 1000)]);
    if (later === known && attempts === merged.attempts) continue;
    const accepted = { ...merged.accepted, [claim.authenticatorId]: later };
    merged = { ...merged, accepted, attempts };
  }
  return merged;
}

/**
 * The attempt belongs to what was accepted: a client that lost the answer is told it again by any node. But where both
 * sides of a split accepted the same code neither may be delivered again: that would be a second approval after the
 * split was known. Old ones go with the next attempt that is recorded.
 */
function rememberApproval(attempts: StoredAttempt[], claim: ApprovedClaim): StoredAttempt[] {
  const { item, at } = claim;
  const id = shortId(claim.id);
  const own = { id, key: null, approved: true, reason: null, item, at };
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
  const byId = new Map(claims.map((claim) => [shortId(claim.id), claim]));
  const fresh = [...byId].filter(([id]) => !Object.hasOwn(state.merged, id));
  if (fresh.length === 0) return state;

  const code = countClaims(
    state.methods.code,
    fresh.map(([, claim]) => claim),
    settings,
    nowMs,
  );
  const ids = fresh.map(([id]) => id);
  return {
    ...state,
    methods: { ...state.methods, code },
    merged: rememberFailures(state.merged, ids, nowMs),
  };
}

function countClaims(
  code: MethodFailures,
  claims: readonly FailureClaim[],
  settings: Settings,
  nowMs: number,
): MethodFailures {
  const unlockedAt = Math.max(code.unlockedAt, ...claims.map((claim) => claim.unlockedAt));
  const before = unlockedAt > code.unlockedAt ? { ...code, ...noFailures, unlockedAt } : code;
  const since = claims.filter((claim) => claim.unlockedAt === unlockedAt);
  const { lockout } = settings;
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
      code: maxFailures(a.methods.code, b.methods.code),
    },
    lastWrong: laterWrong(a.lastWrong, b.lastWrong),
    attempts: unionAttempts(a.attempts, b.attempts),
    merged: newestMerged(unionMerged(a.merged, b.merged), MERGED_MAX),
  };
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
