import { isDeepStrictEqual } from 'node:util';
import { publishIf, readLast } from './jetstream.ts';
import type { LogLayout } from './log-layout.ts';
import type { Log, NatsLink } from './nats-link.ts';
import { namesOf } from './names.ts';

export type LeaseTimes = {
  /** A holder may write until this long after the start of its last renewal. */
  ttlMs: number;
  renewMs: number;
  /** Added by candidates for clocks that run at different speed. */
  skewMs: number;
  /** A holder that could not renew for this long gives up. */
  giveUpMs: number;
  /** After failed reads a candidate lets this much pass, so that the holder renews first. */
  afterFailedReadsMs: number;
  requestTimeoutMs: number;
};

export const LEASE_TIMES: LeaseTimes = {
  ttlMs: 4000,
  renewMs: 1000,
  skewMs: 500,
  giveUpMs: 12_000,
  afterFailedReadsMs: 1500,
  requestTimeoutMs: 800,
};

/** What stands under the one key of the lease bucket. Nobody compares its times: they are for people. */
export type LeaseRecord = {
  /** Node and process that hold it; null after a resignation. */
  holder: string | null;
  instance: string | null;
  epoch: number;
  since: string;
  /** Who held it before it was released or offered. */
  previous: string | null;
  /** A planned hand-over: only this node may claim it before the ttl is over. */
  offeredTo: string | null;
  /** The log is closed, and goes on there: nobody is master of this one any more. */
  movedTo?: LogLayout;
};

export type FailoverPolicy = { mode: 'automatic' | 'manual'; afterMs: number };

/** One unbroken time of mastership under one epoch. Everything only a master does dies with `signal`. */
export type Term = {
  epoch: number;
  since: string;
  signal: AbortSignal;
  /** The moment-by-moment right to write, on the monotonic clock. */
  isValid(): boolean;
};

export type LeaseOptions = {
  link: NatsLink;
  incarnationNumber: number;
  /** The first epoch follows this one. */
  baseEpoch: number;
  node: string;
  instance: string;
  isPromotable: boolean;
  policy(): FailoverPolicy;
  /** False keeps this node from becoming master on its own (its PostgreSQL is silent, it is not caught up). */
  isFit(): boolean;
  onGain(term: Term): void;
  onLoss(why: string): void;
  /** The log was closed: it stood there when this node first looked, or has for ttl. May be called again. */
  onMoved(next: LogLayout): void;
  times?: LeaseTimes;
  log: Log;
};

type Held = {
  epoch: number;
  revision: number;
  validUntil: number;
  since: string;
  abort: AbortController;
};

/**
 * Who is master: one key, compare-and-set by revision, monotonic clocks, no ttl in the store.
 * Every gain is a new epoch, written in the same compare-and-set.
 */
export class Lease {
  readonly #options: LeaseOptions;
  readonly #times: LeaseTimes;
  readonly #stream: string;
  readonly #key: string;
  #held: Held | null = null;
  /** Set while our record stands but its time ran out: we may renew it first, as a new epoch. */
  #lapsed: { epoch: number; revision: number; since: number } | null = null;
  #seen: { record: LeaseRecord; revision: number; at: number } | null = null;
  #failedReadAt = -Infinity;
  #standBackUntil = -Infinity;
  #busy: Promise<unknown> = Promise.resolve();

  constructor(options: LeaseOptions) {
    this.#options = options;
    this.#times = options.times ?? LEASE_TIMES;
    const names = namesOf(options.incarnationNumber);
    this.#stream = names.lease;
    this.#key = names.leaseKey;
  }

  /** The record as last read here: who is (or was) master. */
  get record(): LeaseRecord | null {
    return this.#seen?.record ?? null;
  }

  get isHeld(): boolean {
    return this.#held !== null && performance.now() < this.#held.validUntil;
  }

