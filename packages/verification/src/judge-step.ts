import { isRecoveryUsed, failureId } from './claims.ts';
import type { Claim, FailureClaim, UsedClaim } from './claims.ts';
import type { UserDocument } from './documents.ts';
import {
  addFailures,
  clearFailures,
  countedFailures,
  failuresInForce,
  isLocked,
  lockoutOf,
} from './lockout.ts';
import { isActiveToken, matchOath, pendingCounter } from './match-oath.ts';
import type { Match } from './match-oath.ts';
import { asksPin, methodRow } from './methods.ts';
import type { Factor, FrontDoor, Method, MethodRow } from './methods.ts';
import { mustChangePin } from './pin.ts';
import type { DenialReason, Verdict } from './reasons.ts';
import type { Settings } from './settings.ts';
import { isTrustedAddress } from './trusted-address.ts';
import {
  CACHES_MAX,
  findAttempt,
  noFailures,
  PASSWORD_ASKS_MAX,
  pruneAccepted,
  recentAttempts,
  recentTexts,
  rememberFailures,
  shortId,
  SPENT_MAX,
  unexpiredSpent,
  WRONG_ANSWERS_MAX,
} from './user-state.ts';
import type { MethodFailures, StoredAttempt, UserState, Wait } from './user-state.ts';
import {
  ANSWERS,
  answerOf,
  ASKED_MAX,
  findWait,
  latestWaits,
  questionKey,
  recentlyAsked,
  WAIT_OPEN,
  waitOfQuestion,
  waitsInForce,
  WAITS_MAX,
} from './waits.ts';
import type { WaitAnswer } from './waits.ts';

export type StepInput = {
  user: UserDocument;
  /** Opened secret by authenticator id; a token without one cannot be used. */
  secrets: ReadonlyMap<string, Uint8Array>;
  state: UserState;
  /** Those in force for this user at this application: what the user chose is in them. */
  settings: Settings;
  attempt: {
    /** Keyed hash of who asks, for whom, and everything that is judged. */
    id: string;
    /** Keyed hash of the client and its idempotency key. */
    keyHash: string | null;
    /** Of the question, if one is asked that is answered elsewhere. */
    questionId?: string;
    client: string;
    door: FrontDoor;
    /** null: nothing typed yet. */
    code: string | null;
    /** The method asked for; null: the user's. */
    method: Method | null;
    /** Keyed hash of the code, so that no state holds what people typed. */
    wrongCodeHmac: string | null;
  };
  /** False: nobody is offered a text. Whoever has no other method learns in the event what is missing. */
  canSendTexts?: boolean;
  /** Methods that this user can be asked by elsewhere, such as on a phone. */
  elsewhere?: readonly Method[];
  /**
   * How long the front door waits for what is answered elsewhere, and who waits there; `hasGivenUp`: nobody any more.
   * Missing: it asks how that went now and then, for as long as any question can be answered.
   */
  waiting?: { seconds: number; holder: string; hasGivenUp: boolean } | null;
  /** The question that this answers, opened and checked; null: it begins. */
  challenge?: OpenChallenge | null;
  /** What the directory says of the password that was typed; null: none was. Until it is right nothing is judged. */
  password?: PasswordJudged | null;
  /** What the hash says of the PIN that was typed; null: none was. */
  pin?: 'right' | 'wrong' | null;
  /** Place of the typed code among the user's recovery codes; null: it is none. */
  recoveryPlace?: number | null;
  /** Where the person is, if the front door may say so. */
  personAddress?: string | null;
  /** Under which a success is kept, or was; null: it is not. */
  cacheKey?: string | null;
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
    localFailures: Partial<Record<Factor, number>>;
    /** Texts this node sent since then, not in `state`. */
    localTexts?: number;
    /** Wrong answers to questions, as {@link FailureClaim} has them, not in `state`. */
    localAnswers?: readonly string[];
  };
};

/** refused: neither right nor wrong, or right and not enough; it costs nothing. */
export type PasswordJudged =
  | { kind: 'right' }
  | { kind: 'wrong' }
  /** `mayBeWrong`: nobody heard the answer, but the directory may have counted a wrong one. */
  | { kind: 'refused'; reason: DenialReason; mayBeWrong?: true };

export type OpenChallenge = {
  id: string;
  method: Method;
  mode: string;
  expiresAtMs: number;
  /** Whether the typed code is the one that was sent. */
  isSentCode: boolean;
};

/** What the person is asked; `phoneId`: the code goes there first. */
export type Question = {
  row: MethodRow;
  method: Method;
  phoneId: string | null;
  /** Unix ms; of what is answered elsewhere. */
  untilMs?: number;
  /** What else the person could be asked at this front door. */
  others: Method[];
};

export type Judgement =
  /** Nothing to record. */
  | { kind: 'final'; verdict: Verdict }
  /** A question that costs nothing to ask, or (`repeated`) was asked before, at `askedAt`, by the same attempt. */
  | { kind: 'ask'; question: Question; repeated: boolean; askedAt: number }
  /** The verdict, or the question, counts only once `next` is stored in place of the state that was judged. */
  | {
      kind: 'record';
      verdict: Verdict;
      question?: Question;
      /** It was asked before: only who waits for the answer is new. */
      isAsked?: true;
      next: UserState;
      item: string | null;
      claim: Claim;
      /** Besides the claim: the PIN was wrong too. */
      pinFailure?: FailureClaim;
    }
  /** The idempotency key was used for something else within the last 10 s. */
  | { kind: 'conflict' };

