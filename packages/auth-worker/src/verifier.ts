import { setTimeout as sleep } from 'node:timers/promises';
import {
  ProblemError,
  type VerificationAttempt,
  type VerificationOutcome,
  type VerificationPoll,
} from '@countersign/api';
import {
  markPhase,
  readForVerification,
  readSettings,
  type AuditEvent,
  type ReadSettings,
  type VerificationRead,
  type WantedUser,
} from '@countersign/database';
import { newEvent } from '@countersign/operations';
import {
  askPassword,
  ATTEMPTS_KEPT_MS,
  beginsLockout,
  emptyState,
  encodeState,
  findApplication,
  findAttempt,
  findWait,
  isPasswordAsked,
  isUsedClaim,
  judgeStep,
  mergeClaims,
  mergeStates,
  parseState,
  settingsFor,
  settlePassword,
  StateError,
  usernameKey,
  withoutQuorumPolicy,
  withStopFacts,
  type DenialReason,
  type Judgement,
  type Question,
  type UserState,
  type Verdict,
  type WaitAnswer,
} from '@countersign/verification';
import { AttemptIds } from './attempt-ids.ts';
import { AttemptRecords } from './attempt-records.ts';
import { Batcher, OverloadError } from './batcher.ts';
import { refused, type AskedDirectories } from './first-factor.ts';
import { pollQuestion } from './poll-question.ts';
import { Questions, type Asking } from './questions.ts';
import {
  CONFIRM_MS,
  confirmState,
  mostKnownOf,
  readNewerState,
  readUntilNewer,
} from './read-state.ts';
import type { OpenedChallenge } from './sealed-challenge.ts';
import {
  cacheKeyOf,
  checkPin,
  openSecrets,
  placeOfRecoveryCode,
  stepInputOf,
} from './step-input.ts';
import {
  detailsOf,
  isOfWait,
  isReplay,
  isWaitedFor,
  ownClaimIn,
  recognise,
  remainingMsOf,
  unmergedIn,
  type Begun,
  type Judged,
  type Known,
  type Later,
  type LocalCounts,
  type Step,
  type WaitingAttempt,
} from './step.ts';
import { nameOfStranger, proveStranger } from './strangers.ts';
import { UserQueue } from './user-queue.ts';
import type { VerifierOptions } from './verifier-options.ts';
import { Waits, type WaitedQuestion, type WaitEnd } from './waits.ts';

/** Waiting for the quorum ends after this, whatever happens. */
const QUORUM_WAIT_MS = 700;
/** A node whose clock is further from the cluster's median does not verify. */
export const CLOCK_LIMIT_MS = 20_000;
const MAX_LOST_CAS = 4;
const MAX_IN_FLIGHT = 4000;
/** What the user's other steps may take. */
const BUSY_MS = 150;
const HAND_OUT_TRIES = 4;
/** Held while a directory is asked for a user's password without the quorum. */
const PASSWORD_ITEM = 'password';

