import { randomUUID } from 'node:crypto';
import type { VerificationAttempt, VerificationOutcome } from '@countersign/api';
import { findUserById, namesOf, type Database, type ReadSettings } from '@countersign/database';
import { generationsOf, type PurposeKey } from '@countersign/keys';
import {
  defaultSettings,
  findApplication,
  methodRow,
  settingsFor,
  usernameKey,
  type DenialReason,
  type Question,
  type Settings,
  type UserDocument,
} from '@countersign/verification';
import type { AttemptIds } from './attempt-ids.ts';
import type { DatabaseGate } from './database-gate.ts';
import type { PasswordProof } from './first-factor.ts';
import {
  openChallenge,
  sealChallenge,
  type Challenge,
  type ChallengeBinding,
  type OpenedChallenge,
} from './sealed-challenge.ts';
import { textCodeOf } from './text-code.ts';

export type QuestionsOptions = {
  db: Database;
  gate: DatabaseGate;
  /** Seals them. */
  key: PurposeKey;
  incarnation: ChallengeBinding['incarnation'];
};

/** What a question and its answer have in common. */
export type Bound = Pick<VerificationAttempt, 'caller' | 'door' | 'application' | 'station'>;
export type Asking = { question: Question; askedAt: number };

export type AskingStep = {
  attempt: VerificationAttempt;
  ids: AttemptIds;
  user: UserDocument;
  settings: Settings;
  /** What whoever has proven nothing yet is spoken to in. */
  publicLanguage: string;
  challenge: OpenedChallenge | null;
  proof: (Pick<PasswordProof, 'target'> & { at: number }) | null;
};

/** What people are asked: sealed into what they bring back, never stored (security rule 6). */
export class Questions {
  readonly #options: QuestionsOptions;

  constructor(options: QuestionsOptions) {
    this.#options = options;
  }

  /** Opens what an answer brings back, and finds whose question it was. */
  async open(
    attempt: Bound & { username: string | null },
    { id, sealed }: { id: string; sealed: string },
  ): Promise<
    | { kind: 'opened'; challenge: OpenedChallenge; username: string }
    /** `expiresAt`: everything agreed, but there is no such user. */
    | { kind: 'refused'; reason: DenialReason; expiresAt?: number }
  > {
    const { key, gate, db } = this.#options;
    const opening = openChallenge(key, sealed, { id, ...this.#bindingOf(attempt) });
    if (opening.kind === 'refused') return opening;
    const { challenge } = opening;
    const user = await gate.pass(() => findUserById(db, challenge.userId));
    if (!user) {
      return { kind: 'refused', reason: 'unknown_user', expiresAt: challenge.expiresAt };
    }
    if (attempt.username !== null && !isCalled(user, attempt.username)) {
      return { kind: 'refused', reason: 'challenge_user' };
    }
    return { kind: 'opened', challenge, username: user.username };
  }

  /** What somebody is asked, in words that show only what they have proven to be entitled to. */
  of(step: AskingStep, { question, askedAt }: Asking, degraded: boolean): VerificationOutcome {
    const { attempt, user, ids, settings } = step;
    const { row, method, phoneId, others, untilMs } = question;
    const firstFactor = firstFactorOf(step, askedAt);
    const phone = user.authenticators.find(({ id }) => id === phoneId);
    return this.#seal(attempt, {
      id: questionId(attempt, ids, question),
      userId: user.id,
      untilMs,
      row,
      method,
      others,
      language: firstFactor ? settings.company.language : step.publicLanguage,
      code: phoneId === null ? null : this.textCode(step, askedAt),
      settings,
      sentTo: phone?.type === 'phone' ? maskNumber(phone.number) : null,
      firstFactor,
      degraded,
    });
  }

