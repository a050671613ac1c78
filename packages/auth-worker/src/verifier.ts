import { setTimeout as sleep } from 'node:timers/promises';
import {
  ProblemError,
  type VerificationAttempt,
  type VerificationOutcome,
  type VerificationPoll,
} from '@countersign/api';
import type { Asks, UserStates } from '@countersign/cluster';
import {
  beginAttempts,
  failureItem,
  findUsersByObject,
  finishAttempts,
  markPhase,
  readForVerification,
  readSettings,
  type AuditEvent,
  type Beginning,
  type BeginningOutcome,
  type Database,
  type Finish,
  type ReadSettings,
  type Reservation,
  type VerificationRead,
  type WantedUser,
} from '@countersign/database';
import { keyedHash, open, type PurposeKey } from '@countersign/keys';
import {
  isPin,
  newEvent,
  readSpareCode,
  seedContext,
  spareCodeHash,
} from '@countersign/operations';
import {
  askPassword,
  ATTEMPTS_KEPT_MS,
  beginsLockout,
  challengeOutcome,
  emptyState,
  encodeState,
  findApplication,
  findAttempt,
  findWait,
  isPasswordAsked,
  isUsedClaim,
  judgeStep,
  lockoutOf,
  mergeClaims,
  mergeStates,
  parseState,
  settingsFor,
  settlePassword,
  StateError,
  usernameKey,
  withoutQuorumPolicy,
  withStopFacts,
  type Claim,
  type DenialReason,
  type Factor,
  type FailureClaim,
  type Judgement,
  type Question,
  type Settings,
  type StepInput,
  type TextClaim,
  type UserDocument,
  type UserState,
  type Verdict,
  type WaitAnswer,
} from '@countersign/verification';
import type { Logger } from 'pino';
import { attemptIdsOf, lastingIdsOf, type AttemptIds } from './attempt-ids.ts';
import { Batcher, OverloadError } from './batcher.ts';
import type { Circuit } from './circuit.ts';
import { countBusyTogether } from './count-busy-together.ts';
import type { DatabaseGate } from './database-gate.ts';
import {
  refused,
  type AskedDirectories,
  type FirstFactor,
  type PasswordProof,
} from './first-factor.ts';
import type { WorkerMetrics } from './metrics.ts';
import { readMostKnown } from './most-known.ts';
import { Questions, type Asking } from './questions.ts';
import { type ChallengeBinding, type OpenedChallenge } from './sealed-challenge.ts';
import { UserQueue } from './user-queue.ts';
import { Waits, type MethodsElsewhere, type WaitedQuestion, type WaitEnd } from './waits.ts';

export type VerifierOptions = {
  node: string;
  db: Database;
  gate: DatabaseGate;
  states: UserStates;
  asks: Asks;
  circuit: Circuit;
  keys: Record<
    'seed' | 'wrong-code' | 'attempt-id' | 'challenge' | 'pin' | 'spare-code',
    PurposeKey
  >;
  incarnation: ChallengeBinding['incarnation'];
  /** Sends a code; null: this node cannot. It has a deadline of its own. */
  sendText: SendText | null;
  /** Whether there is anything to send one through; missing: wherever one can be sent. */
  canSendTexts?: (settings: Settings) => boolean;
  /** Changes the PIN through the master; null: it may not be changed here. */
  changePin: ChangePin | null;
  /** Asks people on their phones and the like; null: there is no such method here. */
  elsewhere: MethodsElsewhere | null;
  /** Asks directories for passwords; null: none can be asked here. */
  firstFactor: FirstFactor | null;
  metrics: WorkerMetrics;
  log: Logger;
};

export type TextToSend = {
  user: UserDocument;
  number: string;
  code: string;
  application: string | null;
  settings: Settings;
  /** How long the code is good. */
  minutes: number;
};
/** `details` go into the event: provider, time, cost; never the code. */
export type SendText = (
  text: TextToSend,
) => Promise<{ sent: boolean; details: Record<string, unknown> }>;
/** Null: it was changed; else why not. */
export type ChangePin = (change: {
  caller: VerificationAttempt['caller'];
  username: string;
  pin: string;
  newPin: string;
}) => Promise<string | null>;

/** Waiting for the quorum ends after this, whatever happens. */
export const QUORUM_WAIT_MS = 700;
/** A node whose clock is further from the cluster's median does not verify. */
export const CLOCK_LIMIT_MS = 20_000;
const DIRECT_GET_MS = 100;
const MAX_LOST_CAS = 4;
const MAX_IN_FLIGHT = 4000;
const DENIALS_PAUSE_MS = 50;
const CONFIRM_MS = 300;
const POLL_MS = 300;
const TOLD_MS = 150;
/** What the user's other steps may take. */
const BUSY_MS = 150;
const HAND_OUT_TRIES = 4;
/** Held while a directory is asked for a user's password without the quorum. */
const PASSWORD_ITEM = 'password';

/** What a step leaves to be done when the user's next one may begin: it may take seconds. */
type Later = { kind: 'later'; finish(): Promise<VerificationOutcome> };

