import type { Claim } from './claims.ts';
import type { Authenticator, OathAuthenticator, UserDocument } from './documents.ts';
import {
  addFailures,
  clearFailures,
  countedFailures,
  failuresInForce,
  isLocked,
} from './lockout.ts';
import { codesEqual, hotp, otpKey, totpStep } from './otp.ts';
import type { DenialReason, Verdict } from './reasons.ts';
import type { Settings } from './settings.ts';
import {
  findAttempt,
  pruneAccepted,
  recentAttempts,
  rememberFailures,
  shortId,
} from './user-state.ts';
import type { MethodFailures, UserState } from './user-state.ts';

export type JudgeCodeInput = {
  user: UserDocument;
  /** Opened secret by authenticator id; an authenticator without one cannot be used. */
  secrets: ReadonlyMap<string, Uint8Array>;
  state: UserState;
  settings: Settings;
  attempt: {
    /** Keyed hash of who asks, for whom, and everything that is judged. */
    id: string;
    /** Keyed hash of the client and its idempotency key. */
    keyHash: string | null;
    code: string;
    client: string;
    /** Keyed hash of the code, so that no state holds what people typed. */
    wrongCodeHmac: string;
  };
  nowMs: number;
  /** The cluster's median clock; no step beyond the next one there is accepted. */
  medianNowMs?: number;
  /**
   * Codes made before this Unix time may have been used where nobody remembers it: after a forced promotion or a
   * restore (rule 30). Null: everything accepted is known.
   */
  codesNotBeforeMs?: number | null;
  withoutQuorum?: {
    knownNodes: number;
    /** Failures this node counted since the quorum went, not in `state`. */
    localFailures: number;
  };
};

export type Judgement =
  /** Nothing to record. */
  | { kind: 'final'; verdict: Verdict }
  /** The verdict counts only once `next` is stored in place of the state that was judged. */
  | { kind: 'record'; verdict: Verdict; next: UserState; item: string | null; claim: Claim }
  /** The idempotency key was used for something else within the last 10 s. */
  | { kind: 'conflict' };

const HOTP_LOOK_AHEAD = 10;
const HOTP_LOOK_BACK = 10;
/** The first of two codes in a row may be this far ahead (RFC 4226, 7.4). */
const HOTP_RESYNC_LOOK_AHEAD = 50;
const RESYNC_KEPT_SECONDS = 600;
const WRONG_CODE_STEP_MS = 30_000;
const WRONG_CODE_REPEAT_MS = 60_000;

/** Judges one code against all of a user's authenticators. Pure: the caller records the outcome. */
export function judgeCode(input: JudgeCodeInput): Judgement {
  const { user, state, settings, attempt, nowMs } = input;

  const known = findAttempt(state, attempt.id, nowMs);
  if (known) {
    return known.approved
      ? { kind: 'final', verdict: { approved: true } }
      : denied(known.reason ?? 'wrong_code');
  }
  if (isKeyTaken(input)) return { kind: 'conflict' };
  if (!user.enabled) return denied('disabled');
  if (user.blocked && nowMs < Date.parse(user.blocked.expiresAt)) return denied('blocked');
  const usable = user.authenticators
    .filter(isActiveToken)
    .filter(({ id }) => input.secrets.has(id));
  if (usable.length === 0) return denied('no_method');
  const failures = failuresInForce(state.methods.code, user);
  if (isLocked(failures, nowMs)) return denied('locked_out');
  if (isLocalBudgetSpent(input, failures)) return denied('locked_out');

  const matches = usable.flatMap((authenticator) => findMatches(authenticator, input));
  const fresh = matches.filter((one) => !one.isUsed && !isUsedByTwin(one, matches));
  const match = fresh.find((one) => !one.isUnproven);
  if (match) return approve(input, match, failures);
  if (fresh[0]) return askForNextCode(input, fresh[0]);
  if (matches.length > 0) return denied('replayed');
  if (isRepeatedWrongCode(input)) return denied('wrong_code');
  return countFailure(input, addFailures(failures, { count: 1, lockout: settings.lockout, nowMs }));
}

function denied(reason: DenialReason): Judgement {
  return { kind: 'final', verdict: { approved: false, reason } };
}