type Recorded = Extract<Judgement, { kind: 'record' }>;

const WRONG_CODE_STEP_MS = 30_000;
const WRONG_CODE_REPEAT_MS = 60_000;
const HOUR_SECONDS = 3600;
/** What a directory was asked longer ago is answered, or lost with who asked. */
const PASSWORD_ASK_MS = 60_000;

/** Judges one step of a verification: it begins, or answers a question. Pure: the caller records the outcome. */
export function judgeStep(input: StepInput): Judgement {
  const judgement = judge(input);
  if (judgement.kind !== 'record') return judgement;
  const next = withoutAsk(input, judgement.next);
  if (!next.spent) return { ...judgement, next };
  // Whatever is recorded, what is over goes: nothing else may fill the state.
  return { ...judgement, next: { ...next, spent: unexpiredSpent(next.spent, input.nowMs) } };
}

function judge(input: StepInput): Judgement {
  const { user, attempt, nowMs } = input;

  const settled = judgeUnasked(input) ?? judgeUntyped(input) ?? judgePassword(input);
  if (settled) return settled;
  if (input.challenge) {
    const { code, method } = attempt;
    const isChoice = code === null && method !== null;
    return isChoice ? chooseMethod(input, input.challenge) : judgeAnswer(input, input.challenge);
  }

  if (user.exempt && nowMs < Date.parse(user.exempt.until)) return skipped('exempt');
  if (isTrustedAddress(input.personAddress ?? null, input.settings.trustedIps.ranges)) {
    return skipped('trusted_ip');
  }
  if (attempt.code !== null) return judgeTyped(input, attempt.code);
  const bypass = bypassInForce(input);
  if (bypass) return useBypass(input, bypass);
  if (isCached(input)) return skipped('cached');
  return begin(input);
}

/** What is so whatever was typed; null: what was typed counts. */
function judgeUnasked(input: StepInput): Judgement | null {
  const { user, state, attempt, nowMs } = input;
  const known = findAttempt(state, attempt.id, nowMs);
  const wait = findWait(state, attempt.id, nowMs);
  if (wait) return joinWait(input, wait, known);
  if (known) return repeat(input, known);
  if (isKeyTaken(input)) return { kind: 'conflict' };
  if (!user.enabled) return denied('disabled');
  if (user.blocked && nowMs < Date.parse(user.blocked.expiresAt)) return denied('blocked');
  return null;
}

/**
 * By MSCHAPv2 nothing more than the password can be typed. Whom no right one would let in is denied before anybody is
 * asked about it (security rule 23), for a change of the password would be made there.
 */
function judgeUntyped(input: StepInput): Judgement | null {
  if (input.attempt.door !== 'mschapv2' || input.password?.kind === 'right') return null;
  const judged = judge({ ...input, password: { kind: 'right' } });
  return judged.kind === 'final' && !judged.verdict.approved ? judged : null;
}

function denied(reason: DenialReason): Judgement {
  return { kind: 'final', verdict: { approved: false, reason } };
}

function skipped(skip: NonNullable<Extract<Verdict, { approved: true }>['skipped']>): Judgement {
  return { kind: 'final', verdict: { approved: true, skipped: skip } };
}

function repeat(input: StepInput, known: StoredAttempt): Judgement {
  if (known.approved) return { kind: 'final', verdict: { approved: true } };
  if (known.reason !== 'sent') return denied(known.reason ?? 'wrong_code');
  const question = questionOf(input);
  if (!question) return denied('no_method');
  return { kind: 'ask', question, repeated: true, askedAt: known.at };
}

function isKeyTaken({ state, attempt, nowMs }: StepInput): boolean {
  if (attempt.keyHash === null) return false;
  const key = shortId(attempt.keyHash);
  return recentAttempts(state.attempts, nowMs).some((other) => other.key === key);
}

// ---- the first factor

/** What its answer comes to; null: there is nothing in the way of the second. */
function judgePassword(input: StepInput): Judgement | null {
  const { password, state, nowMs } = input;
  if (!password) return null;
  if (isPasswordLocked(input)) return denied('password_locked');
  if (password.kind === 'right') return null;
  if (password.kind === 'refused') return denied(password.reason);
  const { counts, claim } = countFailureOf(input, 'password');
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'wrong_password' },
    next: {
      ...state,
      methods: { ...state.methods, password: counts },
      attempts: withAttempt(input, { approved: false, reason: 'wrong_password', item: null }),
      merged: rememberFailures(state.merged, [failureId(claim)], nowMs),
    },
    item: null,
    claim,
  };
}

/**
 * What is stored before a directory is asked for a password: that it is. Guesses on other nodes see it, and it counts
 * as a failure until its answer is recorded, so that guesses at once are no more than the limit. Null: the directory is
 * not asked, for the rules deny in any case, or know the verdict already.
 */
export function askPassword(input: StepInput): UserState | null {
  const { state, attempt, nowMs } = input;
  if (judgeUnasked(input) || isPasswordLocked(input) || judgeUntyped(input)) return null;
  const own = shortId(attempt.id);
  // Without the quorum it is what this step wrote itself, and was not answered.
  const isAsked = !input.withoutQuorum && isPasswordAsked(state, attempt.id);
  const asks = otherAsks(input);
  if (isAsked || asks.length >= PASSWORD_ASKS_MAX) return null;
  return { ...state, passwordAsks: [...asks, [own, Math.floor(nowMs / 1000)]] };
}