type Step = {
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

export type WaitingAttempt = VerificationAttempt & {
  waiting: NonNullable<VerificationAttempt['waiting']>;
};

type Judged = Extract<Judgement, { kind: 'record' }>;
type Known = { state: UserState; revision: number };
/** isAlone: the quorum is away. */
type Begun = Known & { mayAsk: boolean; isAlone: boolean };

/** `verify(attempt)`: the one function behind every protocol. No verdict leaves before it is recorded. */
export class Verifier {
  readonly #options: VerifierOptions;
  /** By what is typed: so many guesses at one name, whoever has it, wait here. */
  readonly #typed = new UserQueue();
  /** By user, for a user has several names. Whoever is in turn here waits for no other turn. */
  readonly #users = new UserQueue();
  readonly #inFlight = new Map<string, Promise<VerificationOutcome>>();
  readonly #read: Batcher<WantedUser, VerificationRead>;
  readonly #begin: Batcher<Beginning, BeginningOutcome>;
  readonly #finish: Batcher<Finish, 'finished' | 'yielded'>;
  /** For denials that change nothing: they come in floods, and cost the others less when many share a commit. */
  readonly #deny: Batcher<Finish, void>;
  readonly #waits: Waits;
  readonly #questions: Questions;
  #settings: ReadSettings | null = null;

  constructor(options: VerifierOptions) {
    this.#options = options;
    const { db, gate } = options;
    this.#read = new Batcher((wanted) => gate.pass(() => readForVerification(db, wanted)), 100);
    this.#begin = new Batcher((items) => gate.pass(() => beginAttempts(db, items)), 200);
    this.#finish = new Batcher((items) => gate.pass(() => finishAttempts(db, items)), 200);
    this.#waits = new Waits(options);
    this.#questions = new Questions({ ...options, key: options.keys.challenge });
    this.#deny = new Batcher((items) => this.#recordDenials(items), 200, DENIALS_PAUSE_MS);
  }

  async verify(attempt: VerificationAttempt): Promise<VerificationOutcome> {
    const ids = attemptIdsOf(this.#options.keys['attempt-id'], attempt);
    // The same attempt joins the one in flight.
    for (const { attemptId } of [ids, ...ids.resent]) {
      const joined = this.#inFlight.get(attemptId);
      if (!joined) continue;
      const outcome = await joined;
      // The last front door to come holds the wait, and the user's state has to say so.
      return attempt.waiting && isWaitedFor(outcome) ? this.verify(attempt) : outcome;
    }
    return this.#fly(attempt, ids, ids.attemptId);
  }

  async #fly(
    attempt: VerificationAttempt,
    ids: AttemptIds,
    name: string,
  ): Promise<VerificationOutcome> {
    if (this.#inFlight.size >= MAX_IN_FLIGHT) {
      return { kind: 'not_ready', detail: 'too many verifications under way' };
    }
    const result = this.#verify(attempt, ids);
    this.#inFlight.set(name, result);
    try {
      return await result;
    } finally {
      this.#inFlight.delete(name);
    }
  }

  /**
   * Waits for what is answered elsewhere, and hands out what came of it; anything but such a question comes back at
   * once. Ends with `signal`; what was asked is withdrawn only if whoever signs in `hasGivenUp`, for another node may go
   * on waiting.
   */
  async awaitAnswer(
    attempt: WaitingAttempt,
    outcome: VerificationOutcome,
    { signal, hasGivenUp }: { signal: AbortSignal; hasGivenUp: () => boolean },
  ): Promise<VerificationOutcome> {
    let told = outcome;
    while (isWaitedFor(told)) {
      const { id, sealed, expiresAt } = told;
      const challenge = { id, sealed };
      const opened = await this.#questions.open(attempt, challenge).catch(() => null);
      if (!opened) return { kind: 'not_ready', detail: 'its PostgreSQL is away' };
      // Such as of somebody who was removed meanwhile.
      if (opened.kind === 'refused') return this.#handOut(attempt, challenge, 'answered');
      const { userId } = opened.challenge;
      const waited = { userId, questionId: id };
      const end = await this.#waits.until(waited, Date.parse(expiresAt), signal);
      if (end === 'gone' && !hasGivenUp()) return { kind: 'not_ready', detail: 'left waiting' };
      told = await this.#handOut(attempt, challenge, end);
    }
    return told;
  }

  /** The same attempt on every node and for whoever waits: an approval lets one sign-in in. */
  async #handOut(
    attempt: WaitingAttempt,
    challenge: { id: string; sealed: string },
    end: WaitEnd,
  ): Promise<VerificationOutcome> {
    const { passwordTarget: _proven, waiting, ...asked } = attempt;
    const handedOut: VerificationAttempt = {
      ...asked,
      username: null,
      password: null,
      code: null,
      pin: null,
      method: null,
      challenge,
      idempotencyKey:
        end === 'gone' ? `gone ${challenge.id} ${waiting.holder}` : `wait ${challenge.id}`,
      resentKeys: [],
      lastingKeys: [],
      waiting: { ...waiting, hasGivenUp: end === 'gone' },
    };
    for (let tries = 1; ; tries += 1) {
      const ids = attemptIdsOf(this.#options.keys['attempt-id'], handedOut);
      // Of several who wait here each asks for itself: what one may do the other may not.
      const outcome = await this.#fly(handedOut, ids, `${ids.attemptId} ${waiting.holder}`);
      const reason = outcome.kind === 'verdict' ? outcome.reason : undefined;
      if (reason === 'expired' || reason === 'abandoned') {
        this.#options.elsewhere?.cancel(challenge.id);
      }
      if (reason !== 'busy' || end === 'gone' || tries === HAND_OUT_TRIES) return outcome;
      await sleep(BUSY_MS);
    }
  }

  /**
   * Somebody's answer from elsewhere, checked by whoever received it; on any node. `over`: nobody waits for it any more.
   * Throws when PostgreSQL does not answer.
   */
  answerWait(question: WaitedQuestion, answer: WaitAnswer): Promise<'taken' | 'over'> {
    return this.#waits.answer(question, answer);
  }

  /** Denies what no rule has to see: it is recorded like any other denial, of whoever the name means. */
  async refuse(attempt: VerificationAttempt, reason: DenialReason): Promise<VerificationOutcome> {
    const ids = attemptIdsOf(this.#options.keys['attempt-id'], attempt);
    const event = this.#newEvent(attempt, ids);
    const step = { event, ids, startedAt: performance.now() };
    try {
      if (attempt.username !== null) Object.assign(event, await this.whoIs(attempt.username));
      return await this.#denyUnrecorded(step, reason, false);
    } catch (error) {
      return this.#notReady(error);
    }
  }

  async #verify(attempt: VerificationAttempt, ids: AttemptIds): Promise<VerificationOutcome> {
    const startedAt = performance.now();
    const event = this.#newEvent(attempt, ids);
    const offsetMs = this.#options.asks.medianClockOffsetMs();
    if (Math.abs(offsetMs) > CLOCK_LIMIT_MS) {
      return { kind: 'not_ready', detail: `clock is ${Math.round(offsetMs / 1000)} s off` };
    }
    try {
      const opened = attempt.challenge && (await this.#questions.open(attempt, attempt.challenge));
      if (opened?.kind === 'refused') {
        return await this.#denyUnrecorded({ event, ids, startedAt }, opened.reason, false);
      }
      const username = opened?.username ?? attempt.username ?? '';
      const step = () =>
        this.#step({ ...attempt, username }, opened?.challenge ?? null, ids, event, startedAt);
      // Whoever was asked a question and types nothing guesses nothing: a flood of guesses must not be in their way.
      const isGuess = !opened || attempt.code !== null;
      const turn = isGuess ? this.#typed.run(usernameKey(username), step) : step();
      if (!turn) return await this.#denyUnrecorded({ event, ids, startedAt }, 'busy', false);
      const judged = await turn;
      const outcome = judged.kind === 'later' ? await judged.finish() : judged;
      return isHidden(attempt, outcome)
        ? this.#questions.ofNobody(attempt, ids, this.#settings)
        : outcome;
    } catch (error) {
      return this.#notReady(error);
    }
  }

  #notReady(error: unknown): Extract<VerificationOutcome, { kind: 'not_ready' }> {
    if (error instanceof ProblemError) throw error;
    this.#options.log.warn({ error: String(error) }, 'a verification could not be judged');
    if (error instanceof OverloadError) return { kind: 'not_ready', detail: error.message };
    const isDamaged = error instanceof StateError;
    return { kind: 'not_ready', detail: isDamaged ? error.message : 'its PostgreSQL is away' };
  }

  /** Whom an event is about, by a name that somebody else tells. Rejects while PostgreSQL is away. */
  async whoIs(name: string): Promise<Pick<AuditEvent, 'userId' | 'username'>> {
    const read = await this.#read.add(usernameKey(name));
    const { settings } = await this.#settingsAt(read.settingsRevision);
    const [user, namesake] = read.users;
    return user && !namesake
      ? { userId: user.id, username: user.document.username }
      : { userId: null, username: this.#nameOfStranger(name, settings) };
  }

  /** People type passwords into name fields: unless it is set otherwise, only a hash of an unknown name is kept. */
  #nameOfStranger(username: string, { events }: Settings): string {
    if (!events.hashUnknownNames) return username.slice(0, 256);
    const hash = keyedHash(this.#options.keys['wrong-code'], 'name', username);
    return `unknown-${hash.toString('hex').slice(0, 12)}`;
  }

  /** Where the application says so, whoever is not one of the users needs no second step. */
  async #passStranger(
    step: Pick<Step, 'event' | 'ids' | 'startedAt'>,
    { username, password, passwordTarget }: VerificationAttempt & { username: string },
    asked: AskedDirectories,
  ): Promise<VerificationOutcome> {
    // Nobody can tell by which other names that server knows a user: one of them would need no second step.
    if (passwordTarget) return this.#denyUnrecorded(step, 'unknown_user', false);
    const { judged, target } = await this.#proveStranger(username, password, asked);
    if (target) step.event.details.directory = target.name;
    if (judged.kind !== 'right') {
      const reason = judged.kind === 'wrong' ? 'wrong_password' : judged.reason;
      return this.#denyUnrecorded(step, reason, false);
    }
    const verdict: Verdict = { approved: true, skipped: 'user_match_off' };
    step.event.details.skipped = verdict.skipped;
    this.#complete(step, verdict, false);
    await this.#deny.add({ event: step.event });
    return this.#verdictOf(step, verdict, false);
  }

  async #proveStranger(
    username: string,
    password: string | null,
    asked: AskedDirectories,
  ): Promise<PasswordProof> {
    const { firstFactor, db, gate } = this.#options;
    if (!firstFactor) return refused('no_directory');
    const isUser = async (directory: string, object: string) => {
      const found = await gate.pass(() => findUsersByObject(db, directory, [object]));
      return found.some(({ removedAt }) => removedAt === undefined);
    };
    const stranger = { ...asked, isUser };
    return password === null
      ? firstFactor.knowStranger(username, stranger)
      : firstFactor.ofStranger(username, password, stranger);
  }

  /**
   * Asks the directory, in the user's turn, once it is recorded that it is asked. It is not where the rules deny in any
   * case, or know the verdict already; should they see it otherwise a moment later, nothing is proven.
   */
  async #prove(
    step: Step,
    password: string,
    local: Known,
    isCircuitOpen: boolean,
    asked: AskedDirectories,
  ): Promise<Known & { isAlone: boolean }> {
    const { firstFactor } = this.#options;
    step.proof = { ...refused(firstFactor ? 'busy' : 'no_directory'), at: Date.now() };
    if (!firstFactor) return { ...local, isAlone: isCircuitOpen };
    const begun = isCircuitOpen
      ? await this.#beginAskAlone(step, local)
      : await this.#beginAsk(step, local);
    if (begun.mayAsk) {
      const { passwordTarget } = step.attempt;
      const proof = passwordTarget
        ? await firstFactor.atTarget(passwordTarget, asked)
        : await firstFactor.ofUser(step.user, password, asked);
      step.proof = { ...proof, at: Date.now() };
      if (proof.target) {
        step.event.details[passwordTarget ? 'target' : 'directory'] = proof.target.name;
      }
      step.quorumUntil = performance.now() + QUORUM_WAIT_MS;
    }
    // Until a wrong one is counted the next has to wait.
    if (step.proof.judged.kind !== 'wrong') await this.#withdraw(step);
    return begun;
  }

  /** One compare-and-set before the directory counts: guesses at once, on any nodes, are no more than the limit. */
  async #beginAsk(step: Step, local: Known): Promise<Begun> {
    const { states, circuit, metrics } = this.#options;
    const unmerged = unmergedIn(step.reservations);
    let { state, revision } = local;
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const known = mergeClaims(state, unmerged, step.settings, Date.now());
      const next = askPassword(this.#inputOf(step, known));
      if (!next) {
        const told = { mayAsk: false, isAlone: false, state, revision };
        if (!isPasswordAsked(state, step.ids.attemptId)) return told;
        // Sent again while another node asks for it: what that hears is this one's answer too.
        const later = await this.#readUntilNewer(step, state, revision);
        if (later === 'silent') return told;
        ({ state, revision } = later);
        continue;
      }
      const remainingMs = Math.max(50, step.quorumUntil - performance.now());
      const outcome = await states.write(step.user.id, encodeState(next), revision, remainingMs);
      metrics.countWrite(outcome.kind);
      if (outcome.kind === 'silent') {
        await circuit.noteSilence(step.user.id, outcome.why);
        return this.#beginAskAlone(step, { state, revision });
      }
      circuit.noteAnswer();
      if (outcome.kind === 'written') {
        return { mayAsk: true, isAlone: false, state: next, revision: outcome.revision };
      }
      const newer = await this.#readUntilNewer(step, state, revision);
      if (newer === 'silent') return this.#beginAskAlone(step, { state, revision });
      ({ state, revision } = newer);
      await this.#recognise(step, newer);
    }
    return { mayAsk: false, isAlone: false, state, revision };
  }

  /** Without the quorum one at a time on this node, and no more than its share of the limit. */
  async #beginAskAlone(step: Step, { state, revision }: Known): Promise<Begun> {
    const alone = { isAlone: true, revision };
    const policy = withoutQuorumPolicy(step.settings, step.attempt.application);
    if (policy === 'refuse' || ownClaimIn(step)) return { ...alone, mayAsk: false, state };
    if (await this.#reserveItem(step, PASSWORD_ITEM, 'asking', true)) {
      return { ...alone, mayAsk: false, state };
    }
    const most = await this.#mostKnown(step, state);
    const next = askPassword(this.#inputOf(step, most.state, most.local));
    return { ...alone, mayAsk: next !== null, state: most.state };
  }

  /** How a question stands. It is asked of the log, for it may have been answered on any node. */
  async poll(poll: VerificationPoll): Promise<VerificationOutcome | { kind: 'open'; id: string }> {
    try {
      return await this.#poll(poll);
    } catch (error) {
      return this.#notReady(error);
    }
  }

  async #poll(poll: VerificationPoll): Promise<VerificationOutcome | { kind: 'open'; id: string }> {
    const { id } = poll.challenge;
    const opened = await this.#questions.open({ ...poll, username: null }, poll.challenge);
    const told = (verdict: { approved: boolean; reason?: DenialReason }) =>
      ({ kind: 'verdict', id, degraded: false, ...verdict }) as const;
    if (opened.kind === 'refused') {
      const { reason, expiresAt = 0 } = opened;
      // A stranger's question to nobody looks like one that is not answered yet.
      const isShownOpen = !poll.caller.scopes.has('reasons:read') && Date.now() < expiresAt;
      return isShownOpen ? { kind: 'open', id } : told({ approved: false, reason });
    }
    const { states, gate } = this.#options;
    const { userId, expiresAt } = opened.challenge;
    const read = await states.readThroughLeader(userId, POLL_MS);
    const known = async () => {
      const most = await gate.pass(() => readMostKnown(this.#options, userId, DIRECT_GET_MS));
      return most.state && challengeOutcome(most.state, id);
    };
    let outcome =
      read.kind === 'found' ? challengeOutcome(parseState(read.bytes), id) : await known();
    if (outcome === null && read.kind === 'silent') {
      // What another node tells when it has answered is here by then, or that node is out of reach.
      await sleep(TOLD_MS);
      outcome = await known();
    }
    if (outcome === 'approved') return told({ approved: true });
    if (outcome === 'denied') return told({ approved: false, reason: 'challenge_spent' });
    if (Date.now() >= expiresAt) return told({ approved: false, reason: 'expired' });
    return { kind: 'open', id };
  }

  async #step(
    attempt: VerificationAttempt & { username: string },
    challenge: OpenedChallenge | null,
    ids: AttemptIds,
    event: AuditEvent,
    startedAt: number,
  ): Promise<VerificationOutcome | Later> {
    // A question is to one user, and who is meant by a name may be another by now.
    const wanted = challenge ? { userId: challenge.userId } : usernameKey(attempt.username);
    const read = await this.#read.add(wanted);
    const judge = (now: VerificationRead) =>
      this.#stepOf(now, attempt, challenge, ids, event, startedAt);
    const [user, namesake] = read.users;
    if (!user || namesake) return judge(read);
    const turn = this.#users.run(user.id, async (hasWaited) =>
      judge(hasWaited ? await this.#read.add(wanted) : read),
    );
    return turn ?? this.#denyUnrecorded({ event, ids, startedAt }, 'busy', false);
  }

  async #stepOf(
    read: VerificationRead,
    attempt: VerificationAttempt & { username: string },
    challenge: OpenedChallenge | null,
    ids: AttemptIds,
    event: AuditEvent,
    startedAt: number,
  ): Promise<VerificationOutcome | Later> {
    const { isStillValid } = attempt.caller;
    if (isStillValid && !(await isStillValid(read.keysRevision))) {
      throw new ProblemError(401, 'unauthorized', 'Send a valid API key as a bearer token.');
    }
    const {
      settings: company,
      applications,
      directories,
    } = await this.#settingsAt(read.settingsRevision);
    const application = findApplication(applications, attempt.application);
    if (!company.events.recordAddresses) event.clientAddress = null;
    if (application && !application.enabled) {
      return this.#denyUnrecorded({ event, ids, startedAt }, 'application_disabled', false);
    }
    const [user, namesake] = read.users;
    const asked = {
      directories: attempt.directories
        ? directories.filter(({ id }) => attempt.directories?.includes(id))
        : directories,
      settings: company,
      address: attempt.clientIp,
    };
    if (!user || namesake) {
      event.username = this.#nameOfStranger(attempt.username, company);
      if (!namesake && application?.userMatch === 'pass' && !challenge) {
        return this.#passStranger({ event, ids, startedAt }, attempt, asked);
      }
      return this.#denyUnrecorded({ event, ids, startedAt }, 'unknown_user', false);
    }
    if (challenge) {
      event.details.method = challenge.row.method;
      event.details.mode = challenge.row.mode;
    }
    event.userId = user.id;
    event.username = user.document.username;
    const { recordNames, recordMail } = company.events;
    const { displayName, email } = user.document;
    if (recordNames && displayName) event.details.displayName = displayName;
    if (recordMail && email) event.details.email = email;
    const step: Step = {
      attempt,
      ids,
      event,
      startedAt,
      quorumUntil: performance.now() + QUORUM_WAIT_MS,
      user: withStopFacts(user.document, user.stopFacts, Date.now()),
      settings: settingsFor(company, application, user.document),
      publicLanguage: settingsFor(company, application).company.language,
      knownNodes: read.knownNodes,
      codesNotBeforeMs: read.codesNotBeforeMs,
      reservations: user.reservations,
      secrets: this.#openSecrets(user.document),
      challenge,
      proof: null,
      pin: await this.#checkPin(attempt.pin, user.document),
      recoveryPlace: this.#placeOfRecoveryCode(attempt.code, user.document),
      cacheKey: null,
      reserved: null,
      hasBegun: false,
    };
    const local = { state: user.state ?? emptyState(), revision: user.stateRevision };
    await this.#recognise(step, local);
    if (this.#wasJustApprovedDegraded(step)) {
      return this.#repeatApproval(step, true);
    }
    step.cacheKey = this.#cacheKeyOf(step);
    const { password } = attempt;
    const { state, revision, isAlone } =
      password === null
        ? { ...local, isAlone: read.isCircuitOpen }
        : await this.#prove(step, password, local, read.isCircuitOpen, asked);
    if (isAlone) return this.#verifyWithoutQuorum(step, state, null);
    return this.#verifyWithQuorum(step, state, revision);
  }

  /**
   * Judge, one compare-and-set, then the verdict. The local copy is the first guess; losing means it was old. What was
   * claimed without the quorum and is not merged yet is merged by the same write.
   */
  async #verifyWithQuorum(
    step: Step,
    local: UserState,
    localRevision: number,
  ): Promise<VerificationOutcome | Later> {
    const { states, circuit, metrics } = this.#options;
    const userId = step.user.id;
    let state = local;
    let revision = localRevision;
    const unmerged = unmergedIn(step.reservations);
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const known = mergeClaims(state, unmerged, step.settings, Date.now());
      const judgement = this.#judge(step, known);
      if (judgement.kind !== 'record') {
        if (lost === 0 && isOfWait(step)) {
          // What this node's copy does not know of a wait, or of its answer, the store does.
          const read = await this.#readLatest(step);
          if (read === 'silent') return this.#verifyWithoutQuorum(step, state, null);
          if (read && read.revision > revision) {
            ({ state, revision } = read);
            continue;
          }
        }
        const newer =
          (lost === 0 && isReplay(judgement) ? await this.#readIfNewer(step, revision) : null) ??
          (await this.#settlePassword(step, { state, revision }, known));
        if (!newer) return this.#conclude(step, state, judgement, false);
        ({ state, revision } = newer);
        continue;
      }
      step.event.details = { ...step.event.details, ...detailsOf(judgement) };
      // Administrators are told of it by mail.
      step.event.details.beginsLockout = beginsLockout(known, judgement.next) || undefined;
      const refusal = await this.#reserve(step, judgement, 'cas', false);
      if (refusal) {
        const newer =
          lost === 0 && refusal === 'replayed' ? await this.#readIfNewer(step, revision) : null;
        if (!newer) return this.#denyBegun(step, refusal, false);
        ({ state, revision } = newer);
        continue;
      }
      const remainingMs = step.quorumUntil - performance.now();
      const bytes = encodeState(judgement.next);
      const outcome = await states.write(userId, bytes, revision, Math.max(50, remainingMs));
      metrics.countWrite(outcome.kind);
      if (outcome.kind === 'written') {
        circuit.noteAnswer();
        return this.#deliver(step, judgement, false);
      }
      if (outcome.kind === 'silent') {
        await circuit.noteSilence(userId, outcome.why);
        return this.#verifyWithoutQuorum(step, state, judgement);
      }
      circuit.noteAnswer();
      const newer = await this.#readUntilNewer(step, state, revision);
      if (newer === 'silent') return this.#verifyWithoutQuorum(step, state, null);
      ({ state, revision } = newer);
      await this.#recognise(step, newer);
    }
    return this.#denyBegun(step, 'busy', false);
  }

  /** What this node's copy did not know: the same was sent to another node a moment ago, and judged there. */
  async #recognise(step: Step, known: Known): Promise<void> {
    const ids =
      recognise(step.ids, known.state, step.reservations) ?? this.#recogniseWait(step, known.state);
    if (ids === null || ids === step.ids) return;
    await this.#withdraw(step);
    if (step.proof && known.revision > 0) await this.#settlePassword(step, known, known.state);
    step.ids = ids;
    step.event.details.verification = ids.verificationId;
  }

  /** What somebody is still asked about elsewhere is looked for longer, and only then. */
  #recogniseWait({ ids, attempt }: Step, state: UserState): AttemptIds | null {
    if (!state.waits?.length) return null;
    const nowMs = Date.now();
    const sent = [ids, ...lastingIdsOf(this.#options.keys['attempt-id'], attempt)];
    return sent.find(({ attemptId }) => findWait(state, attemptId, nowMs) !== null) ?? null;
  }

  /**
   * What an old copy takes for a used code of a counter may be that of a later one: one of a million are alike. Null
   * where the copy is not old, or the store silent.
   */
  async #readIfNewer(step: Step, revision: number): Promise<Known | null> {
    const read = await this.#options.states.readThroughLeader(step.user.id, CONFIRM_MS);
    if (read.kind !== 'found' || read.revision <= revision) return null;
    return { state: parseState(read.bytes), revision: read.revision };
  }

  /**
   * Records what came of asking a directory, where no more is recorded. Null: it is, or will be when it counts no more;
   * else what was recorded by others meanwhile.
   */
  async #settlePassword(step: Step, { state, revision }: Known, known: UserState) {
    const next = settlePassword(this.#inputOf(step, known));
    if (!next) return null;
    const remainingMs = Math.max(50, step.quorumUntil - performance.now());
    const { states } = this.#options;
    const outcome = await states.write(step.user.id, encodeState(next), revision, remainingMs);
    this.#options.metrics.countWrite(outcome.kind);
    if (outcome.kind === 'silent') {
      await this.#options.circuit.noteSilence(step.user.id, outcome.why);
      return null;
    }
    this.#options.circuit.noteAnswer();
    if (outcome.kind === 'written') return null;
    const newer = await this.#readUntilNewer(step, state, revision);
    return newer === 'silent' ? null : newer;
  }

  /**
   * After a lost compare-and-set: the leader's word, asked until it differs from what lost. Revisions only grow: none
   * or a smaller one means a bucket begun anew, which must not make used codes good again.
   */
  async #readUntilNewer(
    step: Step,
    state: UserState,
    revision: number,
  ): Promise<{ state: UserState; revision: number } | 'silent'> {
    for (;;) {
      const remainingMs = step.quorumUntil - performance.now();
      if (remainingMs <= 0) return 'silent';
      const read = await this.#options.states.readThroughLeader(step.user.id, remainingMs);
      if (read.kind === 'silent') {
        await this.#options.circuit.noteSilence(step.user.id, read.why);
        return 'silent';
      }
      if (read.kind === 'found' && read.revision !== revision) {
        const told = parseState(read.bytes);
        const isOlder = read.revision < revision;
        return { state: isOlder ? mergeStates(state, told) : told, revision: read.revision };
      }
      if (read.kind === 'absent' && revision !== 0) return { state, revision: 0 };
      await sleep(5 + Math.random() * 15);
    }
  }

  /** The store's word on the user's state; null: there is none. */
  async #readLatest(step: Step): Promise<Known | 'silent' | null> {
    const { states, circuit } = this.#options;
    const remainingMs = Math.max(50, step.quorumUntil - performance.now());
    const read = await states.readThroughLeader(step.user.id, remainingMs);
    if (read.kind === 'silent') {
      await circuit.noteSilence(step.user.id, read.why);
      return 'silent';
    }
    return read.kind === 'found'
      ? { state: parseState(read.bytes), revision: read.revision }
      : null;
  }

  /**
   * Without the quorum: the most this node can know, a reservation that all reachable nodes agree to, and a claim
   * that is merged into the user's state later. `pending`: what was written and not answered.
   */
  async #verifyWithoutQuorum(
    step: Step,
    known: UserState,
    pending: Judged | null,
  ): Promise<VerificationOutcome | Later> {
    const policy = withoutQuorumPolicy(step.settings, step.attempt.application);
    if (policy === 'refuse') return this.#denyBegun(step, 'no_quorum', true);
    const claimed = ownClaimIn(step);
    // Whoever repeats an attempt for minutes must not have another guess, or another text, that nobody counts.
    if (claimed && 'failure' in claimed) {
      const reason = claimed.factor === 'password' ? 'wrong_password' : 'wrong_code';
      return this.#denyBegun(step, reason, true);
    }
    if (claimed && Date.now() - claimed.at >= ATTEMPTS_KEPT_MS) {
      return this.#denyBegun(step, 'too_many_texts', true);
    }
    const { state, local } = await this.#mostKnown(step, known);
    if (!pending) await this.#recognise(step, { state, revision: 0 });
    if (pending && this.#isApprovedIn(step, state)) {
      // The write that was not answered had landed after all.
      return this.#deliver(step, { verdict: { approved: true }, item: step.reserved }, false);
    }
    const judgement = this.#judge(step, state, local);
    if (
      judgement.kind === 'ask' &&
      judgement.repeated &&
      this.#isOwnQuestion(step, pending, state)
    ) {
      // That write had landed too, and what it stands for is not sent yet.
      return this.#askLater(step, judgement, true);
    }
    if (judgement.kind !== 'record') return this.#conclude(step, state, judgement, true);
    step.event.details = { ...step.event.details, ...detailsOf(judgement) };
    if (claimed && judgement.question) {
      return this.#questions.of(step, { question: judgement.question, askedAt: claimed.at }, true);
    }
    if (judgement.item === null) return this.#claimDegraded(step, judgement);
    return this.#askAndApprove(step, judgement, state, local, pending !== null);
  }

  /** Whether it was this step that wrote down the question, and not another front door that the sign-in reached before. */
  #isOwnQuestion({ ids, attempt }: Step, pending: Judged | null, state: UserState): boolean {
    if (!pending?.question || pending.isAsked) return false;
    const wait = findWait(state, ids.attemptId, Date.now());
    return !wait || wait[4] === (attempt.waiting?.holder ?? '');
  }

  async #askAndApprove(
    step: Step,
    judgement: Judged,
    state: UserState,
    local: LocalCounts,
    hasPendingWrite: boolean,
  ): Promise<VerificationOutcome | Later> {
    const { asks, db, gate, node } = this.#options;
    const item = judgement.item!;
    const key = { userId: step.user.id, item, attemptId: step.ids.attemptId };
    if (step.reserved === item) {
      const mark = { ...key, from: ['cas'], to: 'asking', degraded: true } as const;
      if (!(await gate.pass(() => markPhase(db, mark)))) {
        // Another node has approved it meanwhile: the row stays and goes on denying it here.
        step.reserved = null;
        return this.#denyBegun(step, 'replayed', true);
      }
    } else {
      const refusal = await this.#reserve(step, judgement, 'asking', true);
      if (refusal) return this.#denyBegun(step, refusal, true);
    }
    const answers = await asks.broadcast(key);
    const refusedBy = answers.find((answer) => !answer.isGranted)?.refusedBy;
    if (refusedBy) {
      if (hasPendingWrite) {
        const { state: latest } = await this.#mostKnown(step, state);
        if (this.#isApprovedIn(step, latest)) {
          const used = { verdict: { approved: true } as const, claim: judgement.claim };
          const outcome = await this.#finishUsed(step, used, false);
          if (outcome === 'finished') return this.#verdictOf(step, { approved: true }, false);
        }
      }
      asks.tellSettled({ ...key, outcome: 'withdrawn', claim: null });
      const reason = refusedBy.phase === 'approved' ? 'replayed' : 'busy';
      return this.#denyBegun(step, reason, true);
    }
    let most = state;
    for (const answer of answers) {
      if (answer.state) most = mergeStates(most, parseState(Buffer.from(answer.state)));
    }
    const again = this.#judge(step, most, local);
    // Another node has approved this very attempt already, and its client did not hear of it.
    const isRepeated = again.kind === 'final' && again.verdict.approved;
    if (!isRepeated && (again.kind !== 'record' || again.item !== item)) {
      asks.tellSettled({ ...key, outcome: 'withdrawn', claim: null });
      const reason =
        again.kind === 'final' && !again.verdict.approved ? again.verdict.reason : 'busy';
      return this.#denyBegun(step, reason, true);
    }
    const { claim, verdict, pinFailure } = again.kind === 'record' ? again : judgement;
    if (isRepeated) step.event.details.repeated = true;
    if (pinFailure) await this.#keepClaim(step, pinFailure);
    if ((await this.#finishUsed(step, { verdict, claim }, true)) === 'yielded') {
      return this.#denyBegun(step, 'replayed', true);
    }
    asks.tellSettled({ ...key, outcome: 'approved', claim });
    if (verdict.approved) this.#options.metrics.countDegradedApproval(node);
    return this.#tell(step, verdict, true);
  }

  /** A failure, or a text that is sent: nothing to agree on with others, but to be merged later. */
  async #claimDegraded(step: Step, judgement: Judged): Promise<VerificationOutcome | Later> {
    await this.#keepClaim(step, judgement.claim);
    if (judgement.pinFailure) await this.#keepClaim(step, judgement.pinFailure);
    await this.#withdraw(step);
    step.hasBegun = true;
    const { question, claim, isAsked } = judgement;
    if (question) {
      const asking = { question, askedAt: claim.at };
      return isAsked ? this.#questions.of(step, asking, true) : this.#askLater(step, asking, true);
    }
    const { verdict } = judgement;
    return this.#denyBegun(step, verdict.approved ? 'wrong_code' : verdict.reason, true);
  }

  async #keepClaim(step: Step, claim: Claim): Promise<void> {
    const { attemptId } = step.ids;
    const { factor = 'code' } = 'failure' in claim ? claim : {};
    await this.#begin.add({
      reservation: {
        userId: step.user.id,
        item: failureItem(factor === 'code' ? attemptId : `${attemptId}:${factor}`),
        attemptId,
        holder: this.#options.node,
        phase: 'approved',
        degraded: true,
        claim,
      },
      event: step.event,
      isFinal: false,
    });
  }

  /** Own store, what other attempts here have claimed, and any log server's copy. */
  async #mostKnown(
    step: Step,
    known: UserState,
  ): Promise<{ state: UserState; local: LocalCounts }> {
    const most = await this.#options.gate.pass(() =>
      readMostKnown(this.#options, step.user.id, DIRECT_GET_MS),
    );
    const unlocked = step.user.unlockedAt === null ? 0 : Date.parse(step.user.unlockedAt);
    const localFailures = { code: 0, pin: 0, password: 0 };
    for (const { factor = 'code', unlockedAt, at } of most.failures) {
      const { resetMinutes } = lockoutOf(step.settings, factor);
      const isCounted = unlockedAt >= unlocked && at > Date.now() - resetMinutes * 60_000;
      if (isCounted) localFailures[factor] += 1;
    }
    const textsSince = Date.now() - 3_600_000;
    return {
      state: most.state ? mergeStates(known, most.state) : known,
      local: {
        localFailures,
        localTexts: most.texts.filter(({ at }) => at > textsSince).length,
        localAnswers: most.answered,
      },
    };
  }

  #isApprovedIn(step: Step, state: UserState): boolean {
    return findAttempt(state, step.ids.attemptId, Date.now())?.approved === true;
  }

  #judge(step: Step, state: UserState, local?: LocalCounts): Judgement {
    return judgeStep(this.#inputOf(step, state, local));
  }

  #inputOf(step: Step, state: UserState, local?: LocalCounts): StepInput {
    const { attempt, ids, user, secrets, settings, knownNodes, challenge, proof } = step;
    const nowMs = Date.now();
    const { code } = attempt;
    const hmac = code === null ? null : keyedHash(this.#options.keys['wrong-code'], user.id, code);
    return {
      user,
      secrets,
      state,
      settings,
      attempt: {
        id: ids.attemptId,
        keyHash: ids.keyHash,
        questionId: ids.waitId,
        code,
        door: attempt.door,
        method: attempt.method,
        client: `${attempt.caller.id} ${attempt.clientIp ?? attempt.remoteAddress}`,
        wrongCodeHmac: hmac && hmac.toString('hex'),
      },
      elsewhere: this.#options.elsewhere?.of(user) ?? [],
      waiting: attempt.waiting ?? null,
      canSendTexts: this.#options.canSendTexts?.(settings) ?? true,
      challenge: challenge && {
        id: challenge.id,
        method: challenge.row.method,
        mode: challenge.row.mode,
        expiresAtMs: challenge.expiresAt,
        isSentCode: code !== null && challenge.isSentCode(code),
      },
      password: proof && proof.judged,
      pin: step.pin,
      recoveryPlace: step.recoveryPlace,
      personAddress: attempt.clientIp,
      cacheKey: step.cacheKey,
      nowMs,
      codesNotBeforeMs: step.codesNotBeforeMs,
      medianNowMs: nowMs + this.#options.asks.medianClockOffsetMs(),
      ...(local && { withoutQuorum: { knownNodes, ...local } }),
    };
  }

  /** Argon2 runs once for a step: after a lost compare-and-set only the state is judged again. */
  async #checkPin(pin: string | null, user: UserDocument): Promise<'right' | 'wrong' | null> {
    if (pin === null || !user.pin) return null;
    return (await isPin(this.#options.keys.pin, user.id, pin, user.pin)) ? 'right' : 'wrong';
  }

  #placeOfRecoveryCode(code: string | null, user: UserDocument): number | null {
    if (code === null || !user.recoveryCodes || readSpareCode(code) === null) return null;
    const hash = spareCodeHash(this.#options.keys['spare-code'], 'recovery', user.id, code);
    const place = user.recoveryCodes.hashes.indexOf(hash);
    return place === -1 ? null : place;
  }

  /**
   * Who signs in where. What makes an earlier success worth nothing is part of it: another incarnation, and any change
   * of the user since, such as of PIN, method, phone or a block (rule 11).
   */
  #cacheKeyOf({ attempt, user, settings }: Step): string | null {
    const { mode } = settings.caching;
    if (mode === 'off' || (mode !== 'user' && attempt.clientIp === null)) return null;
    const { keys, incarnation } = this.#options;
    return keyedHash(
      keys.challenge,
      'cache',
      user.id,
      attempt.caller.id,
      mode === 'user' ? '' : (attempt.clientIp ?? ''),
      mode === 'user+application+address' ? (attempt.application ?? '') : '',
      incarnation.id,
      user.updatedAt,
      attempt.password ?? '',
    ).toString('base64url');
  }

  /** Null once this step holds the judgement's item (or there is none); else why not. */
  async #reserve(
    step: Step,
    judgement: Judged,
    phase: 'cas' | 'asking',
    degraded: boolean,
  ): Promise<'replayed' | 'busy' | null> {
    return this.#reserveItem(step, judgement.item, phase, degraded);
  }

  async #reserveItem(
    step: Step,
    item: string | null,
    phase: 'cas' | 'asking',
    degraded: boolean,
  ): Promise<'replayed' | 'busy' | null> {
    if (step.hasBegun && step.reserved === item) return null;
    await this.#withdraw(step);
    const outcome = await this.#begin.add({
      reservation:
        item === null
          ? null
          : {
              userId: step.user.id,
              item,
              attemptId: step.ids.attemptId,
              holder: this.#options.node,
              phase,
              degraded,
              claim: null,
            },
      event: step.event,
      isFinal: false,
    });
    step.hasBegun = true;
    if (outcome.kind === 'refused') {
      const { by } = outcome;
      if (by.phase !== 'approved') return 'busy';
      const before = step.ids.resent.find((ids) => ids.attemptId === by.attemptId);
      if (!before) return 'replayed';
      // Approved as it was sent before: the store knows, and this node's copy will.
      step.ids = before;
      step.event.details.verification = before.verificationId;
      return this.#reserveItem(step, item, phase, degraded);
    }
    step.reserved = item;
    return null;
  }

  async #withdraw(step: Step): Promise<void> {
    if (step.reserved === null) return;
    await this.#finish.add({
      event: step.event,
      isFinal: false,
      reservation: this.#ownReservation(step, 'withdrawn'),
    });
    step.reserved = null;
  }

  #ownReservation<O extends 'approved' | 'withdrawn'>(step: Step, outcome: O) {
    const { node } = this.#options;
    return {
      userId: step.user.id,
      item: step.reserved!,
      attemptId: step.ids.attemptId,
      holder: node,
      outcome,
    };
  }

  /** The item is used up, by an approval or for nothing. */
  async #finishUsed(
    step: Step,
    used: { verdict: Verdict; claim?: Claim },
    degraded: boolean,
  ): Promise<'finished' | 'yielded'> {
    this.#complete(step, used.verdict, degraded);
    return this.#finish.add({
      event: step.event,
      // Events are never corrected, so this one waits for how the change went.
      isFinal: this.#pinChangeOf(step, used.verdict) === null,
      ...(step.reserved !== null && {
        reservation: { ...this.#ownReservation(step, 'approved'), degraded },
      }),
      ...(degraded && used.claim && { claim: used.claim }),
    });
  }

  /** The compare-and-set stands, so the verdict does too: what fails from here on costs the event, not the user. */
  async #deliver(
    step: Step,
    judgement: Pick<Judged, 'verdict' | 'item'> &
      Partial<Pick<Judged, 'claim' | 'question' | 'isAsked'>>,
    degraded: boolean,
  ): Promise<VerificationOutcome | Later> {
    const { verdict, item, question, claim, isAsked } = judgement;
    if (question) {
      const asking = { question, askedAt: claim?.at ?? Date.now() };
      if (!isAsked) return this.#askLater(step, asking, degraded);
      this.#complete(step, null, degraded);
      await this.#finish.add({ event: step.event });
      return this.#questions.of(step, asking, degraded);
    }
    if (!verdict.approved && item === null) return this.#denyBegun(step, verdict.reason, degraded);
    try {
      await this.#finishUsed(step, judgement, degraded);
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'a verdict could not be noted here');
    }
    return this.#tell(step, verdict, degraded);
  }

  #tell(step: Step, verdict: Verdict, degraded: boolean): VerificationOutcome | Later {
    const change = this.#pinChangeOf(step, verdict);
    if (change) return { kind: 'later', finish: () => this.#changePin(step, change, degraded) };
    return this.#verdictOf(step, verdict, degraded);
  }

  #pinChangeOf({ attempt, user }: Step, verdict: Verdict): (() => Promise<string | null>) | null {
    const { changePin } = this.#options;
    const { caller, pin, newPin } = attempt;
    const isDue = !verdict.approved && verdict.reason === 'pin_change_required';
    if (!isDue || !changePin || pin === null || newPin === null) return null;
    return () => changePin({ caller, username: user.username, pin, newPin });
  }

  /** Code and PIN were right, and the PIN has to be another: the master has the last word. */
  async #changePin(
    step: Step,
    change: () => Promise<string | null>,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    const problem = await change();
    if (problem !== null) {
      step.event.details.pinChange = problem;
      this.#options.log.info({ problem }, 'a PIN was not changed');
    }
    const verdict: Verdict =
      problem === null ? { approved: true } : { approved: false, reason: 'pin_change_required' };
    this.#complete(step, verdict, degraded);
    await this.#finish.add({ event: step.event });
    return this.#verdictOf(step, verdict, degraded);
  }

  #askLater(step: Step, asking: Asking, degraded: boolean): Later {
    return { kind: 'later', finish: () => this.#sendAndAsk(step, asking, degraded) };
  }

  async #sendAndAsk(step: Step, asking: Asking, degraded: boolean): Promise<VerificationOutcome> {
    const { question, askedAt } = asking;
    const phone = step.user.authenticators.find(({ id }) => id === question.phoneId);
    const { sendText } = this.#options;
    const { settings, attempt } = step;
    const { untilMs } = question;
    const outcome =
      untilMs !== undefined
        ? await this.#askElsewhere(step, question, untilMs)
        : phone?.type === 'phone' && sendText
          ? await sendText({
              user: step.user,
              number: phone.number,
              code: this.#questions.textCode(step, askedAt),
              application: attempt.application,
              settings,
              minutes: settings.methods.answerMinutes,
            })
          : { sent: false, details: { error: 'nothing here sends texts' } };
    step.event.details = { ...step.event.details, ...outcome.details };
    if (!outcome.sent) {
      if (untilMs !== undefined) await this.#withdrawWait(step);
      return this.#denyBegun(step, 'not_delivered', degraded);
    }
    this.#complete(step, null, degraded);
    await this.#finish.add({ event: step.event });
    return this.#questions.of(step, asking, degraded);
  }

  async #askElsewhere(step: Step, { method, row }: Question, until: number) {
    const { elsewhere } = this.#options;
    if (!elsewhere) return { sent: false, details: { error: 'nothing here asks that way' } };
    const { attempt, user, ids } = step;
    if (ids.waitId !== ids.verificationId) step.event.details.question = ids.waitId;
    return elsewhere.ask({
      id: ids.waitId,
      user,
      method,
      mode: row.mode,
      application: attempt.application,
      client: attempt.caller.name,
      until,
    });
  }

  /** Nobody was asked, so nobody who signs in again is to wait for it. */
  async #withdrawWait({ user, ids }: Step): Promise<void> {
    try {
      await this.#waits.withdraw({ userId: user.id, questionId: ids.waitId });
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'a question was not withdrawn');
    }
  }

  /** A judgement that records nothing: a denial, the verdict of a repeated attempt, or a key used twice. */
  async #conclude(
    step: Step,
    state: UserState,
    judgement: Exclude<Judgement, Judged>,
    degraded: boolean,
  ): Promise<VerificationOutcome | Later> {
    if (judgement.kind === 'ask') {
      if (step.hasBegun) {
        // By an old copy there was something to record; the store knew better.
        await this.#withdraw(step);
        this.#complete(step, null, degraded);
        await this.#finish.add({ event: step.event });
      }
      return this.#questions.of(step, judgement, degraded);
    }
    if (judgement.kind === 'conflict') {
      step.event.result = 'denied';
      step.event.reason = 'idempotency_conflict';
      await this.#finish.add({
        event: step.event,
        ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'withdrawn') }),
      });
      return { kind: 'conflict', id: step.ids.verificationId };
    }
    const { verdict } = judgement;
    if (!verdict.approved) return this.#denyBegun(step, verdict.reason, degraded);
    if (verdict.skipped) return this.#skip(step, state, verdict, degraded);
    const stored = findAttempt(state, step.ids.attemptId, Date.now());
    if (this.#isHeldByAnother(step, stored?.item ?? null)) {
      return this.#denyBegun(step, 'replayed', degraded);
    }
    return this.#repeatApproval(step, degraded);
  }

  /** Nothing was asked: an administrator's doing, always audited. */
  async #skip(
    step: Step,
    state: UserState,
    verdict: Extract<Verdict, { approved: true }>,
    degraded: boolean,
  ): Promise<VerificationOutcome | Later> {
    if (verdict.skipped === 'cached' && !(await this.#isStillCached(step))) {
      step.cacheKey = null;
      return this.#verifyWithQuorum(step, state, 0);
    }
    step.event.details.skipped = verdict.skipped;
    this.#complete(step, verdict, degraded);
    await (step.hasBegun ? this.#finish : this.#deny).add({ event: step.event });
    return this.#verdictOf(step, verdict, degraded);
  }

  /** The store's word: a copy may not have heard that it is over. Nothing is skipped while the store is silent. */
  async #isStillCached(step: Step): Promise<boolean> {
    const read = await this.#options.states.readThroughLeader(step.user.id, CONFIRM_MS);
    if (read.kind !== 'found') return false;
    const now = this.#judge(step, parseState(read.bytes));
    return now.kind === 'final' && now.verdict.approved && now.verdict.skipped === 'cached';
  }

  /** Told again within 10 s: the answer was lost on its way. */
  async #repeatApproval(step: Step, degraded: boolean): Promise<VerificationOutcome> {
    step.event.details.repeated = true;
    this.#complete(step, { approved: true }, degraded);
    const outcome = await this.#finish.add({
      event: step.event,
      ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'approved') }),
    });
    if (outcome === 'yielded') return this.#denyBegun(step, 'replayed', degraded);
    return this.#verdictOf(step, { approved: true }, degraded);
  }

  // Approved without the quorum by this node or one that told us: no user state knows of it yet.
  #wasJustApprovedDegraded(step: Step): boolean {
    return step.reservations.some(
      (row) =>
        row.attemptId === step.ids.attemptId &&
        row.phase === 'approved' &&
        row.degraded &&
        row.claim !== null &&
        isUsedClaim(row.claim) &&
        !row.claim.denied &&
        Date.now() - row.claim.at < ATTEMPTS_KEPT_MS,
    );
  }

  #isHeldByAnother(step: Step, item: string | null): boolean {
    return step.reservations.some(
      (row) => row.item === item && row.attemptId !== step.ids.attemptId && row.phase !== 'asking',
    );
  }

  async #denyBegun(
    step: Step,
    reason: DenialReason,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    const verdict: Verdict = { approved: false, reason };
    this.#complete(step, verdict, degraded);
    const batcher = step.hasBegun ? this.#finish : this.#deny;
    await batcher.add({
      event: step.event,
      ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'withdrawn') }),
    });
    return this.#verdictOf(step, verdict, degraded);
  }

  async #denyUnrecorded(
    step: Pick<Step, 'event' | 'ids' | 'startedAt'>,
    reason: DenialReason,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    const verdict: Verdict = { approved: false, reason };
    this.#complete(step, verdict, degraded);
    await this.#deny.add({ event: step.event });
    return this.#verdictOf(step, verdict, degraded);
  }

  async #recordDenials(finishes: Finish[]): Promise<void[]> {
    const { db, gate } = this.#options;
    await gate.pass(() => finishAttempts(db, countBusyTogether(finishes)));
    return finishes.map(() => undefined);
  }

  /** `verdict` null: a question was asked. */
  #complete(
    step: Pick<Step, 'event' | 'startedAt'>,
    verdict: Verdict | null,
    degraded: boolean,
  ): void {
    if (verdict === null) step.event.result = 'challenge';
    else step.event.result = verdict.approved ? 'approved' : 'denied';
    step.event.reason = !verdict || verdict.approved ? null : verdict.reason;
    step.event.degraded = degraded;
    step.event.durationMs = Math.round(performance.now() - step.startedAt);
  }

  #verdictOf(
    step: Pick<Step, 'ids' | 'startedAt'> &
      Partial<Pick<Step, 'user' | 'challenge' | 'proof' | 'settings'>>,
    verdict: Verdict,
    degraded: boolean,
  ): VerificationOutcome {
    const group = verdict.approved ? step.user?.group : undefined;
    const language = mayBeAddressed(step, verdict) ? step.settings?.company.language : undefined;
    this.#options.metrics.countVerdict(verdict, degraded, performance.now() - step.startedAt);
    return {
      kind: 'verdict',
      id: step.ids.verificationId,
      approved: verdict.approved,
      ...(!verdict.approved && { reason: verdict.reason }),
      ...(verdict.approved && verdict.skipped && { skipped: verdict.skipped }),
      ...(group !== undefined && { group }),
      ...(language !== undefined && { language }),
      degraded,
    };
  }

  #openSecrets(user: UserDocument): Map<string, Buffer> {
    const secrets = new Map<string, Buffer>();
    for (const { id, ...authenticator } of user.authenticators) {
      if (authenticator.type === 'phone') continue;
      try {
        const sealed = Buffer.from(authenticator.sealedSecret, 'base64');
        secrets.set(id, open(this.#options.keys.seed, sealed, seedContext(id)));
      } catch (error) {
        this.#options.log.error(
          { authenticator: id, error: String(error) },
          'a seed does not open',
        );
      }
    }
    return secrets;
  }

  async #settingsAt(revision: number): Promise<ReadSettings> {
    if (this.#settings?.revision !== revision)
      this.#settings = await this.#options.gate.pass(() => readSettings(this.#options.db));
    return this.#settings;
  }

  #newEvent(attempt: VerificationAttempt, ids: AttemptIds): AuditEvent {
    const records = this.#settings?.settings.events;
    return newEvent({
      type: 'verification',
      node: this.#options.node,
      actor: attempt.caller.name,
      application: attempt.application,
      clientAddress:
        records?.recordAddresses === false ? null : (attempt.clientIp ?? attempt.remoteAddress),
      details: { verification: ids.verificationId, method: attempt.method ?? 'oath' },
    });
  }
}

