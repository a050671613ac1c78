import type { VerificationAttempt, VerificationOutcome } from '@countersign/api';
import type { AuditEvent, Reservation } from '@countersign/database';
import {
  findAttempt,
  isUsedClaim,
  type Claim,
  type Factor,
  type FailureClaim,
  type Judgement,
  type Settings,
  type TextClaim,
  type UserDocument,
  type UserState,
} from '@countersign/verification';
import type { AttemptIds } from './attempt-ids.ts';
import type { PasswordProof } from './first-factor.ts';
import type { OpenedChallenge } from './sealed-challenge.ts';

/** One attempt of one user, while it is judged. */
export type Step = {
  attempt: VerificationAttempt;
  ids: AttemptIds;
  event: AuditEvent;
  startedAt: number;
  /** Monotonic ms at which waiting for the quorum ends. */
  quorumUntil: number;
  user: UserDocument;
  settings: Settings;
  /** What whoever has proven nothing yet is spoken to in. */
  publicLanguage: string;
  knownNodes: number;
  codesNotBeforeMs: number | null;
  reservations: Reservation[];
  secrets: Map<string, Buffer>;
  challenge: OpenedChallenge | null;
  /** Null: no password was typed. */
  proof: (PasswordProof & { at: number }) | null;
  pin: 'right' | 'wrong' | null;
  recoveryPlace: number | null;
  cacheKey: string | null;
  /** Item this step holds a reservation for. */
  reserved: string | null;
  hasBegun: boolean;
};

/** What a step leaves to be done when the user's next one may begin: it may take seconds. */
export type Later = { kind: 'later'; finish(): Promise<VerificationOutcome> };

export type WaitingAttempt = VerificationAttempt & {
  waiting: NonNullable<VerificationAttempt['waiting']>;
};

export type Judged = Extract<Judgement, { kind: 'record' }>;
export type Known = { state: UserState; revision: number };
/** isAlone: the quorum is away. */
export type Begun = Known & { mayAsk: boolean; isAlone: boolean };

/** What this node alone knows of a user while the quorum is away. */
export type LocalCounts = {
  localFailures: Record<Factor, number>;
  localTexts: number;
  localAnswers: string[];
};

/** Somebody was asked elsewhere, and the front door waits for the answer. */
export function isWaitedFor(
  outcome: VerificationOutcome,
): outcome is Extract<VerificationOutcome, { kind: 'challenge' }> {
  return outcome.kind === 'challenge' && outcome.asks.length === 0;
}

/** For the quorum, and time enough to be heard at all. */
export function remainingMsOf({ quorumUntil }: Step): number {
  return Math.max(50, quorumUntil - performance.now());
}

/** Of the keys that a client may have sent the same with moments ago, the one that is known. */
export function recognise(
  ids: AttemptIds,
  state: UserState,
  reservations: Reservation[],
): AttemptIds | null {
  if (ids.resent.length === 0) return null;
  const nowMs = Date.now();
  const isKnown = ({ attemptId }: AttemptIds) =>
    findAttempt(state, attemptId, nowMs) !== null ||
    reservations.some((row) => row.attemptId === attemptId);
  return [ids, ...ids.resent].find(isKnown) ?? null;
}

/** Whether it asks how a question went that is answered elsewhere. */
export function isOfWait({ challenge, attempt }: Step): boolean {
  const isChoice = attempt.method !== null;
  return challenge !== null && !isChoice && challenge.row.waitsFor.length > 0;
}

export function unmergedIn(reservations: Reservation[]): Claim[] {
  return reservations.flatMap(({ phase, degraded, merged, claim }) =>
    phase === 'approved' && degraded && !merged && claim !== null ? [claim] : [],
  );
}

/** What this very attempt claimed without the quorum before: a failure, or a text. */
export function ownClaimIn({ reservations, ids }: Step): FailureClaim | TextClaim | null {
  for (const { attemptId, claim } of reservations) {
    if (attemptId !== ids.attemptId || claim === null || isUsedClaim(claim)) continue;
    // It is among what is known of the user's state.
    if ('wait' in claim) continue;
    if ('text' in claim || claim.factor !== 'pin') return claim;
  }
  return null;
}

/** What the event says of how it was judged. */
export function detailsOf({ item, question, verdict }: Judged): Record<string, unknown> {
  if (question) return { method: question.method, mode: question.row.mode };
  if (verdict.approved && verdict.skipped) return { skipped: verdict.skipped };
  // The event has the question's method already.
  if (item?.startsWith('challenge:')) return {};
  if (item?.startsWith('recovery:')) return { method: 'recovery' };
  // It may have stood in for a text.
  return item === null ? {} : { method: 'oath' };
}

export function isReplay(judgement: Judgement): boolean {
  return (
    judgement.kind === 'final' &&
    !judgement.verdict.approved &&
    judgement.verdict.reason === 'replayed'
  );
}