/** Whether it is recorded that a directory is asked for the password of this attempt. */
export function isPasswordAsked({ passwordAsks = [] }: UserState, attemptId: string): boolean {
  return passwordAsks.some(([id]) => id === shortId(attemptId));
}

/** The state after the answer to {@link askPassword}, where nothing else is recorded; null: as it was. */
export function settlePassword(input: StepInput): UserState | null {
  if (!isPasswordAsked(input.state, input.attempt.id)) return null;
  return withoutAsk(input, input.state);
}

/** `next` with the answer to a password: a right one ends what was counted, as it does at the directory. */
function withoutAsk(input: StepInput, next: UserState): UserState {
  const { password, state } = input;
  if (!password) return next;
  const { passwordAsks: _settled, ...rest } = next;
  const isRight = password.kind === 'right' && !isPasswordLocked(input);
  const lostBefore = Math.floor((input.nowMs - PASSWORD_ASK_MS) / 1000);
  const asks = otherAsks(input).filter(([, at]) => !isRight || at > lostBefore);
  const left = asks.length > 0 ? { ...rest, passwordAsks: asks } : rest;
  if (isRight) {
    if (!state.methods.password) return left;
    const cleared = clearFailures(failuresOf(input, 'password'));
    return { ...left, methods: { ...left.methods, password: cleared } };
  }
  if (password.kind !== 'refused' || !password.mayBeWrong) return left;
  const { counts: counted } = countFailureOf(input, 'password');
  return { ...left, methods: { ...left.methods, password: counted } };
}

/** Those of other attempts that are not over: an answer that never came counts as long as a wrong one. */
function otherAsks({ state, attempt, user, settings, nowMs }: StepInput): [string, number][] {
  const own = shortId(attempt.id);
  const since = Math.max(
    nowMs - lockoutOf(settings, 'password').resetMinutes * 60_000,
    user.unlockedAt === null ? 0 : Date.parse(user.unlockedAt),
  );
  return (state.passwordAsks ?? []).filter(([id, at]) => id !== own && (at + 1) * 1000 > since);
}

/** Whether a user's directory is not asked for now, so that nobody locks the account there from here. */
function isPasswordLocked(input: StepInput): boolean {
  if (isLocked(failuresOf(input, 'password'), input.nowMs)) return true;
  return passwordsLeft(input) <= 0 || isLocalBudgetSpent(input, 'password');
}

function passwordsLeft(input: StepInput): number {
  const lockout = lockoutOf(input.settings, 'password');
  const counted = countedFailures(failuresOf(input, 'password'), lockout, input.nowMs);
  return lockout.failures - counted - otherAsks(input).length;
}

// ---- it begins without anything typed

function begin(input: StepInput): Judgement {
  const question = questionOf(input);
  if (!question) return denied('no_method');
  if (!isAskable(input, question.row)) return denied('no_method_for_protocol');
  if (isLockedOut(input, question.row)) return denied('locked_out');
  const open = unexpiredSpent(input.state.spent, input.nowMs);
  // An approval of what somebody is asked elsewhere needs room as well.
  const ending = waitsInForce(input.state, input.nowMs).length;
  if (Object.keys(open).length + ending >= SPENT_MAX) return denied('busy');
  if (question.row.waitsFor.length > 0) return beginWait(input, question);
  return question.phoneId === null
    ? { kind: 'ask', question, repeated: false, askedAt: input.nowMs }
    : sendText(input, question);
}

/** Where an answer can follow a question. */
const ASKING_DOORS: ReadonlySet<FrontDoor> = new Set(['http', 'web', 'pap-challenge']);

function isAskable({ attempt: { door } }: StepInput, { doors, asks }: MethodRow): boolean {
  return doors.includes(door) && (asks.length === 0 || ASKING_DOORS.has(door));
}

/** Another question in place of the one that was asked: that one stays open, and costs what it costs. */
function chooseMethod(input: StepInput, challenge: OpenChallenge): Judgement {
  return whyOver(input, challenge) ?? begin(input);
}

/** The method asked for, or the user's, or whatever else the user can do here. */
function questionOf(input: StepInput): Question | null {
  const { user, attempt, settings } = input;
  const preferred = attempt.method ?? settings.methods.default;
  const others = attempt.method === null ? ASKABLE : [];
  const rows = [preferred, ...others]
    .filter((method) => canBeAsked(input, method))
    .map((method) => ({ method, row: methodRow(method, modeOf(input, method)) }));
  const found = rows.find(({ row }) => isAskable(input, row)) ?? rows[0];
  if (!found) return null;
  const { method, row } = found;
  const phoneId = method === 'text' ? phoneOf(user) : null;
  return { method, row, phoneId, others: othersThan(input, method) };
}

/** What can be asked of somebody whose own method cannot, in this order. */
const ASKABLE = ['oath', 'text', 'app', 'call'] as const satisfies Method[];

function canBeAsked(input: StepInput, method: Method): boolean {
  if (method === 'oath') return usableTokens(input).length > 0;
  if (method === 'text') return phoneOf(input.user) !== null;
  return input.elsewhere?.includes(method) ?? false;
}