function isKeyTaken({ state, attempt, nowMs }: JudgeCodeInput): boolean {
  if (attempt.keyHash === null) return false;
  const key = shortId(attempt.keyHash);
  return recentAttempts(state.attempts, nowMs).some((other) => other.key === key);
}

// Nodes that cannot see each other's failures share out what is left of the limit, so that
// splitting a cluster gives nobody more guesses (but one each, or nobody could sign in).
function isLocalBudgetSpent(input: JudgeCodeInput, failures: MethodFailures): boolean {
  if (!input.withoutQuorum) return false;
  const { knownNodes, localFailures } = input.withoutQuorum;
  const { lockout } = input.settings;
  const left = lockout.failures - countedFailures(failures, lockout, input.nowMs);
  return localFailures >= Math.max(1, Math.floor(left / Math.max(1, knownNodes)));
}

type Match = {
  type: OathAuthenticator['type'];
  authenticatorId: string;
  /** TOTP step or HOTP counter. */
  position: number;
  isUsed: boolean;
  /** Right, but of a counter that has to be found again: the code after it decides. */
  isUnproven: boolean;
};

function isActiveToken(authenticator: Authenticator): authenticator is OathAuthenticator {
  return authenticator.type !== 'phone' && !authenticator.awaitsActivation;
}

function findMatches(authenticator: OathAuthenticator, input: JudgeCodeInput): Match[] {
  const secret = input.secrets.get(authenticator.id);
  if (!secret) return [];
  const key = otpKey(secret);
  const { type, id } = authenticator;
  const lastAccepted = Math.max(input.state.accepted[id]?.[0] ?? -1, authenticator.usedUpTo ?? -1);
  const mustResync = isResyncDue(authenticator, input);
  const pending = mustResync ? pendingCounter(id, input) : null;
  const lastGone = Math.max(lastAccepted, lastStepOfLostTime(authenticator, input));
  const positions =
    authenticator.type === 'totp'
      ? totpSteps(authenticator.periodSeconds, input)
      : hotpCounters(
          authenticator.initialCounter,
          lastAccepted,
          mustResync ? HOTP_RESYNC_LOOK_AHEAD : HOTP_LOOK_AHEAD,
        );
  // Every one is computed and compared: the time taken must not tell which one matched.
  return positions
    .filter((position) => codesEqual(hotp(key, position, authenticator), input.attempt.code))
    .map((position) => ({
      type,
      authenticatorId: id,
      position,
      isUsed: position <= lastGone,
      isUnproven: mustResync && position - 1 !== pending,
    }));
}

/** Steps up to this one may have been used where nobody remembers it. */
function lastStepOfLostTime(authenticator: OathAuthenticator, input: JudgeCodeInput): number {
  if (authenticator.type !== 'totp' || !input.codesNotBeforeMs) return -1;
  return totpStep(input.codesNotBeforeMs, authenticator.periodSeconds);
}

/** A counter that may have moved on unseen, and that no code has been accepted of since. */
function isResyncDue(authenticator: OathAuthenticator, input: JudgeCodeInput): boolean {
  const { codesNotBeforeMs, state } = input;
  if (authenticator.type !== 'hotp' || !codesNotBeforeMs) return false;
  if (Date.parse(authenticator.createdAt) >= codesNotBeforeMs) return false;
  return (state.accepted[authenticator.id]?.[1] ?? 0) * 1000 <= codesNotBeforeMs;
}

function pendingCounter(id: string, { state, nowMs }: JudgeCodeInput): number | null {
  const pending = state.resyncs?.[id];
  if (!pending || nowMs / 1000 - pending[1] > RESYNC_KEPT_SECONDS) return null;
  return pending[0];
}

/** Remembers the counter; costs nothing, and is worth nothing without the next code. */
function askForNextCode(input: JudgeCodeInput, match: Match): Judgement {
  const { state, attempt, nowMs } = input;
  // Found again it must be the same everywhere, so it waits for the quorum.
  if (input.withoutQuorum || pendingCounter(match.authenticatorId, input) === match.position) {
    return denied('resync');
  }
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'resync' },
    next: {
      ...state,
      resyncs: {
        ...state.resyncs,
        [match.authenticatorId]: [match.position, Math.floor(nowMs / 1000)],
      },
      attempts: withAttempt(input, { approved: false, reason: 'resync', item: null }),
    },
    item: null,
    claim: { id: attempt.id, at: nowMs, failure: true, unlockedAt: 0 },
  };
}

