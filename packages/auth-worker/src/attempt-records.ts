import type { VerificationOutcome } from '@countersign/api';
import {
  beginAttempts,
  failureItem,
  finishAttempts,
  type Beginning,
  type BeginningOutcome,
  type Finish,
} from '@countersign/database';
import type { Claim, DenialReason, Verdict } from '@countersign/verification';
import { Batcher } from './batcher.ts';
import { countBusyTogether } from './count-busy-together.ts';
import type { WorkerMetrics } from './metrics.ts';
import type { Step } from './step.ts';
import type { VerifierOptions } from './verifier-options.ts';

/** Nothing is reserved for it, and nothing is noted of it yet. */
type Unbegun = Pick<Step, 'event' | 'ids' | 'startedAt'>;

const DENIALS_PAUSE_MS = 50;

/** What this node's PostgreSQL keeps of attempts, with its event each: what is reserved, used up, claimed and told. */
export class AttemptRecords {
  readonly #node: string;
  readonly #metrics: WorkerMetrics;
  readonly #begin: Batcher<Beginning, BeginningOutcome>;
  readonly #finish: Batcher<Finish, 'finished' | 'yielded'>;
  /** For denials that change nothing: they come in floods, and cost the others less when many share a commit. */
  readonly #deny: Batcher<Finish, void>;

  constructor(options: Pick<VerifierOptions, 'node' | 'db' | 'gate' | 'metrics'>) {
    const { node, db, gate, metrics } = options;
    this.#node = node;
    this.#metrics = metrics;
    this.#begin = new Batcher((items) => gate.pass(() => beginAttempts(db, items)), 200);
    this.#finish = new Batcher((items) => gate.pass(() => finishAttempts(db, items)), 200);
    const noteDenials = (finishes: Finish[]) =>
      gate.pass(async () => {
        await finishAttempts(db, countBusyTogether(finishes));
        return finishes.map(() => undefined);
      });
    this.#deny = new Batcher(noteDenials, 200, DENIALS_PAUSE_MS);
  }

  /** Null once the step holds this item (or there is none); else why not. */
  async reserve(
    step: Step,
    item: string | null,
    phase: 'cas' | 'asking',
    degraded: boolean,
  ): Promise<'replayed' | 'busy' | null> {
    if (step.hasBegun && step.reserved === item) return null;
    await this.withdraw(step);
    const outcome = await this.#begin.add({
      reservation:
        item === null
          ? null
          : {
              userId: step.user.id,
              item,
              attemptId: step.ids.attemptId,
              holder: this.#node,
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
      return this.reserve(step, item, phase, degraded);
    }
    step.reserved = item;
    return null;
  }

  async withdraw(step: Step): Promise<void> {
    if (step.reserved === null) return;
    await this.#finish.add({
      event: step.event,
      isFinal: false,
      reservation: this.#ownReservation(step, 'withdrawn'),
    });
    step.reserved = null;
  }

  /** The item is used up, by an approval or for nothing. */
  use(
    step: Step,
    used: { verdict: Verdict; claim?: Claim; isFinal: boolean },
    degraded: boolean,
  ): Promise<'finished' | 'yielded'> {
    this.#complete(step, used.verdict, degraded);
    return this.#finish.add({
      event: step.event,
      isFinal: used.isFinal,
      ...(step.reserved !== null && {
        reservation: { ...this.#ownReservation(step, 'approved'), degraded },
      }),
      ...(degraded && used.claim && { claim: used.claim }),
    });
  }

  async keepClaim(step: Step, claim: Claim): Promise<void> {
    const { attemptId } = step.ids;
    const { factor = 'code' } = 'failure' in claim ? claim : {};
    await this.#begin.add({
      reservation: {
        userId: step.user.id,
        item: failureItem(factor === 'code' ? attemptId : `${attemptId}:${factor}`),
        attemptId,
        holder: this.#node,
        phase: 'approved',
        degraded: true,
        claim,
      },
      event: step.event,
      isFinal: false,
    });
  }

  /** Its event, and no more: `verdict` null where a question was asked. */
  async note(step: Step, verdict: Verdict | null, degraded: boolean): Promise<void> {
    this.#complete(step, verdict, degraded);
    await this.#finish.add({ event: step.event });
  }

  /** Somebody is let in who was asked for nothing. */
  async pass(
    step: Unbegun & Partial<Step>,
    verdict: Extract<Verdict, { approved: true }>,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    step.event.details.skipped = verdict.skipped;
    this.#complete(step, verdict, degraded);
    await (step.hasBegun ? this.#finish : this.#deny).add({ event: step.event });
    return this.verdictOf(step, verdict, degraded);
  }

  /** Told again within 10 s: the answer was lost on its way. */
  async repeatApproval(step: Step, degraded: boolean): Promise<VerificationOutcome> {
    step.event.details.repeated = true;
    this.#complete(step, { approved: true }, degraded);
    const outcome = await this.#finish.add({
      event: step.event,
      ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'approved') }),
    });
    if (outcome === 'yielded') return this.deny(step, 'replayed', degraded);
    return this.verdictOf(step, { approved: true }, degraded);
  }

  async conflict(step: Step): Promise<VerificationOutcome> {
    step.event.result = 'denied';
    step.event.reason = 'idempotency_conflict';
    await this.#finish.add({
      event: step.event,
      ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'withdrawn') }),
    });
    return { kind: 'conflict', id: step.ids.verificationId };
  }

  async deny(step: Step, reason: DenialReason, degraded: boolean): Promise<VerificationOutcome> {
    const verdict: Verdict = { approved: false, reason };
    this.#complete(step, verdict, degraded);
    const batcher = step.hasBegun ? this.#finish : this.#deny;
    await batcher.add({
      event: step.event,
      ...(step.reserved !== null && { reservation: this.#ownReservation(step, 'withdrawn') }),
    });
    return this.verdictOf(step, verdict, degraded);
  }

  async denyUnbegun(
    step: Unbegun,
    reason: DenialReason,
    degraded: boolean,
  ): Promise<VerificationOutcome> {
    const verdict: Verdict = { approved: false, reason };
    this.#complete(step, verdict, degraded);
    await this.#deny.add({ event: step.event });
    return this.verdictOf(step, verdict, degraded);
  }

  verdictOf(
    step: Pick<Step, 'ids' | 'startedAt'> &
      Partial<Pick<Step, 'user' | 'challenge' | 'proof' | 'settings'>>,
    verdict: Verdict,
    degraded: boolean,
  ): VerificationOutcome {
    const group = verdict.approved ? step.user?.group : undefined;
    const language = mayBeAddressed(step, verdict) ? step.settings?.company.language : undefined;
    this.#metrics.countVerdict(verdict, degraded, performance.now() - step.startedAt);
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

  #ownReservation<O extends 'approved' | 'withdrawn'>(step: Step, outcome: O) {
    return {
      userId: step.user.id,
      item: step.reserved!,
      attemptId: step.ids.attemptId,
      holder: this.#node,
      outcome,
    };
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