function othersThan(input: StepInput, method: Method): Method[] {
  return ASKABLE.filter(
    (other) =>
      other !== method &&
      (other !== 'text' || input.canSendTexts !== false) &&
      canBeAsked(input, other) &&
      methodRow(other, modeOf(input, other)).doors.includes(input.attempt.door),
  );
}

function modeOf({ settings }: StepInput, method: Method): string {
  const { oathMode, textMode, callMode, appMode } = settings.methods;
  if (method === 'passkey') return 'assertion';
  return { oath: oathMode, text: textMode, call: callMode, app: appMode }[method];
}

/** A number somebody vouched for, or that has proven itself. */
function phoneOf(user: UserDocument): string | null {
  const phones = user.authenticators
    .filter((one) => one.type === 'phone')
    .filter((one) => one.vouchedBy !== null || one.verifiedAt !== null);
  return (phones.find(({ use }) => use === 'primary') ?? phones[0])?.id ?? null;
}

function usableTokens({ user, secrets }: StepInput) {
  return user.authenticators.filter(isActiveToken).filter(({ id }) => secrets.has(id));
}

function sendText(input: StepInput, question: Question): Judgement {
  const { state, attempt, nowMs } = input;
  if (areTextsUsedUp(input)) return denied('too_many_texts');
  const texts = [...recentTexts(state.texts, nowMs), Math.floor(nowMs / 1000)];
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'not_delivered' },
    question,
    next: {
      ...state,
      texts: recentTexts(texts, nowMs),
      attempts: withAttempt(input, { approved: false, reason: 'sent', item: null }),
      // A claim for the same text that comes too late is known.
      merged: rememberFailures(state.merged, [shortId(attempt.id)], nowMs),
    },
    item: null,
    claim: { id: attempt.id, at: nowMs, text: true },
  };
}

function areTextsUsedUp({ state, settings, withoutQuorum, nowMs }: StepInput): boolean {
  const texts = recentTexts(state.texts, nowMs);
  const inHour = texts.filter((at) => at > nowMs / 1000 - HOUR_SECONDS).length;
  const { perUserAndHour, perUserAndDay } = settings.texts;
  const left = Math.min(perUserAndHour - inHour, perUserAndDay - texts.length);
  if (!withoutQuorum) return left <= 0;
  // As with failures: nodes that cannot see each other share out what is left, one each at least.
  const { knownNodes, localTexts = 0 } = withoutQuorum;
  return left <= 0 || localTexts >= Math.max(1, Math.floor(left / Math.max(1, knownNodes)));
}

// ---- it is answered elsewhere, and the front door waits

/** Another sign-in meanwhile is another question: one approval lets one in (security rule 7). */
function beginWait(input: StepInput, asked: Question): Judgement {
  const { state, attempt, settings, waiting, nowMs } = input;
  const questionId = attempt.questionId ?? attempt.id;
  const key = questionKey(questionId);
  // Without the quorum it is known only by the question how it went. No second answer to that one counts.
  const told = recentAttempts(state.attempts, nowMs).find(
    ({ item }) => item === `challenge:${questionId}`,
  );
  if (told) return repeat(input, told);
  if (state.spent?.[key]?.[2]) return denied('challenge_spent');
  const waits = waitsInForce(state, nowMs);
  const running = waits.filter(([, until]) => nowMs < until * 1000);
  const before = recentlyAsked(state, nowMs);
  if (running.length >= WAITS_MAX || before.length >= ASKED_MAX) return denied('too_many_waiting');
  const seconds = waiting?.seconds ?? settings.methods.answerMinutes * 60;
  const until = Math.ceil(nowMs / 1000) + seconds;
  const wait: Wait = [key, until, WAIT_OPEN, shortId(attempt.id), waiting?.holder ?? ''];
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'not_delivered' },
    question: { ...asked, untilMs: until * 1000 },
    next: {
      ...state,
      waits: latestWaits([...waits, wait]),
      askedElsewhere: [...before, Math.floor(nowMs / 1000)],
      attempts: withAttempt(input, { approved: false, reason: 'sent', item: null }),
    },
    item: null,
    claim: { id: attempt.id, at: nowMs, wait },
  };
}

/** Sent again while it is waited for, perhaps to another node: nothing is asked twice, and the last to come has it. */
function joinWait(input: StepInput, wait: Wait, known: StoredAttempt | null): Judgement {
  const { state, attempt, waiting, withoutQuorum, nowMs } = input;
  const asked = questionOf(input);
  if (!asked || asked.row.waitsFor.length === 0) return denied('no_method');
  const [key, until, answer, by, holder] = wait;
  const question = { ...asked, untilMs: until * 1000 };
  const isKept = !waiting || waiting.holder === holder || answer !== WAIT_OPEN || withoutQuorum;
  if (isKept) return { kind: 'ask', question, repeated: true, askedAt: known?.at ?? nowMs };
  const taken: Wait = [key, until, answer, by, waiting.holder];
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'busy' },
    question,
    isAsked: true,
    next: {
      ...state,
      waits: waitsInForce(state, nowMs).map((one) => (one[0] === key ? taken : one)),
    },
    item: null,
    claim: { id: attempt.id, at: nowMs, wait: taken },
  };
}