function totpSteps(periodSeconds: number, input: JudgeCodeInput): number[] {
  const now = totpStep(input.nowMs, periodSeconds);
  const median = totpStep(input.medianNowMs ?? input.nowMs, periodSeconds);
  return [now - 1, now, now + 1].filter((step) => step >= 0 && step <= median + 1);
}

/** The last 10 counters up to the accepted one, then the 10 that may come next. */
function hotpCounters(initialCounter: number, lastAccepted: number, lookAhead: number): number[] {
  const next = Math.max(initialCounter, lastAccepted + 1);
  const behind = counters(Math.max(0, lastAccepted + 1 - HOTP_LOOK_BACK), lastAccepted);
  return [...behind, ...counters(next, next + lookAhead - 1)];
}

function counters(first: number, last: number): number[] {
  return Array.from({ length: last - first + 1 }, (_, index) => first + index);
}

/** Two authenticators with one seed share their codes: what one of them used up is used up. */
function isUsedByTwin(match: Match, matches: readonly Match[]): boolean {
  return matches.some(
    (other) => other.isUsed && other.type === match.type && other.position === match.position,
  );
}

function approve(input: JudgeCodeInput, match: Match, failures: MethodFailures): Judgement {
  const { user, state, attempt, nowMs } = input;
  const { authenticatorId, position } = match;
  const { [authenticatorId]: _found, ...resyncs } = state.resyncs ?? {};
  const item = `${match.type}:${authenticatorId}:${position}`;
  const accepted: UserState['accepted'] = {
    ...state.accepted,
    [authenticatorId]: [position, Math.floor(nowMs / 1000)],
  };
  const knownIds = new Set(user.authenticators.map(({ id }) => id));
  return {
    kind: 'record',
    verdict: { approved: true },
    next: {
      ...state,
      ...(state.resyncs && { resyncs }),
      accepted: pruneAccepted(accepted, knownIds),
      methods: { ...state.methods, code: clearFailures(failures) },
      lastWrong: null,
      attempts: withAttempt(input, { approved: true, reason: null, item }),
    },
    item,
    claim: { id: attempt.id, at: nowMs, authenticatorId, last: position, item },
  };
}

function isRepeatedWrongCode({ user, state, attempt, nowMs }: JudgeCodeInput): boolean {
  const { lastWrong } = state;
  return (
    lastWrong !== null &&
    user.authenticators.some(({ type }) => type === 'totp') &&
    lastWrong.hmac === shortId(attempt.wrongCodeHmac) &&
    lastWrong.client === shortId(attempt.client) &&
    lastWrong.step === wrongCodeStep(nowMs) &&
    nowMs - lastWrong.at <= WRONG_CODE_REPEAT_MS
  );
}

function countFailure(input: JudgeCodeInput, code: MethodFailures): Judgement {
  const { state, attempt, nowMs } = input;
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'wrong_code' },
    next: {
      ...state,
      methods: { ...state.methods, code },
      lastWrong: {
        hmac: shortId(attempt.wrongCodeHmac),
        client: shortId(attempt.client),
        step: wrongCodeStep(nowMs),
        at: nowMs,
      },
      attempts: withAttempt(input, { approved: false, reason: 'wrong_code', item: null }),
      merged: rememberFailures(state.merged, [shortId(attempt.id)], nowMs),
    },
    item: null,
    claim: { id: attempt.id, at: nowMs, failure: true, unlockedAt: code.unlockedAt },
  };
}

function wrongCodeStep(nowMs: number): number {
  return Math.floor(nowMs / WRONG_CODE_STEP_MS);
}

function withAttempt(
  { state, attempt, nowMs }: JudgeCodeInput,
  outcome: { approved: boolean; reason: DenialReason | null; item: string | null },
): UserState['attempts'] {
  const stored = {
    id: shortId(attempt.id),
    key: attempt.keyHash === null ? null : shortId(attempt.keyHash),
    ...outcome,
    at: nowMs,
  };
  return recentAttempts([...state.attempts, stored], nowMs);
}