/** `verify(attempt)`: the one function behind every protocol. No verdict leaves before it is recorded. */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #quorumWaitMs: number;
  /** By what is typed: so many guesses at one name, whoever has it, wait here. */
  readonly #typed = new UserQueue();
  /** By user, for a user has several names. Whoever is in turn here waits for no other turn. */
  readonly #users = new UserQueue();
  readonly #inFlight = new Map<string, Promise<VerificationOutcome>>();
  readonly #read: Batcher<WantedUser, VerificationRead>;
  readonly #records: AttemptRecords;
  readonly #waits: Waits;
  readonly #questions: Questions;
  #settings: ReadSettings | null = null;

  constructor(options: VerifierOptions) {
    this.#options = options;
    const { db, gate } = options;
    this.#quorumWaitMs = options.quorumWaitMs ?? QUORUM_WAIT_MS;
    this.#read = new Batcher((wanted) => gate.pass(() => readForVerification(db, wanted)), 100);
    this.#records = new AttemptRecords(options);
    this.#waits = new Waits(options);
    this.#questions = new Questions({ ...options, key: options.keys.challenge });
  }

  async verify(attempt: VerificationAttempt): Promise<VerificationOutcome> {
    const ids = new AttemptIds(this.#options.keys['attempt-id'], attempt);
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
      const ids = new AttemptIds(this.#options.keys['attempt-id'], handedOut);
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
    const ids = new AttemptIds(this.#options.keys['attempt-id'], attempt);
    const event = this.#newEvent(attempt, ids);
    const step = { event, ids, startedAt: performance.now() };
    try {
      if (attempt.username !== null) Object.assign(event, await this.whoIs(attempt.username));
      return await this.#records.denyUnbegun(step, reason, false);
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
        return await this.#records.denyUnbegun({ event, ids, startedAt }, opened.reason, false);
      }
      const username = opened?.username ?? attempt.username ?? '';
      const step = () =>
        this.#step({ ...attempt, username }, opened?.challenge ?? null, ids, event, startedAt);
      // Whoever was asked a question and types nothing guesses nothing: a flood of guesses must not be in their way.
      const isGuess = !opened || attempt.code !== null;
      const turn = isGuess ? this.#typed.run(usernameKey(username), step) : step();
      if (!turn) return await this.#records.denyUnbegun({ event, ids, startedAt }, 'busy', false);
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
      : { userId: null, username: nameOfStranger(this.#options, name, settings) };
  }

  /** Where the application says so, whoever is not one of the users needs no second step. */
  async #passStranger(
    step: Pick<Step, 'event' | 'ids' | 'startedAt'>,
    { username, password, passwordTarget }: VerificationAttempt & { username: string },
    asked: AskedDirectories,
  ): Promise<VerificationOutcome> {
    // Nobody can tell by which other names that server knows a user: one of them would need no second step.
    if (passwordTarget) return this.#records.denyUnbegun(step, 'unknown_user', false);
    const { judged, target } = await proveStranger(this.#options, username, password, asked);
    if (target) step.event.details.directory = target.name;
    if (judged.kind !== 'right') {
      const reason = judged.kind === 'wrong' ? 'wrong_password' : judged.reason;
      return this.#records.denyUnbegun(step, reason, false);
    }
    return this.#records.pass(step, { approved: true, skipped: 'user_match_off' }, false);
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
      step.quorumUntil = performance.now() + this.#quorumWaitMs;
    }
    // Until a wrong one is counted the next has to wait.
    if (step.proof.judged.kind !== 'wrong') await this.#records.withdraw(step);
    return begun;
  }

  /** One compare-and-set before the directory counts: guesses at once, on any nodes, are no more than the limit. */
  async #beginAsk(step: Step, local: Known): Promise<Begun> {
    const { states, circuit, metrics } = this.#options;
    const unmerged = unmergedIn(step.reservations);
    let { state, revision } = local;
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const known = mergeClaims(state, unmerged, step.settings, Date.now());
      const next = askPassword(stepInputOf(this.#options, step, known));
      if (!next) {
        const told = { mayAsk: false, isAlone: false, state, revision };
        if (!isPasswordAsked(state, step.ids.attemptId)) return told;
        // Sent again while another node asks for it: what that hears is this one's answer too.
        const later = await readUntilNewer(this.#options, step, state, revision);
        if (later === 'silent') return told;
        ({ state, revision } = later);
        continue;
      }
      const bytes = encodeState(next);
      const outcome = await states.write(step.user.id, bytes, revision, remainingMsOf(step));
      metrics.countWrite(outcome.kind);
      if (outcome.kind === 'silent') {
        await circuit.noteSilence(step.user.id, outcome.why);
        return this.#beginAskAlone(step, { state, revision });
      }
      circuit.noteAnswer();
      if (outcome.kind === 'written') {
        return { mayAsk: true, isAlone: false, state: next, revision: outcome.revision };
      }
      const newer = await readUntilNewer(this.#options, step, state, revision);
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
    if (await this.#records.reserve(step, PASSWORD_ITEM, 'asking', true)) {
      return { ...alone, mayAsk: false, state };
    }
    const most = await mostKnownOf(this.#options, step, state);
    const next = askPassword(stepInputOf(this.#options, step, most.state, most.local));
    return { ...alone, mayAsk: next !== null, state: most.state };
  }

  /** How a question stands. It is asked of the log, for it may have been answered on any node. */
  async poll(poll: VerificationPoll): Promise<VerificationOutcome | { kind: 'open'; id: string }> {
    try {
      return await pollQuestion(this.#options, this.#questions, poll);
    } catch (error) {
      return this.#notReady(error);
    }
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
    return turn ?? this.#records.denyUnbegun({ event, ids, startedAt }, 'busy', false);
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
      return this.#records.denyUnbegun({ event, ids, startedAt }, 'application_disabled', false);
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
      event.username = nameOfStranger(this.#options, attempt.username, company);
      if (!namesake && application?.userMatch === 'pass' && !challenge) {
        return this.#passStranger({ event, ids, startedAt }, attempt, asked);
      }
      return this.#records.denyUnbegun({ event, ids, startedAt }, 'unknown_user', false);
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
      quorumUntil: performance.now() + this.#quorumWaitMs,
      user: withStopFacts(user.document, user.stopFacts, Date.now()),
      settings: settingsFor(company, application, user.document),
      publicLanguage: settingsFor(company, application).company.language,
      knownNodes: read.knownNodes,
      codesNotBeforeMs: read.codesNotBeforeMs,
      reservations: user.reservations,
      secrets: openSecrets(this.#options, user.document),
      challenge,
      proof: null,
      pin: await checkPin(this.#options, attempt.pin, user.document),
      recoveryPlace: placeOfRecoveryCode(this.#options, attempt.code, user.document),
      cacheKey: null,
      reserved: null,
      hasBegun: false,
    };
    const local = { state: user.state ?? emptyState(), revision: user.stateRevision };
    await this.#recognise(step, local);
    if (this.#wasJustApprovedDegraded(step)) {
      return this.#records.repeatApproval(step, true);
    }
    step.cacheKey = cacheKeyOf(this.#options, step);
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
          const read = await readNewerState(this.#options, step, revision, remainingMsOf(step));
          if (read?.kind === 'silent') {
            await circuit.noteSilence(userId, read.why);
            return this.#verifyWithoutQuorum(step, state, null);
          }
          if (read) {
            ({ state, revision } = read);
            continue;
          }
        }
        const newer =
          (lost === 0 && isReplay(judgement)
            ? await confirmState(this.#options, step, revision)
            : null) ?? (await this.#settlePassword(step, { state, revision }, known));
        if (!newer) return this.#conclude(step, state, judgement, false);
        ({ state, revision } = newer);
        continue;
      }
      step.event.details = { ...step.event.details, ...detailsOf(judgement) };
      // Administrators are told of it by mail.
      step.event.details.beginsLockout = beginsLockout(known, judgement.next) || undefined;
      const refusal = await this.#records.reserve(step, judgement.item, 'cas', false);
      if (refusal) {
        const newer =
          lost === 0 && refusal === 'replayed'
            ? await confirmState(this.#options, step, revision)
            : null;
        if (!newer) return this.#records.deny(step, refusal, false);
        ({ state, revision } = newer);
        continue;
      }
      const bytes = encodeState(judgement.next);
      const outcome = await states.write(userId, bytes, revision, remainingMsOf(step));
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
      const newer = await readUntilNewer(this.#options, step, state, revision);
      if (newer === 'silent') return this.#verifyWithoutQuorum(step, state, null);
      ({ state, revision } = newer);
      await this.#recognise(step, newer);
    }
    return this.#records.deny(step, 'busy', false);
  }

  /** What this node's copy did not know: the same was sent to another node a moment ago, and judged there. */
  async #recognise(step: Step, known: Known): Promise<void> {
    const ids =
      recognise(step.ids, known.state, step.reservations) ?? this.#recogniseWait(step, known.state);
    if (ids === null || ids === step.ids) return;
    await this.#records.withdraw(step);
    if (step.proof && known.revision > 0) await this.#settlePassword(step, known, known.state);
    step.ids = ids;
    step.event.details.verification = ids.verificationId;
  }

  /** What somebody is still asked about elsewhere is looked for longer, and only then. */
  #recogniseWait({ ids }: Step, state: UserState): AttemptIds | null {
    if (!state.waits?.length) return null;
    const nowMs = Date.now();
    const sent = [ids, ...ids.lasting()];
    return sent.find(({ attemptId }) => findWait(state, attemptId, nowMs) !== null) ?? null;
  }

  /**
   * Records what came of asking a directory, where no more is recorded. Null: it is, or will be when it counts no more;
   * else what was recorded by others meanwhile.
   */
  async #settlePassword(step: Step, { state, revision }: Known, known: UserState) {
    const next = settlePassword(stepInputOf(this.#options, step, known));
    if (!next) return null;
    const { states } = this.#options;
    const bytes = encodeState(next);
    const outcome = await states.write(step.user.id, bytes, revision, remainingMsOf(step));
    this.#options.metrics.countWrite(outcome.kind);
    if (outcome.kind === 'silent') {
      await this.#options.circuit.noteSilence(step.user.id, outcome.why);
      return null;
    }
    this.#options.circuit.noteAnswer();
    if (outcome.kind === 'written') return null;
    const newer = await readUntilNewer(this.#options, step, state, revision);
    return newer === 'silent' ? null : newer;
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
    if (policy === 'refuse') return this.#records.deny(step, 'no_quorum', true);
    const claimed = ownClaimIn(step);
    // Whoever repeats an attempt for minutes must not have another guess, or another text, that nobody counts.
    if (claimed && 'failure' in claimed) {
      const reason = claimed.factor === 'password' ? 'wrong_password' : 'wrong_code';
      return this.#records.deny(step, reason, true);
    }
    if (claimed && Date.now() - claimed.at >= ATTEMPTS_KEPT_MS) {
      return this.#records.deny(step, 'too_many_texts', true);
    }
    const { state, local } = await mostKnownOf(this.#options, step, known);
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
        return this.#records.deny(step, 'replayed', true);
      }
    } else {
      const refusal = await this.#records.reserve(step, judgement.item, 'asking', true);
      if (refusal) return this.#records.deny(step, refusal, true);
    }
    const answers = await asks.broadcast(key);
    // They live, and may have approved the same: whoever reads the event has to know.
    const unanswered = asks.liveNodes().filter((live) => !answers.some((one) => one.node === live));
    if (unanswered.length > 0) step.event.details.unanswered = unanswered;
    const refusedBy = answers.find((answer) => !answer.isGranted)?.refusedBy;
    if (refusedBy) {
      if (hasPendingWrite) {
        const { state: latest } = await mostKnownOf(this.#options, step, state);
        if (this.#isApprovedIn(step, latest)) {
          const used = { verdict: { approved: true } as const, claim: judgement.claim };
          const outcome = await this.#use(step, used, false);
          if (outcome === 'finished')
            return this.#records.verdictOf(step, { approved: true }, false);
        }
      }
      asks.tellSettled({ ...key, outcome: 'withdrawn', claim: null });
      const reason = refusedBy.phase === 'approved' ? 'replayed' : 'busy';
      return this.#records.deny(step, reason, true);
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
      return this.#records.deny(step, reason, true);
    }
    const { claim, verdict, pinFailure } = again.kind === 'record' ? again : judgement;
    if (isRepeated) step.event.details.repeated = true;
    if (pinFailure) await this.#records.keepClaim(step, pinFailure);
    if ((await this.#use(step, { verdict, claim }, true)) === 'yielded') {
      return this.#records.deny(step, 'replayed', true);
    }
    asks.tellSettled({ ...key, outcome: 'approved', claim });
    if (verdict.approved) this.#options.metrics.countDegradedApproval(node);
    return this.#tell(step, verdict, true);
  }

  /** A failure, or a text that is sent: nothing to agree on with others, but to be merged later. */
  async #claimDegraded(step: Step, judgement: Judged): Promise<VerificationOutcome | Later> {
    await this.#records.keepClaim(step, judgement.claim);
    if (judgement.pinFailure) await this.#records.keepClaim(step, judgement.pinFailure);
    await this.#records.withdraw(step);
    step.hasBegun = true;
    const { question, claim, isAsked } = judgement;
    if (question) {
      const asking = { question, askedAt: claim.at };
      return isAsked ? this.#questions.of(step, asking, true) : this.#askLater(step, asking, true);
    }
    const { verdict } = judgement;
    return this.#records.deny(step, verdict.approved ? 'wrong_code' : verdict.reason, true);
  }

  #isApprovedIn(step: Step, state: UserState): boolean {
    return findAttempt(state, step.ids.attemptId, Date.now())?.approved === true;
  }

  #judge(step: Step, state: UserState, local?: LocalCounts): Judgement {
    return judgeStep(stepInputOf(this.#options, step, state, local));
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
      await this.#records.note(step, null, degraded);
      return this.#questions.of(step, asking, degraded);
    }
    if (!verdict.approved && item === null)
      return this.#records.deny(step, verdict.reason, degraded);
    try {
      await this.#use(step, judgement, degraded);
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'a verdict could not be noted here');
    }
    return this.#tell(step, verdict, degraded);
  }

  /** What the step holds is used up. Events are never corrected: this one waits for how a change of the PIN goes. */
  #use(
    step: Step,
    used: Pick<Judged, 'verdict'> & Partial<Pick<Judged, 'claim'>>,
    degraded: boolean,
  ) {
    const isFinal = this.#pinChangeOf(step, used.verdict) === null;
    return this.#records.use(step, { ...used, isFinal }, degraded);
  }

  #tell(step: Step, verdict: Verdict, degraded: boolean): VerificationOutcome | Later {
    const change = this.#pinChangeOf(step, verdict);
    if (change) return { kind: 'later', finish: () => this.#changePin(step, change, degraded) };
    return this.#records.verdictOf(step, verdict, degraded);
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
    await this.#records.note(step, verdict, degraded);
    return this.#records.verdictOf(step, verdict, degraded);
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
      return this.#records.deny(step, 'not_delivered', degraded);
    }
    await this.#records.note(step, null, degraded);
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
        await this.#records.withdraw(step);
        await this.#records.note(step, null, degraded);
      }
      return this.#questions.of(step, judgement, degraded);
    }
    if (judgement.kind === 'conflict') {
      return this.#records.conflict(step);
    }
    const { verdict } = judgement;
    if (!verdict.approved) return this.#records.deny(step, verdict.reason, degraded);
    if (verdict.skipped) return this.#skip(step, state, verdict, degraded);
    const stored = findAttempt(state, step.ids.attemptId, Date.now());
    if (this.#isHeldByAnother(step, stored?.item ?? null)) {
      return this.#records.deny(step, 'replayed', degraded);
    }
    return this.#records.repeatApproval(step, degraded);
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
    return this.#records.pass(step, verdict, degraded);
  }

  /** The store's word: a copy may not have heard that it is over. Nothing is skipped while the store is silent. */
  async #isStillCached(step: Step): Promise<boolean> {
    const read = await this.#options.states.readThroughLeader(step.user.id, CONFIRM_MS);
    if (read.kind !== 'found') return false;
    const now = this.#judge(step, parseState(read.bytes));
    return now.kind === 'final' && now.verdict.approved && now.verdict.skipped === 'cached';
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
