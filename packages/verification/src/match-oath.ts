import type { Authenticator, OathAuthenticator } from './documents.ts';
import type { StepInput } from './judge-step.ts';
import { codesEqual, hotp, otpKey, totpStep } from './otp.ts';

const HOTP_LOOK_AHEAD = 10;
const HOTP_LOOK_BACK = 10;
/** The first of two codes in a row may be this far ahead (RFC 4226, 7.4). */
const HOTP_RESYNC_LOOK_AHEAD = 50;
const RESYNC_KEPT_SECONDS = 600;

export type Match = {
  type: OathAuthenticator['type'];
  authenticatorId: string;
  /** TOTP step or HOTP counter. */
  position: number;
  isUsed: boolean;
  /** Right, but of a counter that has to be found again: the code after it decides. */
  isUnproven: boolean;
};

/** A token that is known to be in the user's hands. */
export function isActiveToken(authenticator: Authenticator): authenticator is OathAuthenticator {
  return authenticator.type !== 'phone' && !authenticator.awaitsActivation;
}

export type MatchResult =
  | { kind: 'right'; match: Match }
  /** Right, but its counter has to be found again. */
  | { kind: 'unproven'; match: Match }
  | { kind: 'replayed' }
  | { kind: 'wrong' };

/** Compares a code with all of a user's tokens, whatever matches first. */
export function matchOath(
  tokens: readonly OathAuthenticator[],
  code: string,
  input: StepInput,
): MatchResult {
  const matches = tokens.flatMap((token) => findMatches(token, code, input));
  const fresh = matches.filter((one) => !one.isUsed && !isUsedByTwin(one, matches));
  const match = fresh.find((one) => !one.isUnproven);
  if (match) return { kind: 'right', match };
  if (fresh[0]) return { kind: 'unproven', match: fresh[0] };
  return matches.length > 0 ? { kind: 'replayed' } : { kind: 'wrong' };
}

function findMatches(authenticator: OathAuthenticator, code: string, input: StepInput): Match[] {
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
    .filter((position) => codesEqual(hotp(key, position, authenticator), code))
    .map((position) => ({
      type,
      authenticatorId: id,
      position,
      isUsed: position <= lastGone,
      isUnproven: mustResync && position - 1 !== pending,
    }));
}

/** Steps up to this one may have been used where nobody remembers it. */
function lastStepOfLostTime(authenticator: OathAuthenticator, input: StepInput): number {
  if (authenticator.type !== 'totp' || !input.codesNotBeforeMs) return -1;
  return totpStep(input.codesNotBeforeMs, authenticator.periodSeconds);
}

/** A counter that may have moved on unseen, and that no code has been accepted of since. */
function isResyncDue(authenticator: OathAuthenticator, input: StepInput): boolean {
  const { codesNotBeforeMs, state } = input;
  if (authenticator.type !== 'hotp' || !codesNotBeforeMs) return false;
  if (Date.parse(authenticator.createdAt) >= codesNotBeforeMs) return false;
  return (state.accepted[authenticator.id]?.[1] ?? 0) * 1000 <= codesNotBeforeMs;
}

/** The counter of a first right code, which the one after it proves. */
export function pendingCounter(id: string, { state, nowMs }: StepInput): number | null {
  const pending = state.resyncs?.[id];
  if (!pending || nowMs / 1000 - pending[1] > RESYNC_KEPT_SECONDS) return null;
  return pending[0];
}

function totpSteps(periodSeconds: number, input: StepInput): number[] {
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
