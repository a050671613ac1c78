import { setTimeout as sleep } from 'node:timers/promises';
import { ProblemError, type VerificationAttempt, type VerificationOutcome } from '@countersign/api';
import type { Asks, UserStates } from '@countersign/cluster';
import {
  beginAttempts,
  failureItem,
  finishAttempts,
  markPhase,
  readForVerification,
  readSettings,
  type AuditEvent,
  type Beginning,
  type BeginningOutcome,
  type Database,
  type Finish,
  type Reservation,
  type VerificationRead,
} from '@countersign/database';
import { keyedHash, open, type PurposeKey } from '@countersign/keys';
import { newEvent, seedContext } from '@countersign/operations';
import {
  ATTEMPTS_KEPT_MS,
  emptyState,
  encodeState,
  findAttempt,
  judgeCode,
  mergeClaims,
  mergeStates,
  parseState,
  usernameKey,
  withoutQuorumPolicy,
  withStopFacts,
  type Claim,
  type DenialReason,
  type Judgement,
  type Settings,
  type UserDocument,
  type UserState,
  type Verdict,
} from '@countersign/verification';
import type { Logger } from 'pino';
import { attemptIdsOf, type AttemptIds } from './attempt-ids.ts';
import { Batcher, OverloadError } from './batcher.ts';
import type { Circuit } from './circuit.ts';
import { countBusyTogether } from './count-busy-together.ts';
import type { DatabaseGate } from './database-gate.ts';
import type { WorkerMetrics } from './metrics.ts';
import { readMostKnown } from './most-known.ts';
import { UserQueue } from './user-queue.ts';

export type VerifierOptions = {
  node: string;
  db: Database;
  gate: DatabaseGate;
  states: UserStates;
  asks: Asks;
  circuit: Circuit;
  keys: Record<'seed' | 'wrong-code' | 'attempt-id', PurposeKey>;
  metrics: WorkerMetrics;
  log: Logger;
};

/** Waiting for the quorum ends after this, whatever happens. */
export const QUORUM_WAIT_MS = 700;
/** A node whose clock is further from the cluster's median does not verify. */
export const CLOCK_LIMIT_MS = 20_000;
const DIRECT_GET_MS = 100;
const MAX_LOST_CAS = 4;
const MAX_IN_FLIGHT = 4000;
const DENIALS_PAUSE_MS = 50;

type Step = {
  attempt: VerificationAttempt;
  ids: AttemptIds;
  event: AuditEvent;
  startedAt: number;
  /** Monotonic ms at which waiting for the quorum ends. */
  quorumUntil: number;
  user: UserDocument;
  settings: Settings;
  knownNodes: number;
  codesNotBeforeMs: number | null;
  reservations: Reservation[];
  secrets: Map<string, Buffer>;
  /** Item this step holds a reservation for. */
  reserved: string | null;
  hasBegun: boolean;
};

type Judged = Extract<Judgement, { kind: 'record' }>;

/** `verify(attempt)`: the one function behind every protocol. No verdict leaves before it is recorded. */
export class Verifier {
  readonly #options: VerifierOptions;
  readonly #queue = new UserQueue();
  readonly #inFlight = new Map<string, Promise<VerificationOutcome>>();
  readonly #read: Batcher<string, VerificationRead>;
  readonly #begin: Batcher<Beginning, BeginningOutcome>;
  readonly #finish: Batcher<Finish, 'finished' | 'yielded'>;
  /** For denials that change nothing: they come in floods, and cost the others less when many share a commit. */
  readonly #deny: Batcher<Finish, void>;
  #settings: { revision: number; settings: Settings } | null = null;

  constructor(options: VerifierOptions) {
    this.#options = options;
    const { db, gate } = options;
    this.#read = new Batcher((keys) => gate.pass(() => readForVerification(db, keys)), 100);
    this.#begin = new Batcher((items) => gate.pass(() => beginAttempts(db, items)), 200);
    this.#finish = new Batcher((items) => gate.pass(() => finishAttempts(db, items)), 200);
    this.#deny = new Batcher((items) => this.#recordDenials(items), 200, DENIALS_PAUSE_MS);
  }