/** Of the keys that a client may have sent the same with moments ago, the one that is known. */
function recognise(
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

/** Whether somebody may be spoken to as who they are: they heard before, or hear by it, that the password was right. */
function mayBeAddressed(
  { challenge, proof }: Partial<Pick<Step, 'challenge' | 'proof'>>,
  verdict: Verdict,
): boolean {
  if ((challenge?.firstFactorAt ?? null) !== null) return true;
  const isCodeMissing = !verdict.approved && verdict.reason === 'no_method_for_protocol';
  return isCodeMissing && proof?.judged.kind === 'right';
}

/** Somebody was asked elsewhere, and the front door waits for the answer. */
function isWaitedFor(
  outcome: VerificationOutcome,
): outcome is Extract<VerificationOutcome, { kind: 'challenge' }> {
  return outcome.kind === 'challenge' && outcome.asks.length === 0;
}

/** Whether it asks how a question went that is answered elsewhere. */
function isOfWait({ challenge, attempt }: Step): boolean {
  const isChoice = attempt.method !== null;
  return challenge !== null && !isChoice && challenge.row.waitsFor.length > 0;
}

function unmergedIn(reservations: Reservation[]): Claim[] {
  return reservations.flatMap(({ phase, degraded, merged, claim }) =>
    phase === 'approved' && degraded && !merged && claim !== null ? [claim] : [],
  );
}

/** What this very attempt claimed without the quorum before: a failure, or a text. */
function ownClaimIn({ reservations, ids }: Step): FailureClaim | TextClaim | null {
  for (const { attemptId, claim } of reservations) {
    if (attemptId !== ids.attemptId || claim === null || isUsedClaim(claim)) continue;
    // It is among what is known of the user's state.
    if ('wait' in claim) continue;
    if ('text' in claim || claim.factor !== 'pin') return claim;
  }
  return null;
}

/** What a stranger would learn about a name by asking for nothing but a question. */
const HIDDEN: ReadonlySet<DenialReason> = new Set([
  'unknown_user',
  'no_method',
  'locked_out',
  'blocked',
  'disabled',
]);

function isHidden(attempt: VerificationAttempt, outcome: VerificationOutcome): boolean {
  const { code, password, challenge, caller } = attempt;
  if (code !== null || password !== null || challenge !== null || caller.scopes.has('reasons:read'))
    return false;
  return outcome.kind === 'verdict' && !outcome.approved && HIDDEN.has(outcome.reason!);
}

type LocalCounts = {
  localFailures: Record<Factor, number>;
  localTexts: number;
  localAnswers: string[];
};

/** What the event says of how it was judged. */
function detailsOf({ item, question, verdict }: Judged): Record<string, unknown> {
  if (question) return { method: question.method, mode: question.row.mode };
  if (verdict.approved && verdict.skipped) return { skipped: verdict.skipped };
  // The event has the question's method already.
  if (item?.startsWith('challenge:')) return {};
  if (item?.startsWith('recovery:')) return { method: 'recovery' };
  // It may have stood in for a text.
  return item === null ? {} : { method: 'oath' };
}

function isReplay(judgement: Judgement): boolean {
  return (
    judgement.kind === 'final' &&
    !judgement.verdict.approved &&
    judgement.verdict.reason === 'replayed'
  );
}