  /** Renews or watches until `signal` aborts; an orderly stop releases the lease first. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      await this.#exclusively(() => this.#tick());
      await delay(this.#held ? this.#untilRenewal() : this.#lapsed ? 200 : 400, signal);
    }
    await this.resign('stopping');
  }

  /** Gives the lease up so that others may take it at once; this node stands back for 2 × ttl. */
  async resign(why: string): Promise<void> {
    await this.#exclusively(async () => {
      this.#standBackUntil = performance.now() + 2 * this.#times.ttlMs;
      const mine = this.#held ?? this.#lapsed;
      if (!mine) return;
      this.#endTerm(why);
      this.#lapsed = null;
      await this.#write(
        { ...this.#ownRecord(mine.epoch), holder: null, instance: null },
        mine.revision,
      );
    });
  }

  /**
   * Ends the term and begins the next epoch, keeping the lease: after anything whose outcome in the log is
   * unknown. Returns false when the lease was lost instead.
   */
  async beginNextEpoch(why: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const mine = this.#held;
      if (!mine) return false;
      this.#endTerm(why);
      this.#lapsed = { epoch: mine.epoch, revision: mine.revision, since: performance.now() };
      await this.#reclaim();
      return this.#held !== null;
    });
  }

  /** Planned hand-over: after this only `target` may claim; unclaimed for ttl it falls back to this node. */
  async offerTo(target: string): Promise<boolean> {
    return this.#exclusively(async () => {
      const mine = this.#held;
      if (!mine || performance.now() >= mine.validUntil) return false;
      const record: LeaseRecord = {
        ...this.#ownRecord(mine.epoch),
        holder: null,
        instance: null,
        offeredTo: target,
      };
      this.#endTerm(`handing over to ${target}`);
      const outcome = await this.#write(record, mine.revision);
      if (outcome.kind === 'stored') {
        this.#see(record, outcome.sequence);
        return true;
      }
      this.#lapsed = { epoch: mine.epoch, revision: mine.revision, since: performance.now() };
      return false;
    });
  }

  /**
   * Ends `term` and closes the log for good, in one compare-and-set: nobody takes the lease any more, and whoever
   * reads it goes on in `next`. `kept`: it did not happen, and this node goes on as the next epoch unless another
   * took over. `unknown`: the log did not answer; both of that once it does.
   */
  async closeLog(next: LogLayout, term: Term): Promise<'closed' | 'kept' | 'unknown'> {
    return this.#exclusively(async () => {
      const mine = this.#held;
      if (!mine || !term.isValid()) return 'kept';
      const record: LeaseRecord = {
        ...this.#ownRecord(mine.epoch),
        holder: null,
        instance: null,
        movedTo: next,
      };
      this.#endTerm('the log moves');
      const outcome = await this.#write(record, mine.revision);
      if (outcome.kind === 'stored') {
        this.#see(record, outcome.sequence);
        return 'closed';
      }
      this.#lapsed = { epoch: mine.epoch, revision: mine.revision, since: performance.now() };
      return outcome.kind === 'refused' ? 'kept' : 'unknown';
    });
  }

  /** Reads the lease now and claims it if it was offered to this node. */
  async claimOffer(): Promise<boolean> {
    return this.#exclusively(async () => {
      if (!(await this.#read())) return false;
      if (this.#seen?.record.offeredTo === this.#options.node) await this.#take();
      return this.#held !== null;
    });
  }

  /**
   * Unplanned promotion: takes the lease as soon as its holder's time is certainly over, whatever the fail-over
   * mode. Waits for that at most `timeoutMs`.
   */
  async takeOver(timeoutMs: number): Promise<'taken' | 'held' | 'no_quorum'> {
    const deadline = performance.now() + timeoutMs;
    let answer: 'held' | 'no_quorum' = 'no_quorum';
    while (performance.now() < deadline) {
      const isTaken = await this.#exclusively(async () => {
        if (this.#held) return true;
        answer = (await this.#read()) ? 'held' : 'no_quorum';
        if (answer === 'held' && this.#isOver(0)) await this.#take();
        return this.#held !== null;
      });
      if (isTaken) return 'taken';
      await delay(150);
    }
    return answer;
  }

  async #tick(): Promise<void> {
    if (this.#held) return this.#renew();
    if (this.#lapsed) return this.#reclaim();
    const isFirstLook = this.#seen === null;
    if (!(await this.#read())) return;
    const movedTo = this.#seen?.record.movedTo;
    // While its last master tells everybody, nobody runs ahead: the record is not on disk yet.
    if (movedTo && (isFirstLook || this.#stoodForMs() >= this.#times.ttlMs)) {
      this.#options.onMoved(movedTo);
    }
    if (this.#mayTake()) await this.#take();
  }

  async #renew(): Promise<void> {
    const held = this.#held!;
    const startedAt = performance.now();
    if (startedAt >= held.validUntil) {
      // Paused or cut off for too long: whatever comes next is another epoch.
      this.#endTerm('the lease ran out');
      const since = held.validUntil - this.#times.ttlMs;
      this.#lapsed = { epoch: held.epoch, revision: held.revision, since };
      return this.#reclaim();
    }
    const outcome = await this.#write(this.#ownRecord(held.epoch, held.since), held.revision);
    if (outcome.kind === 'stored') {
      held.revision = outcome.sequence;
      held.validUntil = startedAt + this.#times.ttlMs;
      this.#see(this.#ownRecord(held.epoch, held.since), outcome.sequence);
    } else if (outcome.kind === 'refused') {
      await this.#adoptOrLose(held.epoch);
    }
  }

  // Refused: either somebody took it, or an unanswered renewal of ours had landed after all.
  async #adoptOrLose(epoch: number): Promise<void> {
    if (!(await this.#read())) return;
    const { record, revision } = this.#seen!;
    if (record.instance === this.#options.instance && record.epoch === epoch) {
      if (this.#held) this.#held.revision = revision;
      if (this.#lapsed) this.#lapsed.revision = revision;
      return;
    }
    this.#endTerm(`lease taken by ${record.holder ?? record.offeredTo ?? 'nobody'}`);
    this.#lapsed = null;
  }

  /** Our record stands but its time ran out (or its term was ended): take it again as the next epoch. */
  async #reclaim(): Promise<void> {
    const lapsed = this.#lapsed!;
    if (performance.now() - lapsed.since > this.#times.giveUpMs) {
      this.#options.log.warn({}, 'gave the lease up: the log did not answer');
      this.#standBackUntil = performance.now() + 2 * this.#times.ttlMs;
      this.#lapsed = null;
      return;
    }
    const epoch = lapsed.epoch + 1;
    const record = this.#ownRecord(epoch);
    const startedAt = performance.now();
    const outcome = await this.#write(record, lapsed.revision);
    if (outcome.kind === 'stored') this.#begin(record, outcome.sequence, startedAt);
    else if (outcome.kind === 'refused') {
      await this.#adoptOrLose(lapsed.epoch);
      // A claim of this epoch that was not answered may have landed: go one further.
      const seen = this.#seen;
      if (
        !this.#lapsed &&
        seen &&
        seen.record.instance === this.#options.instance &&
        seen.record.epoch === epoch
      ) {
        this.#lapsed = { epoch, revision: seen.revision, since: lapsed.since };
      }
    }
  }

  async #take(): Promise<void> {
    if (this.#seen?.record.movedTo) return;
    const epoch = (this.#seen?.record.epoch ?? this.#options.baseEpoch) + 1;
    const record = this.#ownRecord(epoch);
    const startedAt = performance.now();
    const outcome = await this.#write(record, this.#seen?.revision ?? 0);
    if (outcome.kind === 'stored') this.#begin(record, outcome.sequence, startedAt);
    else if (outcome.kind === 'silent') {
      this.#failedReadAt = performance.now();
      await this.#adoptUnansweredClaim(epoch);
    }
  }

  async #adoptUnansweredClaim(epoch: number): Promise<void> {
    if (!(await this.#read())) return;
    const { record, revision } = this.#seen!;
    if (record.instance !== this.#options.instance || record.epoch !== epoch) return;
    this.#lapsed = { epoch, revision, since: performance.now() };
  }

  #begin(record: LeaseRecord, revision: number, startedAt: number): void {
    const abort = new AbortController();
    const held: Held = {
      epoch: record.epoch,
      revision,
      validUntil: startedAt + this.#times.ttlMs,
      since: record.since,
      abort,
    };
    this.#held = held;
    this.#lapsed = null;
    this.#see(record, revision);
    this.#options.onGain({
      epoch: record.epoch,
      since: record.since,
      signal: abort.signal,
      isValid: () => this.#held === held && performance.now() < held.validUntil,
    });
  }

  #endTerm(why: string): void {
    const held = this.#held;
    if (!held) return;
    this.#held = null;
    held.abort.abort(new Error(why));
    this.#options.onLoss(why);
  }

  #mayTake(): boolean {
    const now = performance.now();
    const policy = this.#options.policy();
    const record = this.#seen?.record;
    if (!this.#options.isPromotable || !this.#options.isFit()) return false;
    if (!record) return true;
    if (record.offeredTo === this.#options.node) return true;
    // An unanswered claim of ours that landed late: nobody else writes under it.
    if (record.instance === this.#options.instance) return true;
    if (now < this.#standBackUntil && record.offeredTo === null) return false;
    if (now - this.#failedReadAt < this.#times.afterFailedReadsMs) return false;
    if (record.offeredTo !== null) {
      // Unclaimed: back to the giver after ttl, to anybody later unless people decide that.
      if (record.previous === this.#options.node) return this.#isOver(0);
      return policy.mode === 'automatic' && this.#isOver(2 * this.#times.ttlMs);
    }
    if (policy.mode === 'manual') {
      return (record.holder ?? record.previous) === this.#options.node && this.#isOver(0);
    }
    if (record.holder === null) return true;
    return this.#isOver(policy.afterMs - this.#times.ttlMs - this.#times.skewMs);
  }

  /** True once the record has stood unchanged for ttl + skew (+ extra) on our own clock. */
  #isOver(extraMs: number): boolean {
    const seen = this.#seen;
    if (!seen) return true;
    if (seen.record.holder === null && seen.record.offeredTo === null) return true;
    const patience = this.#times.ttlMs + this.#times.skewMs + Math.max(0, extraMs);
    return this.#stoodForMs() >= patience;
  }

  #stoodForMs(): number {
    return performance.now() - (this.#seen?.at ?? Infinity);
  }

  async #read(): Promise<boolean> {
    const outcome = await readLast(
      this.#options.link,
      this.#stream,
      this.#key,
      this.#times.requestTimeoutMs,
    );
    if (outcome.kind === 'silent') {
      this.#failedReadAt = performance.now();
      return false;
    }
    if (outcome.kind === 'found') {
      const record = JSON.parse(Buffer.from(outcome.message.data).toString()) as LeaseRecord;
      this.#see(record, outcome.message.sequence);
    }
    return true;
  }

  // A smaller revision too, or another record at the same: log servers that lost their last writes know no other, and
  // the compare-and-set decides.
  #see(record: LeaseRecord, revision: number): void {
    const seen = this.#seen;
    if (seen?.revision === revision && isDeepStrictEqual(seen.record, record)) return;
    this.#seen = { record, revision, at: performance.now() };
  }

  #write(record: LeaseRecord, revision: number) {
    return publishIf(
      this.#options.link,
      this.#key,
      Buffer.from(JSON.stringify(record)),
      { lastSubjectSequence: revision },
      this.#times.requestTimeoutMs,
    );
  }

  #ownRecord(epoch: number, since = new Date().toISOString()): LeaseRecord {
    return {
      holder: this.#options.node,
      instance: this.#options.instance,
      epoch,
      since,
      previous: this.#options.node,
      offeredTo: null,
    };
  }

  #untilRenewal(): number {
    const held = this.#held!;
    const renewAt = held.validUntil - this.#times.ttlMs + this.#times.renewMs;
    return Math.max(50, renewAt - performance.now());
  }

  #exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#busy.then(work);
    this.#busy = result.catch(() => undefined);
    return result;
  }
}

async function delay(ms: number, signal?: AbortSignal): Promise<void> {
  if (signal?.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    }
    signal?.addEventListener('abort', done, { once: true });
  });
}