  async verify(attempt: VerificationAttempt): Promise<VerificationOutcome> {
    const ids = attemptIdsOf(this.#options.keys['attempt-id'], attempt);
    // The same attempt joins the one in flight.
    const joined = this.#inFlight.get(ids.attemptId);
    if (joined) return joined;
    if (this.#inFlight.size >= MAX_IN_FLIGHT) {
      return { kind: 'not_ready', detail: 'too many verifications under way' };
    }
    const result = this.#verify(attempt, ids);
    this.#inFlight.set(ids.attemptId, result);
    try {
      return await result;
    } finally {
      this.#inFlight.delete(ids.attemptId);
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
      const turn = this.#queue.run(usernameKey(attempt.username), () =>
        this.#step(attempt, ids, event, startedAt),
      );
      if (turn) return await turn;
      return await this.#denyUnrecorded({ event, ids, startedAt }, 'busy', false);
    } catch (error) {
      if (error instanceof ProblemError) throw error;
      const isLoad = error instanceof OverloadError;
      this.#options.log.warn({ error: String(error) }, 'a verification could not be judged');
      return { kind: 'not_ready', detail: isLoad ? error.message : 'its PostgreSQL is away' };
    }
  }

  async #step(
    attempt: VerificationAttempt,
    ids: AttemptIds,
    event: AuditEvent,
    startedAt: number,
  ): Promise<VerificationOutcome> {
    const read = await this.#read.add(usernameKey(attempt.username));
    const { isStillValid } = attempt.caller;
    if (isStillValid && !(await isStillValid(read.keysRevision))) {
      throw new ProblemError(401, 'unauthorized', 'Send a valid API key as a bearer token.');
    }
    const [user, namesake] = read.users;
    if (!user || namesake) {
      // People type passwords into name fields: only a hash of an unknown name is kept.
      const hash = keyedHash(this.#options.keys['wrong-code'], 'name', attempt.username);
      event.username = `unknown-${hash.toString('hex').slice(0, 12)}`;
      return this.#denyUnrecorded({ event, ids, startedAt }, 'unknown_user', false);
    }
    event.userId = user.id;
    event.username = user.document.username;
    const step: Step = {
      attempt,
      ids,
      event,
      startedAt,
      quorumUntil: performance.now() + QUORUM_WAIT_MS,
      user: withStopFacts(user.document, user.stopFacts, Date.now()),
      settings: await this.#settingsAt(read.settingsRevision),
      knownNodes: read.knownNodes,
      codesNotBeforeMs: read.codesNotBeforeMs,
      reservations: user.reservations,
      secrets: this.#openSecrets(user.document),
      reserved: null,
      hasBegun: false,
    };
    if (this.#wasJustApprovedDegraded(step)) {
      return this.#repeatApproval(step, true);
    }
    const local = user.state ?? emptyState();
    if (read.isCircuitOpen) return this.#verifyWithoutQuorum(step, local, false);
    return this.#verifyWithQuorum(step, local, user.stateRevision);
  }

  /**
   * Judge, one compare-and-set, then the verdict. The local copy is the first guess; losing means it was old. What was
   * claimed without the quorum and is not merged yet is merged by the same write.
   */
  async #verifyWithQuorum(
    step: Step,
    local: UserState,
    localRevision: number,
  ): Promise<VerificationOutcome> {
    const { states, circuit, metrics } = this.#options;
    const userId = step.user.id;
    let state = local;
    let revision = localRevision;
    const unmerged = unmergedIn(step.reservations);
    for (let lost = 0; lost <= MAX_LOST_CAS; lost += 1) {
      const known = mergeClaims(state, unmerged, step.settings, Date.now());
      const judgement = this.#judge(step, known);
      if (judgement.kind !== 'record') return this.#conclude(step, state, judgement, false);
      const refusal = await this.#reserve(step, judgement, 'cas', false);
      if (refusal) return this.#denyBegun(step, refusal, false);
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
        return this.#verifyWithoutQuorum(step, state, true);
      }
      circuit.noteAnswer();
      const newer = await this.#readUntilNewer(step, state, revision);
      if (newer === 'silent') return this.#verifyWithoutQuorum(step, state, false);
      ({ state, revision } = newer);
    }
    return this.#denyBegun(step, 'busy', false);
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

  /**
   * Without the quorum: the most this node can know, a reservation that all reachable nodes agree to, and a claim
   * that is merged into the user's state later.
   */
  async #verifyWithoutQuorum(
    step: Step,
    known: UserState,
    hasPendingWrite: boolean,
  ): Promise<VerificationOutcome> {
    const policy = withoutQuorumPolicy(step.settings, step.attempt.application);
    if (policy === 'refuse') return this.#denyBegun(step, 'no_quorum', true);
    const { state, localFailures } = await this.#mostKnown(step, known);
    if (hasPendingWrite && this.#isApprovedIn(step, state)) {
      // The write that was not answered had landed after all.
      return this.#deliver(step, { verdict: { approved: true } }, false);
    }
    const judgement = this.#judge(step, state, localFailures);
    if (judgement.kind !== 'record') return this.#conclude(step, state, judgement, true);
    if (judgement.item === null) return this.#countDegradedFailure(step, judgement);
    return this.#askAndApprove(step, judgement, state, localFailures, hasPendingWrite);
  }

  async #askAndApprove(
    step: Step,
    judgement: Judged,
    state: UserState,
    localFailures: number,
    hasPendingWrite: boolean,
  ): Promise<VerificationOutcome> {
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
          const outcome = await this.#finishApproved(step, judgement, false);
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
    const again = this.#judge(step, most, localFailures);
    // Another node has approved this very attempt already, and its client did not hear of it.
    const isRepeated = again.kind === 'final' && again.verdict.approved;
    if (!isRepeated && (again.kind !== 'record' || again.item !== item)) {
      asks.tellSettled({ ...key, outcome: 'withdrawn', claim: null });
      const reason =
        again.kind === 'final' && !again.verdict.approved ? again.verdict.reason : 'busy';
      return this.#denyBegun(step, reason, true);
    }
    const { claim } = again.kind === 'record' ? again : judgement;
    if (isRepeated) step.event.details.repeated = true;
    if ((await this.#finishApproved(step, { claim }, true)) === 'yielded') {
      return this.#denyBegun(step, 'replayed', true);
    }
    asks.tellSettled({ ...key, outcome: 'approved', claim });
    this.#options.metrics.countDegradedApproval(node);
    return this.#verdictOf(step, { approved: true }, true);
  }

  async #countDegradedFailure(step: Step, judgement: Judged): Promise<VerificationOutcome> {
    const { node } = this.#options;
    await this.#withdraw(step);
    await this.#begin.add({
      reservation: {
        userId: step.user.id,
        item: failureItem(step.ids.attemptId),
        attemptId: step.ids.attemptId,
        holder: node,
        phase: 'approved',
        degraded: true,
        claim: judgement.claim,
      },
      event: step.event,
      isFinal: false,
    });
    step.hasBegun = true;
    return this.#denyBegun(step, 'wrong_code', true);
  }

  /** Own store, what other attempts here have claimed, and any log server's copy. */
  async #mostKnown(
    step: Step,
    known: UserState,
  ): Promise<{ state: UserState; localFailures: number }> {
    const most = await this.#options.gate.pass(() =>
      readMostKnown(this.#options, step.user.id, DIRECT_GET_MS),
    );
    const unlocked = step.user.unlockedAt === null ? 0 : Date.parse(step.user.unlockedAt);
    const windowBeganAt = Date.now() - step.settings.lockout.resetMinutes * 60_000;
    const counted = most.failures.filter(
      ({ unlockedAt, at }) => unlockedAt >= unlocked && at > windowBeganAt,
    );
    return {
      state: most.state ? mergeStates(known, most.state) : known,
      localFailures: counted.length,
    };
  }

  #isApprovedIn(step: Step, state: UserState): boolean {
    return findAttempt(state, step.ids.attemptId, Date.now())?.approved === true;
  }

  #judge(step: Step, state: UserState, localFailures?: number): Judgement {
    const { attempt, ids, user, secrets, settings, knownNodes } = step;
    const nowMs = Date.now();
    return judgeCode({
      user,
      secrets,
      state,
      settings,
      attempt: {
        id: ids.attemptId,
        keyHash: ids.keyHash,
        code: attempt.code,
        client: `${attempt.caller.id} ${attempt.clientIp ?? attempt.remoteAddress}`,
        wrongCodeHmac: keyedHash(this.#options.keys['wrong-code'], user.id, attempt.code).toString(
          'hex',
        ),
      },
      nowMs,
      codesNotBeforeMs: step.codesNotBeforeMs,
      medianNowMs: nowMs + this.#options.asks.medianClockOffsetMs(),
      ...(localFailures !== undefined && { withoutQuorum: { knownNodes, localFailures } }),
    });
  }

  /** Null once this step holds the judgement's item (or there is none); else why not. */
  async #reserve(
    step: Step,
    judgement: Judged,
    phase: 'cas' | 'asking',
    degraded: boolean,
  ): Promise<'replayed' | 'busy' | null> {
    if (step.hasBegun && step.reserved === judgement.item) return null;
    await this.#withdraw(step);
    const { item } = judgement;
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
    if (outcome.kind === 'refused') return outcome.by.phase === 'approved' ? 'replayed' : 'busy';
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

  async #finishApproved(
    step: Step,
    judgement: { claim?: Judged['claim'] },
    degraded: boolean,
  ): Promise<'finished' | 'yielded'> {
    this.#complete(step, { approved: true }, degraded);
    return this.#finish.add({
      event: step.event,
      ...(step.reserved !== null && {
        reservation: { ...this.#ownReservation(step, 'approved'), degraded },
      }),
      ...(degraded && judgement.claim && { claim: judgement.claim }),
    });
  }

  /** The compare-and-set stands, so the verdict does too: what fails from here on costs the event, not the user. */
  async #deliver(
    step: Step,
    judgement: { verdict: Verdict; claim?: Judged['claim'] },
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    const { verdict } = judgement;
    if (!verdict.approved) return this.#denyBegun(step, verdict.reason, degraded);
    try {
      await this.#finishApproved(step, judgement, degraded);
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'an approval could not be noted here');
    }
    return this.#verdictOf(step, verdict, degraded);
  }

  /** A judgement that records nothing: a denial, the verdict of a repeated attempt, or a key used twice. */
  async #conclude(
    step: Step,
    state: UserState,
    judgement: Exclude<Judgement, Judged>,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    if (judgement.kind === 'conflict') {
      step.event.result = 'denied';
      step.event.reason = 'idempotency_conflict';
      await this.#finish.add({
        event: step.event,
        ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'withdrawn') }),
      });
      return { kind: 'conflict' };
    }
    const { verdict } = judgement;
    if (!verdict.approved) return this.#denyBegun(step, verdict.reason, degraded);
    const stored = findAttempt(state, step.ids.attemptId, Date.now());
    if (this.#isHeldByAnother(step, stored?.item ?? null)) {
      return this.#denyBegun(step, 'replayed', degraded);
    }
    return this.#repeatApproval(step, degraded);
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
        'last' in row.claim &&
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

  #complete(step: Pick<Step, 'event' | 'startedAt'>, verdict: Verdict, degraded: boolean): void {
    step.event.result = verdict.approved ? 'approved' : 'denied';
    step.event.reason = verdict.approved ? null : verdict.reason;
    step.event.degraded = degraded;
    step.event.durationMs = Math.round(performance.now() - step.startedAt);
  }

  #verdictOf(
    step: Pick<Step, 'ids' | 'startedAt'>,
    verdict: Verdict,
    degraded: boolean,
  ): VerificationOutcome {
    this.#options.metrics.countVerdict(verdict, degraded, performance.now() - step.startedAt);
    return {
      kind: 'verdict',
      id: step.ids.verificationId,
      approved: verdict.approved,
      ...(!verdict.approved && { reason: verdict.reason }),
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

  async #settingsAt(revision: number): Promise<Settings> {
    if (this.#settings?.revision !== revision)
      this.#settings = await this.#options.gate.pass(() => readSettings(this.#options.db));
    return this.#settings.settings;
  }

  #newEvent(attempt: VerificationAttempt, ids: AttemptIds): AuditEvent {
    return newEvent({
      type: 'verification',
      node: this.#options.node,
      actor: attempt.caller.name,
      application: attempt.application,
      clientAddress: attempt.clientIp ?? attempt.remoteAddress,
      details: { verification: ids.verificationId, method: 'oath' },
    });
  }
}

function unmergedIn(reservations: Reservation[]): Claim[] {
  return reservations.flatMap(({ phase, degraded, merged, claim }) =>
    phase === 'approved' && degraded && !merged && claim !== null ? [claim] : [],
  );
}