  /** To a stranger nobody is unknown: the question is like any other, and no answer is right. */
  ofNobody(
    attempt: VerificationAttempt,
    ids: AttemptIds,
    known: ReadSettings | null,
  ): VerificationOutcome {
    const settings = known?.settings ?? defaultSettings;
    const application = findApplication(known?.applications ?? new Map(), attempt.application);
    return this.#seal(attempt, {
      id: freeQuestionId(attempt, ids),
      userId: ids.verificationId,
      row: methodRow('oath', 'code'),
      method: 'oath',
      others: [],
      language: settingsFor(settings, application).company.language,
      code: null,
      settings,
      sentTo: null,
      firstFactor: null,
      degraded: false,
    });
  }

  #seal(
    attempt: VerificationAttempt,
    about: Pick<Challenge, 'id' | 'userId' | 'code' | 'firstFactor'> &
      Pick<Question, 'row' | 'method' | 'others'> & {
        language: string;
        settings: Settings;
        sentTo: string | null;
        degraded: boolean;
        /** Missing: as long as questions are open. */
        untilMs?: number | undefined;
      },
  ): VerificationOutcome {
    const { id, userId, row, method, code, firstFactor, settings, degraded } = about;
    const { sentTo, others, language } = about;
    const issuedAt = Date.now();
    const expiresAt = about.untilMs ?? issuedAt + settings.methods.answerMinutes * 60_000;
    const sealed = sealChallenge(this.#options.key, {
      ...this.#bindingOf(attempt),
      id,
      userId,
      row,
      firstFactor,
      code,
      issuedAt,
      expiresAt,
    });
    return {
      kind: 'challenge',
      id,
      sealed,
      method,
      mode: row.mode,
      asks: row.asks,
      sentTo,
      others,
      language,
      expiresAt: new Date(expiresAt).toISOString(),
      degraded,
    };
  }

  /** What a question is bound to when it is sealed, and its answer compared with. */
  #bindingOf({ door, caller, application, station = '' }: Bound): ChallengeBinding {
    const { incarnation } = this.#options;
    return { purpose: 'sign-in', door, clientId: caller.id, application, station, incarnation };
  }

  /** Of a text: the same for the same attempt, on any node. */
  textCode({ ids, settings }: Pick<AskingStep, 'ids' | 'settings'>, askedAt: number): string {
    const asked = { attemptId: ids.attemptId, askedAt };
    const { key } = this.#options;
    const generation = generationsOf(key).find(({ keyId }) => keyId === ids.keyId) ?? key;
    return textCodeOf(generation, asked, settings.methods.codeDigits);
  }
}

function questionId(attempt: VerificationAttempt, ids: AttemptIds, { row }: Question): string {
  if (row.waitsFor.length === 0) {
    return row.begins === 'nothing' ? freeQuestionId(attempt, ids) : ids.verificationId;
  }
  // Whoever asks how that went has its name already.
  const isChoice = attempt.challenge !== null && attempt.method !== null;
  return attempt.challenge === null || isChoice ? ids.waitId : attempt.challenge.id;
}

/**
 * A question that nothing is recorded of. Over RADIUS it is another each time: who signs in twice within seconds is
 * not to be given the one that is answered already.
 */
function freeQuestionId({ door, challenge }: VerificationAttempt, ids: AttemptIds): string {
  return door === 'pap-challenge' && challenge === null ? randomUUID() : ids.verificationId;
}

/**
 * What a question says of it: proven now, by the same attempt a moment ago, or before the question that this one takes
 * the place of. Without a right password nobody who typed one is asked anything.
 */
function firstFactorOf(
  { attempt, user, proof, challenge }: AskingStep,
  askedAt: number,
): Challenge['firstFactor'] {
  if (attempt.password !== null) {
    return { target: proof?.target?.id ?? user.directory?.id ?? '', at: proof?.at ?? askedAt };
  }
  const at = challenge?.firstFactorAt ?? null;
  return at === null ? null : { target: '', at };
}

/** Whether that is one of the user's own names, whoever else has it. */
function isCalled(user: UserDocument, typed: string): boolean {
  const key = usernameKey(typed);
  return usernameKey(user.username) === key || namesOf(user).some((name) => name.key === key);
}

/** All but the last two digits hidden. */
function maskNumber(number: string): string {
  return `${number.slice(0, 3)}${'*'.repeat(Math.max(0, number.length - 5))}${number.slice(-2)}`;
}