/** How it went: told once, to whoever waits, and for 10 s again to the same. */
function judgeWait(input: StepInput, challenge: OpenChallenge, row: MethodRow): Judgement {
  const { attempt, state, waiting, withoutQuorum, nowMs } = input;
  if (attempt.code !== null) return denied('no_method');
  const wait = waitOfQuestion(state, challenge.id, nowMs);
  if (!wait) return denied(challengeOutcome(state, challenge.id) ? 'challenge_spent' : 'expired');
  const answer = answerOf(wait);
  const isElsewhere = waiting && waiting.holder !== wait[4];
  if (waiting?.hasGivenUp && answer === 'approved') {
    // Nobody is here to be let in: it is for whoever has taken the wait over, or sends the sign-in again.
    return denied(isElsewhere || withoutQuorum ? 'busy' : 'abandoned');
  }
  if (answer === 'declined') return endWait(input, wait, 'declined');
  if (answer === 'approved') return useWait(input, challenge, { row, wait });
  const isTimeUp = nowMs >= wait[1] * 1000;
  if (isTimeUp || waiting?.hasGivenUp) {
    if (isElsewhere || (withoutQuorum && !isTimeUp)) return denied('busy');
    return isTimeUp ? endWait(input, wait, 'expired') : abandonWait(input, wait);
  }
  const question = questionOf({ ...input, attempt: { ...attempt, method: challenge.method } });
  if (!question) return denied('no_method');
  const untilMs = wait[1] * 1000;
  return { kind: 'ask', question: { ...question, untilMs }, repeated: true, askedAt: nowMs };
}

function useWait(
  input: StepInput,
  challenge: OpenChallenge,
  { row, wait }: { row: MethodRow; wait: Wait },
): Judgement {
  const refusal = whyNotJudged(input, row);
  if (refusal) return denied(refusal);
  const item = `challenge:${challenge.id}`;
  const [key, until] = wait;
  const claim = { id: input.attempt.id, at: input.nowMs, item, spent: key, until };
  const { askedElsewhere: _past, ...next } = withoutWait(input, wait);
  const used = useUp(input, row, { item, claim, next });
  return toldToBoth(input, wait, used);
}

function endWait(input: StepInput, wait: Wait, reason: DenialReason): Judgement {
  // Other nodes will see by themselves that its time is up.
  if (input.withoutQuorum) return denied(reason);
  const spent = endChallenge(input, 2);
  // Without room to remember its end it stays among the waits, as one that was declined.
  const over = spent === 'full' ? withAnswer(input, wait, 'declined') : withoutWait(input, wait);
  return toldToBoth(input, wait, {
    kind: 'record',
    verdict: { approved: false, reason },
    next: {
      ...over,
      ...(spent !== 'full' && spent),
      attempts: withAttempt(input, { approved: false, reason, item: null }),
    },
    item: null,
    claim: { id: input.attempt.id, at: input.nowMs, wait },
  });
}

/** As if it had never been asked: the same sign-in may come again, and is asked again. */
function abandonWait(input: StepInput, wait: Wait): Judgement {
  const { attempt, nowMs } = input;
  const next = withoutWait(input, wait);
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'abandoned' },
    next: { ...next, attempts: next.attempts.filter(({ id }) => id !== wait[3]) },
    item: null,
    claim: { id: attempt.id, at: nowMs, wait },
  };
}

function withAnswer(
  { state, nowMs }: StepInput,
  [key, until, , by, holder]: Wait,
  answer: WaitAnswer,
): UserState {
  const ended: Wait = [key, until, ANSWERS[answer], by, holder];
  const waits = waitsInForce(state, nowMs).map((one) => (one[0] === key ? ended : one));
  return { ...state, waits };
}

function withoutWait({ state, nowMs }: StepInput, wait: Wait): UserState {
  return { ...state, waits: waitsInForce(state, nowMs).filter(([key]) => key !== wait[0]) };
}

/** Whoever sends the sign-in itself again is told the same as who waited (security rule 8). */
function toldToBoth({ nowMs }: StepInput, [, , , id]: Wait, judged: Judgement): Judgement {
  if (judged.kind !== 'record') return judged;
  const { verdict, next } = judged;
  const told = verdict.approved
    ? { approved: true, reason: null }
    : { approved: false, reason: verdict.reason };
  const begun: StoredAttempt = { id, key: null, ...told, item: null, at: nowMs };
  const others = next.attempts.filter((one) => one.id !== id);
  return { ...judged, next: { ...next, attempts: recentAttempts([...others, begun], nowMs) } };
}

// ---- the second step is skipped

type Bypass = NonNullable<UserDocument['bypass']>;

function bypassInForce(input: StepInput): Bypass | null {
  const { user, state, nowMs, codesNotBeforeMs } = input;
  const { bypass } = user;
  if (!bypass || nowMs >= Date.parse(bypass.expiresAt)) return null;
  // Whether it was used before a disaster nobody knows (rule 30).
  if (codesNotBeforeMs && Date.parse(bypass.at) <= codesNotBeforeMs) return null;
  return state.spent?.[bypassKey(bypass.id)] ? null : bypass;
}

