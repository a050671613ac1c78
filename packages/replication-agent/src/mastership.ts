import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ChangeLog,
  Command,
  Lease,
  Log,
  MasterReply,
  NewChange,
  Term,
} from '@countersign/cluster';
import type { Database } from '@countersign/database';
import { v7 as uuidv7 } from 'uuid';
import type { Allowed } from './authorise.ts';
import { BulkLane } from './bulk-lane.ts';
import { BulkRunner } from './bulk-runner.ts';
import { ChangePipeline } from './change-pipeline.ts';
import { CommandRunner } from './command-runner.ts';
import type { CommandKeys, Plan } from './commands/plan.ts';
import type { AgentEvents } from './events.ts';
import { flawOf } from './flaw-of.ts';
import type { Replica } from './replica.ts';
import { Turns, type Touched } from './turns.ts';

export type MastershipOptions = {
  node: string;
  instance: string;
  baseRevision: number;
  db: Database;
  log: Log;
  changeLog: ChangeLog;
  lease: Lease;
  replica: Replica;
  keys: CommandKeys;
  events: AgentEvents;
  /** What the log must at least hold: the highest revision that a replica is known to have. */
  newestRevision(): number;
  /** Called when this node starts or stops taking commands. */
  onRoleChange(): void;
  authorise(command: Command): Promise<Allowed | Refused>;
  /** Why there is no room for a change, or null. */
  refuseChange(command: Command, plan: Extract<Plan, { kind: 'change' }>): Refused | null;
  /** Adds to a reply what may be told but not stored, e.g. an otpauth URI. */
  describeResult(
    command: Command,
    result: Record<string, unknown>,
  ): Promise<Record<string, unknown>>;
};

export type Refused = Extract<MasterReply, { kind: 'refused' }>;

/**
 * A write the master itself wants, e.g. a node it has not seen before. `touches`: what must not be in flight beside
 * it; left out, everything.
 */
export type OwnChange = {
  kind: string;
  id: string;
  document: unknown;
  removed?: boolean;
  touches?: Touched;
};

export type Rewrite = Omit<OwnChange, 'document'> & { make(): Promise<unknown> };

const BARRIER_PAUSE_MS = 100;
const TURN_MS = 5000;
/** Writes wait this long for the next epoch of the same master: a moved log leader costs 0.05-2 s. */
const NEXT_EPOCH_HOLD_MS = 2000;

/** What only the master does: raise the barrier, keep the epoch's pipeline, let commands run while it is open. */
export class Mastership {
  readonly #options: MastershipOptions;
  readonly #turns = new Turns();
  readonly #commands: CommandRunner;
  readonly #bulk: BulkRunner;
  /** For all that changes many users. */
  readonly lane: BulkLane;
  /** Of the epoch whose barrier stands and is applied here: commands may run. */
  #pipeline: ChangePipeline | null = null;
  #isHandingOver = false;
  #lastWriteAt = -Infinity;
  #unansweredAt = -Infinity;
  #changed = new Set<() => void>();

