import { setTimeout as sleep } from 'node:timers/promises';
import type {
  ChangeLog,
  Command,
  CommandResult,
  Lease,
  Log,
  MasterReply,
  Term,
} from '@countersign/cluster';
import { findCommandResult, recentCommandResults, type Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { checkDocument, DocumentError, type DocumentKind } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import type { Plan } from './commands/plan.ts';
import type { AgentEvents } from './events.ts';
import { planCommand } from './plan-command.ts';
import type { Replica } from './replica.ts';

type MastershipOptions = {
  node: string;
  instance: string;
  baseRevision: number;
  db: Database;
  log: Log;
  changeLog: ChangeLog;
  lease: Lease;
  replica: Replica;
  seedKey: PurposeKey;
  events: AgentEvents;
  /** What the log must at least hold: the highest revision that a replica is known to have. */
  newestRevision(): number;
  /** Called when this node starts or stops taking commands. */
  onRoleChange(): void;
  authorise(command: Command): Promise<Refused | null>;
  /** Why there is no room for a change, or null. */
  refuseChange(command: Command, plan: Extract<Plan, { kind: 'change' }>): Refused | null;
  /** Adds to a reply what may be told but not stored, e.g. an otpauth URI. */
  describeResult(
    command: Command,
    result: Record<string, unknown>,
  ): Promise<Record<string, unknown>>;
};

type Refused = Extract<MasterReply, { kind: 'refused' }>;

/** A term whose barrier stands and is applied here: commands may run. `end` is the log's last sequence. */
type Active = { term: Term; end: number };

/** A write the master itself wants, e.g. a node it has not seen before. */
export type OwnChange = { kind: string; id: string; document: unknown; removed?: boolean };

const BARRIER_PAUSE_MS = 100;
/** Writes wait this long for the next epoch of the same master: a moved log leader costs 0.05-2 s. */
const NEXT_EPOCH_HOLD_MS = 2000;
const KEPT_RESULTS = 16;

/** What only the master does: raise the barrier, run commands one at a time, answer with the revision. */
export class Mastership {
  readonly #options: MastershipOptions;
  #active: Active | null = null;
  #isHandingOver = false;
  #queue: Promise<unknown> = Promise.resolve();
  #lastWriteAt = -Infinity;
  #unansweredAt = -Infinity;
  #changed = new Set<() => void>();

  constructor(options: MastershipOptions) {
    this.#options = options;
  }

  get isActive(): boolean {
    return this.#active?.term.isValid() ?? false;
  }

  get term(): Term | null {
    return this.#active?.term ?? null;
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
    return this.#lastWriteAt;
  }

  /** Starts a term that the lease gave us; returns at once. */
  begin(term: Term): void {
    this.#raiseBarrier(term).catch((error: unknown) => {
      this.#options.log.warn({ epoch: term.epoch, error: String(error) }, 'the barrier failed');
    });
  }

  /** Ends what `begin` started; in-flight commands find their term invalid. */
  end(): void {
    if (!this.#active) return;
    this.#active = null;
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

  /** Runs one command behind those already waiting. */
  async handle(command: Command): Promise<MasterReply> {
    if (this.#isHandingOver) return { kind: 'handing_over' };
    const term = this.#active?.term;
    if (!term?.isValid()) return { kind: 'not_master' };
    const deadline = performance.now() + command.remainingMs;
    return this.inTurn(() => this.#run(command, term, deadline));
  }

  /** Runs `work` when everything before it in the queue is done. */
  async inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#queue.then(work);
    this.#queue = result.catch(() => undefined);
    return result;
  }

  /** A change of the master's own, in turn. False when it did not certainly happen, or is not to be read here. */
  async write(change: OwnChange): Promise<boolean> {
    const flaw = flawOf(change);
    if (flaw) {
      this.#options.log.warn({ kind: change.kind, flaw }, 'not written: no node could read it');
      return false;
    }
    return this.inTurn(async () => {
      const active = this.#active;
      if (!active?.term.isValid() || this.#isHandingOver) return false;
      const revision = await this.#append(active, change, null, []);
      return revision !== null && (await this.#hasApplied(revision, active.term, Infinity));
    });
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
    if (!(await this.#hasApplied(revision, term, Infinity))) {
      if (term.signal.aborted) return;
      log.warn({ problem: replica.problem }, 'not fit to be master');
      await lease.resign('not fit');
      return;
    }
    if (!term.isValid()) return;
    this.#active = { term, end: outcome.end };
    this.#lastWriteAt = performance.now();
    this.isHandingOver = false;
    log.info({ epoch: term.epoch, revision }, 'promoted: this node is master');
    this.#options.events.promoted({ epoch: term.epoch, revision });
    this.#options.onRoleChange();
    for (const wake of [...this.#changed]) wake();
  }

  /** False when the term or the deadline (monotonic ms) ends first, or the replica cannot go on. */
  async #hasApplied(revision: number, term: Term, deadline: number): Promise<boolean> {
    const { replica } = this.#options;
    for (;;) {
      const remainingMs = deadline - performance.now();
      if (await replica.waitFor(revision, Math.min(1000, remainingMs), term.signal)) return true;
      if (term.signal.aborted || replica.problem !== null || remainingMs <= 1000) return false;
    }
  }

  async #run(command: Command, received: Term, deadline: number): Promise<MasterReply> {
    let active = this.#active;
    // Whatever was received before the term ended is refused: the caller may be long gone.
    if (!active || active.term !== received || !received.isValid()) {
      return this.#isHandingOver ? { kind: 'handing_over' } : { kind: 'not_master' };
    }
    if (this.#isHandingOver) return { kind: 'handing_over' };
    if (performance.now() >= deadline) return { kind: 'not_master' };
    let isInDoubt = false;
    for (;;) {
      // Judged against a replica that lacks an earlier change, it would undo that change.
      const end = active.end + this.#options.baseRevision;
      if (!(await this.#hasApplied(end, active.term, deadline))) {
        if (isInDoubt) return { kind: 'unknown' };
        return active.term.isValid() ? BEHIND : { kind: 'not_master' };
      }
      const refused = await this.#options.authorise(command);
      // Results tell secrets too. One in doubt was authorised before it was sent.
      const known = refused && !isInDoubt ? null : await this.#findResult(command);
      if (known) return known;
      if (refused) return refused;
      const reply = await this.#execute(command, active, deadline);
      if (reply) return reply;
      // Its position is in doubt until a new barrier stands and is applied here: then it is in the replica or never lands.
      isInDoubt = true;
      await this.#options.lease.beginNextEpoch('a change went unanswered');
      if (!(await this.waitUntilActive(deadline - performance.now()))) {
        return isInDoubt ? { kind: 'unknown' } : { kind: 'not_master' };
      }
      active = this.#active;
      if (!active) return { kind: 'unknown' };
    }
  }

  /** Null: refused or unanswered by the log. */
  async #execute(command: Command, active: Active, deadline: number): Promise<MasterReply | null> {
    const plan = await planCommand(
      {
        db: this.#options.db,
        seedKey: this.#options.seedKey,
        commandId: command.commandId,
        actor: command.actor,
        now: new Date(),
      },
      command.name,
      command.args,
    );
    if (plan.kind === 'refused') return plan;
    if (plan.kind === 'unchanged') {
      const { revision } = this.#options.replica.applied;
      return { kind: 'done', revision, result: plan.result };
    }
    const noRoom = this.#options.refuseChange(command, plan);
    if (noRoom) return noRoom;
    const { kind, id, content, removed } = plan.document;
    const flaw = flawOf({ kind, id, document: content, removed });
    if (flaw) return { kind: 'refused', status: 400, code: 'invalid_request', detail: flaw };
    // The audit row stands before the change does: a master that dies in between leaves a row that says "unknown".
    const finishEvent = await this.#options.events.beginChange(command, plan);
    const revision = await this.#write(command, plan, active);
    if (revision === null) return null;
    await finishEvent(revision);
    if (!(await this.#options.replica.waitFor(revision, deadline - performance.now()))) {
      return { kind: 'unknown' };
    }
    const result = await this.#options.describeResult(command, plan.result);
    return { kind: 'done', revision, result };
  }

  async #write(
    command: Command,
    plan: Extract<Plan, { kind: 'change' }>,
    active: Active,
  ): Promise<number | null> {
    const { kind, id, content, removed } = plan.document;
    const earlier = await recentCommandResults(this.#options.db, kind, id, KEPT_RESULTS - 1);
    const result: CommandResult = {
      commandId: command.commandId,
      contentHash: command.contentHash,
      at: new Date().toISOString(),
      result: plan.result,
    };
    return this.#append(active, { kind, id, document: content, removed }, command, [
      ...earlier,
      result,
    ]);
  }

  /** The change's revision, or null after ending the term: refused or silent, its fate is for the next barrier. */
  async #append(
    active: Active,
    change: OwnChange,
    command: Command | null,
    commands: CommandResult[],
  ): Promise<number | null> {
    if (!active.term.isValid()) return null;
    const outcome = await this.#options.changeLog.append(
      {
        epoch: active.term.epoch,
        changeId: uuidv7(),
        commandId: command?.commandId ?? null,
        kind: change.kind,
        id: change.id,
        at: new Date().toISOString(),
        actor: command?.actor ?? `node ${this.#options.node}`,
        removed: change.removed ?? false,
        document: change.document,
        commands,
      },
      active.end,
    );
    if (outcome.kind === 'stored') {
      active.end = outcome.sequence;
      this.#lastWriteAt = performance.now();
      return outcome.sequence + this.#options.baseRevision;
    }
    const why = outcome.kind === 'silent' ? outcome.why : 'refused';
    this.#options.log.warn({ epoch: active.term.epoch, why }, 'a change was not acknowledged');
    this.#unansweredAt = performance.now();
    if (this.#active === active) this.end();
    if (!command) await this.#options.lease.beginNextEpoch('a change went unanswered');
    return null;
  }

  async #findResult(command: Command): Promise<MasterReply | null> {
    const known = await findCommandResult(this.#options.db, command.commandId);
    if (!known) return null;
    if (known.contentHash !== command.contentHash) {
      const detail = 'this Idempotency-Key was used for another request';
      return { kind: 'refused', status: 422, code: 'idempotency_conflict', detail };
    }
    const result = await this.#options.describeResult(command, known.result);
    return { kind: 'done', revision: known.revision, result };
  }
}

const BEHIND: Refused = {
  kind: 'refused',
  status: 503,
  code: 'busy',
  detail: "the master's PostgreSQL is behind; nothing was changed",
};

/** What every replica would stumble over for good; null if nothing. */
function flawOf({ kind, document, removed }: OwnChange): string | null {
  if (removed || kind === 'probe') return null;
  try {
    checkDocument(kind as DocumentKind, document);
    return null;
  } catch (error) {
    if (error instanceof DocumentError) return error.message;
    throw error;
  }
}