function useBypass(input: StepInput, bypass: Bypass): Judgement {
  const { state, attempt, nowMs } = input;
  const item = `bypass:${bypass.id}`;
  const key = bypassKey(bypass.id);
  const until = Math.ceil(Date.parse(bypass.expiresAt) / 1000);
  const spent = unexpiredSpent(state.spent, nowMs);
  if (Object.keys(spent).length >= SPENT_MAX) return denied('busy');
  return {
    kind: 'record',
    verdict: { approved: true, skipped: 'bypass' },
    next: {
      ...state,
      spent: { ...spent, [key]: [until, 0, 1] },
      attempts: withAttempt(input, { approved: true, reason: null, item }),
    },
    item,
    claim: { id: attempt.id, at: nowMs, item, spent: key, until },
  };
}

/** By a state that may be old: the caller asks the store again before it counts. */
function isCached({ state, settings, cacheKey, withoutQuorum, nowMs }: StepInput): boolean {
  if (!cacheKey || withoutQuorum || settings.caching.mode === 'off') return false;
  return (state.caches ?? []).some(([key, until]) => key === cacheKey && nowMs < until * 1000);
}

// ---- something was typed

function judgeTyped(input: StepInput, code: string): Judgement {
  const { attempt, settings, recoveryPlace } = input;
  if (recoveryPlace !== undefined && recoveryPlace !== null) {
    return judgeRecovery(input, recoveryPlace);
  }
  const usual = settings.methods.default;
  const isOath = (attempt.method ?? usual) === 'oath';
  if (attempt.method !== null && !isOath) return denied('no_method');
  if (!isOath && !settings.methods.oathFallback) return denied('no_method');
  // Another way in must not be a way around the PIN.
  const mode = asksPin(methodRow(usual, modeOf(input, usual))) ? 'code+pin' : modeOf(input, 'oath');
  return judgeOath(input, { code, row: methodRow('oath', mode) });
}

/** Null: the question can still be answered. */
function whyOver(
  { state, nowMs, withoutQuorum }: StepInput,
  challenge: OpenChallenge,
): Judgement | null {
  if (nowMs >= challenge.expiresAtMs) return denied('expired');
  const asked = questionKey(challenge.id);
  const [, wrong, end] = state.spent?.[asked] ?? [0, 0, 0];
  const wrongHere = withoutQuorum?.localAnswers?.filter((key) => key === asked).length ?? 0;
  return end !== 0 || wrong + wrongHere >= WRONG_ANSWERS_MAX ? denied('challenge_spent') : null;
}

function judgeAnswer(input: StepInput, challenge: OpenChallenge): Judgement {
  const { attempt, state, settings, nowMs, recoveryPlace } = input;
  const row = methodRow(challenge.method, challenge.mode);
  if (row.waitsFor.length > 0) return judgeWait(input, challenge, row);
  const over = whyOver(input, challenge);
  if (over) return over;
  const code = attempt.code ?? '';
  if (recoveryPlace !== undefined && recoveryPlace !== null) {
    return judgeRecovery(input, recoveryPlace);
  }
  // Nothing was guessed.
  if (code === '') return denied('wrong_code');
  if (challenge.method !== 'text') return judgeOath(input, { code, row });
  if (!challenge.isSentCode && settings.methods.oathFallback && usableTokens(input).length > 0) {
    return judgeOath(input, { code, row });
  }
  const refusal = whyNotJudged(input, row);
  if (refusal) return denied(refusal);
  if (!challenge.isSentCode) return countFailure(input, row);
  const key = questionKey(challenge.id);
  const until = Math.ceil(challenge.expiresAtMs / 1000);
  const item = `challenge:${challenge.id}`;
  return useUp(input, row, {
    item,
    claim: { id: attempt.id, at: nowMs, item, spent: key, until },
    next: state,
  });
}

function judgeOath(input: StepInput, { code, row }: { code: string; row: MethodRow }): Judgement {
  const { state, attempt, nowMs } = input;
  const tokens = usableTokens(input);
  if (tokens.length === 0) return denied('no_method');
  const refusal = whyNotJudged(input, row);
  if (refusal) return denied(refusal);

  const result = matchOath(tokens, code, input);
  if (result.kind === 'replayed') return denied('replayed');
  if (result.kind === 'wrong') return countFailure(input, row);
  const { match } = result;
  if (result.kind === 'unproven') return askForNextCode(input, match);
  const { authenticatorId, position, type } = match;
  const { [authenticatorId]: _found, ...resyncs } = state.resyncs ?? {};
  const accepted: UserState['accepted'] = {
    ...state.accepted,
    [authenticatorId]: [position, Math.floor(nowMs / 1000)],
  };
  const knownIds = new Set(input.user.authenticators.map(({ id }) => id));
  const item = `${type}:${authenticatorId}:${position}`;
  return useUp(input, row, {
    item,
    claim: { id: attempt.id, at: nowMs, authenticatorId, last: position, item },
    next: {
      ...state,
      ...(state.resyncs && { resyncs }),
      accepted: pruneAccepted(accepted, knownIds),
    },
  });
}

function judgeRecovery(input: StepInput, place: number): Judgement {
  const { user, state, attempt, nowMs, codesNotBeforeMs } = input;
  const madeAtMs = Date.parse(user.recoveryCodes?.at ?? '');
  const generation = Math.floor(madeAtMs / 1000);
  const row = methodRow('recovery', 'code');
  const refusal = whyNotJudged(input, row);
  if (refusal) return denied(refusal);
  // Which of them were used before a disaster nobody knows (rule 30).
  const isVoid = codesNotBeforeMs && madeAtMs <= codesNotBeforeMs;
  if (isVoid || isRecoveryUsed(state, generation, place)) return denied('replayed');
  const [of, used] = state.recovery ?? [0, 0];
  const item = `recovery:${generation}:${place}`;
  return useUp(input, row, {
    item,
    claim: { id: attempt.id, at: nowMs, item, recovery: place, generation },
    next: {
      ...state,
      recovery: [generation, (of === generation ? used : 0) | (1 << place)],
    },
  });
}