  constructor(options: MastershipOptions) {
    this.#options = options;
    this.#commands = new CommandRunner(this, this.#turns, options);
    this.lane = new BulkLane(this, this.#turns, options);
    this.#bulk = new BulkRunner(this, this.lane, options);
  }

  get isActive(): boolean {
    return this.#pipeline?.isOpen ?? false;
  }

  get term(): Term | null {
    return this.#pipeline?.term ?? null;
  }

  get pipeline(): ChangePipeline | null {
    return this.#pipeline;
  }

  get isHandingOver(): boolean {
    return this.#isHandingOver;
  }

  set isHandingOver(value: boolean) {
    if (this.#isHandingOver === value) return;
    this.#isHandingOver = value;
    this.#options.onRoleChange();
  }

  /** The log left a change open a moment ago, and the epoch that settles it is on its way. */
  get isBetweenEpochs(): boolean {
    return !this.isActive && performance.now() - this.#unansweredAt < NEXT_EPOCH_HOLD_MS;
  }

  /** Monotonic ms of the last acknowledged write to the change log. */
  get lastWriteAt(): number {
    return Math.max(this.#lastWriteAt, this.#pipeline?.lastWriteAt ?? -Infinity);
  }

  /** Starts a term that the lease gave us; returns at once. */
  begin(term: Term): void {
    this.#raiseBarrier(term).catch((error: unknown) => {
      this.#options.log.warn({ epoch: term.epoch, error: String(error) }, 'the barrier failed');
    });
  }

  /** Ends what `begin` started; what is in flight may still be acknowledged. */
  end(): void {
    if (!this.#pipeline) return;
    this.#lastWriteAt = this.lastWriteAt;
    this.#pipeline.close();
    this.#pipeline = null;
    this.#options.onRoleChange();
  }

  /** Waits until commands may run here. */
  async waitUntilActive(timeoutMs: number): Promise<boolean> {
    if (this.isActive) return true;
    if (timeoutMs <= 0) return false;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        this.#changed.delete(check);
        resolve(this.isActive);
      };
      const check = () => {
        if (this.isActive) done();
      };
      const timer = setTimeout(done, timeoutMs);
      this.#changed.add(check);
    });
  }

  /** Runs a command as soon as nothing that it touches is in flight. */
  async handle(command: Command): Promise<MasterReply> {
    if (this.#isHandingOver) return { kind: 'handing_over' };
    const pipeline = this.#pipeline;
    if (!pipeline?.isOpen) return { kind: 'not_master' };
    const deadline = performance.now() + command.remainingMs;
    const runner = command.name === 'user.add-many' ? this.#bulk : this.#commands;
    return runner.run(command, pipeline, deadline);
  }

  /** Runs `work` when everything before it is done and applied, and nothing beside it; null if that takes over 5 s. */
  async inTurn<T>(work: () => Promise<T>, touched: Touched = 'everything'): Promise<T | null> {
    const turn = await this.#turns.take(touched, TURN_MS);
    if (!turn) return null;
    try {
      return await work();
    } finally {
      turn.release();
    }
  }

  /** A change of the master's own, in turn. False when it did not certainly happen, or is not to be read here. */
  async write(change: OwnChange): Promise<boolean> {
    const { document, ...rest } = change;
    return this.rewrite({ ...rest, make: async () => document });
  }

  /** As {@link write}, of a document that is made when nothing that it touches is in flight; null: nothing is written. */
  async rewrite(change: Rewrite): Promise<boolean> {
    const { kind, id, removed = false } = change;
    const isWritten = await this.inTurn(async () => {
      const document = await change.make();
      if (document === null && !removed) return true;
      const flaw = flawOf({ kind, document, removed });
      if (flaw) {
        this.#options.log.warn({ kind, flaw }, 'not written: no node could read it');
        return false;
      }
      const pipeline = this.#pipeline;
      if (!pipeline?.isOpen || this.#isHandingOver) return false;
      const entry: Omit<NewChange, 'epoch'> = {
        changeId: uuidv7(),
        commandId: null,
        kind,
        id,
        at: new Date().toISOString(),
        actor: `node ${this.#options.node}`,
        removed,
        document,
        commands: [],
      };
      const sequence = await pipeline.append(entry, 'single');
      if (sequence === null) return false;
      return this.hasApplied(sequence + this.#options.baseRevision, pipeline.term, Infinity);
    }, change.touches);
    return isWritten ?? false;
  }

  async #raiseBarrier(term: Term): Promise<void> {
    const { log, changeLog, lease, replica, node, instance } = this.#options;
    log.info({ epoch: term.epoch }, 'lease gained, raising the barrier');
    if (replica.problem) {
      log.warn({ problem: replica.problem }, 'not fit to be master');
      await lease.resign('not fit');
      return;
    }
    const leastEnd = this.#options.newestRevision() - this.#options.baseRevision;
    const outcome = await changeLog.raiseBarrier({ epoch: term.epoch, instance, node, leastEnd });
    if (term.signal.aborted) return;
    if (outcome.kind === 'behind') {
      log.warn({ epoch: term.epoch, end: outcome.end, leastEnd }, 'the log has lost changes');
      await lease.resign('the log has lost changes');
      return;
    }
    if (outcome.kind === 'superseded') {
      log.warn({ epoch: term.epoch, newer: outcome.epoch }, 'a newer epoch stands in the log');
      await lease.resign('superseded');
      return;
    }
    if (outcome.kind === 'broken') {
      log.warn({ epoch: term.epoch, why: outcome.why }, 'barrier broken, next epoch');
      await sleep(BARRIER_PAUSE_MS);
      if (!term.signal.aborted) await lease.beginNextEpoch('barrier broken');
      return;
    }
    const revision = outcome.end + this.#options.baseRevision;
    if (!(await this.hasApplied(revision, term, Infinity))) {
      if (term.signal.aborted) return;
      log.warn({ problem: replica.problem }, 'not fit to be master');
      await lease.resign('not fit');
      return;
    }
    if (!term.isValid()) return;
    this.#open(term, outcome.end);
    log.info({ epoch: term.epoch, revision }, 'promoted: this node is master');
    this.#options.events.promoted({ epoch: term.epoch, revision });
    this.#options.onRoleChange();
    for (const wake of [...this.#changed]) wake();
  }

  #open(term: Term, end: number): void {
    const pipeline: ChangePipeline = new ChangePipeline({
      term,
      end,
      changeLog: this.#options.changeLog,
      onBroken: (why) => this.#whenBroken(pipeline, why),
    });
    this.#pipeline = pipeline;
  }

  /** Refused or silent: what is in flight is for the next barrier to settle. */
  #whenBroken(pipeline: ChangePipeline, why: string): void {
    const { log, lease } = this.#options;
    const { term, inFlight: othersInFlight } = pipeline;
    log.warn({ epoch: term.epoch, why, othersInFlight }, 'a change was not acknowledged');
    if (this.#pipeline !== pipeline) return;
    this.#unansweredAt = performance.now();
    this.end();
    lease.beginNextEpoch('a change went unanswered').catch((error: unknown) => {
      log.warn({ error: String(error) }, 'the next epoch did not begin');
    });
  }

  /** False when the term or the deadline (monotonic ms) ends first, or the replica cannot go on. */
  async hasApplied(revision: number, term: Term, deadline: number): Promise<boolean> {
    const { replica } = this.#options;
    for (;;) {
      const remainingMs = deadline - performance.now();
      if (await replica.waitFor(revision, Math.min(1000, remainingMs), term.signal)) return true;
      if (term.signal.aborted || replica.problem !== null || remainingMs <= 1000) return false;
    }
  }

  /** Waits until the replica has a change, or the term is over: the next one begins with all of them applied. */
  async untilSettled(revision: number, term: Term): Promise<void> {
    const { replica } = this.#options;
    while (!term.signal.aborted && !(await replica.waitFor(revision, 1000, term.signal)));
  }
}