/** What stands in the way of judging anything that was typed. */
function whyNotJudged(input: StepInput, row: MethodRow): DenialReason | null {
  if (!row.doors.includes(input.attempt.door)) return 'no_method_for_protocol';
  if (isLockedOut(input, row)) return 'locked_out';
  if (isLocalBudgetSpent(input, 'code')) return 'locked_out';
  if (!asksPin(row)) return null;
  if (isLocalBudgetSpent(input, 'pin')) return 'locked_out';
  return input.user.pin && input.pin ? null : 'pin_required';
}

function isLockedOut(input: StepInput, row: MethodRow): boolean {
  if (isLocked(failuresOf(input, 'code'), input.nowMs)) return true;
  return asksPin(row) && isLocked(failuresOf(input, 'pin'), input.nowMs);
}

function failuresOf(
  { state, user }: Pick<StepInput, 'state' | 'user'>,
  factor: Factor,
): MethodFailures {
  return failuresInForce(state.methods[factor] ?? noFailures, user);
}

// Nodes that cannot see each other's failures share out what is left of the limit, so that
// splitting a cluster gives nobody more guesses (but one each, or nobody could sign in).
function isLocalBudgetSpent(input: StepInput, factor: Factor): boolean {
  if (!input.withoutQuorum) return false;
  const { knownNodes, localFailures } = input.withoutQuorum;
  const lockout = lockoutOf(input.settings, factor);
  const left =
    factor === 'password'
      ? passwordsLeft(input)
      : lockout.failures - countedFailures(failuresOf(input, factor), lockout, input.nowMs);
  return (localFailures[factor] ?? 0) >= Math.max(1, Math.floor(left / Math.max(1, knownNodes)));
}

/** Remembers the counter; costs nothing, and is worth nothing without the next code. */
function askForNextCode(input: StepInput, match: Match): Judgement {
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

type Use = { item: string; claim: UsedClaim; next: UserState };

/** The code was right and is used up, whatever the PIN was: both are recorded at once. */
function useUp(input: StepInput, row: MethodRow, used: Use): Judgement {
  const { user, state, settings, nowMs } = input;
  const use = { ...used, claim: withEnd(input, used.claim) };
  const { item, next } = use;
  if (asksPin(row) && input.pin === 'wrong') return useUpForNothing(input, use);
  const mustChange = asksPin(row) && user.pin && mustChangePin(user.pin, settings.pin, nowMs);
  const verdict: Verdict = mustChange
    ? { approved: false, reason: 'pin_change_required' }
    : { approved: true };
  const spent = endChallenge(input, verdict.approved ? 1 : 2);
  if (spent === 'full') return denied('busy');
  const { pin } = state.methods;
  return {
    kind: 'record',
    verdict,
    next: {
      ...next,
      ...spent,
      ...(verdict.approved && keepInCache(input)),
      methods: {
        ...state.methods,
        code: clearFailures(failuresOf(input, 'code')),
        ...(pin && asksPin(row) && { pin: clearFailures(failuresOf(input, 'pin')) }),
      },
      lastWrong: null,
      attempts: withAttempt(input, {
        approved: verdict.approved,
        reason: verdict.approved ? null : verdict.reason,
        item,
      }),
    },
    item,
    claim: verdict.approved ? use.claim : { ...use.claim, denied: true },
  };
}

/** A question that a code or recovery code answered is over too, wherever the claim is merged. */
function withEnd({ challenge }: StepInput, claim: UsedClaim): UsedClaim {
  if (!challenge || 'spent' in claim) return claim;
  const until = Math.ceil(challenge.expiresAtMs / 1000);
  return { ...claim, ends: [questionKey(challenge.id), until] };
}

function useUpForNothing(input: StepInput, { item, claim, next }: Use): Judgement {
  const spent = endChallenge(input, 2);
  if (spent === 'full') return denied('busy');
  const { counts: pin, claim: pinFailure } = countFailureOf(input, 'pin');
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'wrong_pin' },
    next: {
      ...next,
      ...spent,
      methods: { ...next.methods, pin },
      attempts: withAttempt(input, { approved: false, reason: 'wrong_pin', item }),
      merged: rememberFailures(next.merged, [failureId(pinFailure)], input.nowMs),
    },
    item,
    claim: { ...claim, denied: true },
    pinFailure,
  };
}

function countFailureOf(
  input: StepInput,
  factor: 'pin' | 'password',
): { counts: MethodFailures; claim: FailureClaim } {
  const { settings, attempt, nowMs } = input;
  const before = failuresOf(input, factor);
  const counts = addFailures(before, { count: 1, lockout: lockoutOf(settings, factor), nowMs });
  const { unlockedAt } = before;
  return { counts, claim: { id: attempt.id, at: nowMs, failure: true, factor, unlockedAt } };
}

/** Wrong codes cost; the same one again within the same question or step does not (rule 9). */
function countFailure(input: StepInput, row: MethodRow): Judgement {
  const { state, attempt, settings, challenge, nowMs } = input;
  if (isRepeatedWrongCode(input)) return denied('wrong_code');
  const isPinWrong = asksPin(row) && input.pin === 'wrong';
  const code = addFailures(failuresOf(input, 'code'), {
    count: 1,
    lockout: settings.lockout,
    nowMs,
  });
  const pinCount = isPinWrong ? countFailureOf(input, 'pin') : null;
  const ids = [shortId(attempt.id), ...(pinCount ? [failureId(pinCount.claim)] : [])];
  return {
    kind: 'record',
    verdict: { approved: false, reason: 'wrong_code' },
    next: {
      ...state,
      ...countWrongAnswer(input),
      methods: { ...state.methods, code, ...(pinCount && { pin: pinCount.counts }) },
      lastWrong: {
        hmac: shortId(attempt.wrongCodeHmac ?? ''),
        client: shortId(attempt.client),
        step: challenge ? 0 : wrongCodeStep(nowMs),
        ...(challenge && { challenge: questionKey(challenge.id) }),
        at: nowMs,
      },
      attempts: withAttempt(input, { approved: false, reason: 'wrong_code', item: null }),
      merged: rememberFailures(state.merged, ids, nowMs),
    },
    item: null,
    claim: {
      id: attempt.id,
      at: nowMs,
      failure: true,
      unlockedAt: code.unlockedAt,
      ...(challenge && {
        answered: [questionKey(challenge.id), Math.ceil(challenge.expiresAtMs / 1000)] as [
          string,
          number,
        ],
      }),
    },
    ...(pinCount && { pinFailure: pinCount.claim }),
  } satisfies Recorded;
}

function isRepeatedWrongCode({ user, state, attempt, challenge, nowMs }: StepInput): boolean {
  const { lastWrong } = state;
  if (lastWrong === null) return false;
  const isSameQuestion = challenge
    ? lastWrong.challenge === questionKey(challenge.id)
    : lastWrong.challenge === undefined &&
      lastWrong.step === wrongCodeStep(nowMs) &&
      user.authenticators.some(({ type }) => type === 'totp');
  return (
    isSameQuestion &&
    lastWrong.hmac === shortId(attempt.wrongCodeHmac ?? '') &&
    lastWrong.client === shortId(attempt.client) &&
    nowMs - lastWrong.at <= WRONG_CODE_REPEAT_MS
  );
}

function wrongCodeStep(nowMs: number): number {
  return Math.floor(nowMs / WRONG_CODE_STEP_MS);
}

function bypassKey(id: string): string {
  return shortId(`bypass:${id}`);
}

/** The question is over. Where there is no room to remember that, it cannot be answered. */
function endChallenge(input: StepInput, end: 1 | 2): { spent: UserState['spent'] } | 'full' | null {
  const { challenge, state, nowMs } = input;
  if (!challenge) return null;
  const spent = unexpiredSpent(state.spent, nowMs);
  const key = questionKey(challenge.id);
  if (!spent[key] && Object.keys(spent).length >= SPENT_MAX) return 'full';
  const until = Math.ceil(challenge.expiresAtMs / 1000);
  return { spent: { ...spent, [key]: [until, spent[key]?.[1] ?? 0, end] } };
}

function countWrongAnswer(input: StepInput): { spent: UserState['spent'] } | null {
  const { challenge, state, nowMs } = input;
  if (!challenge) return null;
  const spent = unexpiredSpent(state.spent, nowMs);
  const key = questionKey(challenge.id);
  // Without room it goes uncounted here; the lockout counts it in any case.
  if (!spent[key] && Object.keys(spent).length >= SPENT_MAX) return null;
  const wrong = (spent[key]?.[1] ?? 0) + 1;
  const until = Math.ceil(challenge.expiresAtMs / 1000);
  return { spent: { ...spent, [key]: [until, wrong, wrong >= WRONG_ANSWERS_MAX ? 2 : 0] } };
}

function keepInCache(input: StepInput): { caches: UserState['caches'] } | null {
  const { state, settings, cacheKey, withoutQuorum, nowMs } = input;
  const { mode, minutes } = settings.caching;
  if (!cacheKey || mode === 'off' || withoutQuorum) return null;
  const others = (state.caches ?? []).filter(
    ([key, until]) => key !== cacheKey && until * 1000 > nowMs,
  );
  const until = Math.floor(nowMs / 1000) + minutes * 60;
  return { caches: [...others, [cacheKey, until] as [string, number]].slice(-CACHES_MAX) };
}

function withAttempt(
  { state, attempt, nowMs }: StepInput,
  outcome: Pick<StoredAttempt, 'approved' | 'reason' | 'item'>,
): UserState['attempts'] {
  const stored = {
    id: shortId(attempt.id),
    key: attempt.keyHash === null ? null : shortId(attempt.keyHash),
    ...outcome,
    at: nowMs,
  };
  return recentAttempts([...state.attempts, stored], nowMs);
}

/** How a question ended, for a poll: null while it is open. */
export function challengeOutcome(
  state: UserState,
  challengeId: string,
): 'approved' | 'denied' | null {
  const [, , end] = state.spent?.[questionKey(challengeId)] ?? [0, 0, 0];
  if (end === 0) return null;
  return end === 1 ? 'approved' : 'denied';
}
