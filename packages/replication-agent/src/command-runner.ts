import type { Command, MasterReply } from '@countersign/cluster';
import { findCommandResult, recentCommandResults } from '@countersign/database';
import { isSameContent } from '@countersign/operations';
import { v7 as uuidv7 } from 'uuid';
import type { ChangePipeline } from './change-pipeline.ts';
import type { Allowed } from './authorise.ts';
import type { Plan } from './commands/plan.ts';
import { flawOf } from './flaw-of.ts';
import type { Mastership, MastershipOptions, Refused } from './mastership.ts';
import { handsOutRights, planCommand, touchedBehind, touchedBy } from './plan-command.ts';
import type { Turn, Turns } from './turns.ts';
import { WrongTries } from './wrong-tries.ts';

const KEPT_RESULTS = 16;
const TURN_TRIES = 4;
/** Acknowledged by the log and not yet in this node's PostgreSQL; beyond this commands wait. */
const MAX_UNAPPLIED = 1000;

/** Set once a change stands in the log: when nothing may be judged without it any more. */
type Sent = { settled: Promise<void> };

/** Runs commands of one change each, side by side where they touch different things. */
export class CommandRunner {
  readonly #mastership: Mastership;
  readonly #turns: Turns;
  readonly #options: MastershipOptions;
  readonly #wrongTries = new WrongTries();

  constructor(mastership: Mastership, turns: Turns, options: MastershipOptions) {
    this.#mastership = mastership;
    this.#turns = turns;
    this.#options = options;
  }

  /** `received` is the pipeline that was open when the command came: with any later one its caller may be long gone. */
  async run(command: Command, received: ChangePipeline, deadline: number): Promise<MasterReply> {
    const turn = await this.#takeTurn(command, deadline);
    if (!turn) return received.isOpen ? BEHIND : { kind: 'not_master' };
    const sent: Sent = { settled: Promise.resolve() };
    try {
      return await this.#runInTurn(command, received, deadline, sent);
    } finally {
      // Judged against a replica that lacks this change, the next command on the same would undo it.
      void sent.settled.then(() => turn.release());
    }
  }

  /** Users of a directory have several names, and whose a name is can be relied on only while it is held. */
  async #takeTurn(command: Command, deadline: number): Promise<Turn | null> {
    let touched = touchedBy(command.name, command.args);
    for (let tries = 0; tries < TURN_TRIES; tries += 1) {
      const turn = await this.#turns.take(touched, deadline - performance.now());
      if (!turn || touched === 'everything') return turn;
      try {
        const behind = await touchedBehind(this.#options.db, touched);
        if (behind.length === 0) return turn;
        touched = [...touched, ...behind];
      } catch (error) {
        turn.release();
        throw error;
      }
      turn.release();
    }
    return null;
  }

  async #runInTurn(
    command: Command,
    received: ChangePipeline,
    deadline: number,
    sent: Sent,
  ): Promise<MasterReply> {
    const { baseRevision, authorise } = this.#options;
    if (this.#mastership.isHandingOver) return { kind: 'handing_over' };
    if (!received.isOpen || performance.now() >= deadline) return { kind: 'not_master' };
    let pipeline = received;
    let isInDoubt = false;
    for (;;) {
      const enough = pipeline.end + baseRevision - MAX_UNAPPLIED;
      if (!(await this.#mastership.hasApplied(enough, pipeline.term, deadline))) {
        if (isInDoubt) return { kind: 'unknown' };
        return pipeline.isOpen ? BEHIND : { kind: 'not_master' };
      }
      const judged = await authorise(command);
      const isRefused = judged.kind === 'refused';
      // Results tell secrets too. One in doubt was authorised before it was sent.
      const known = isRefused && !isInDoubt ? null : await this.#findResult(command);
      if (known && !isInDoubt && !isRefused)
        return (await this.#refuseRepeat(command, judged)) ?? known;
      if (known) return known;
      if (isRefused) return judged;
      const reply = await this.#execute(command, judged, { pipeline, deadline, sent });
      if (reply) return reply;
      // Its position is in doubt until a new barrier stands and is applied here: then it is in the replica or never lands.
      isInDoubt = true;
      if (!(await this.#mastership.waitUntilActive(deadline - performance.now()))) {
        return { kind: 'unknown' };
      }
      const next = this.#mastership.pipeline;
      if (!next) return { kind: 'unknown' };
      pipeline = next;
    }
  }

  /** Null: refused or unanswered by the log. */
  async #execute(
    command: Command,
    { rights, administratorId, reason }: Allowed,
    { pipeline, deadline, sent }: { pipeline: ChangePipeline; deadline: number; sent: Sent },
  ): Promise<MasterReply | null> {
    const { replica, events, baseRevision } = this.#options;
    const plan = await this.#plan(command, { rights, administratorId });
    if (plan.kind === 'refused') return plan;
    if (reason !== undefined && plan.event) plan.event.details = { reason, ...plan.event.details };
    if (plan.kind === 'unchanged') {
      if (plan.event) await events.recordUnchanged(command, plan.event);
      return { kind: 'done', revision: replica.applied.revision, result: plan.result };
    }
    const noRoom = this.#options.refuseChange(command, plan);
    if (noRoom) return noRoom;
    const { kind, content, removed } = plan.document;
    const flaw = flawOf({ kind, document: content, removed });
    if (flaw) return { kind: 'refused', status: 400, code: 'invalid_request', detail: flaw };
    // The audit row stands before the change does: a master that dies in between leaves a row that says "unknown".
    const finishEvent = await events.beginChange(command, plan);
    const sequence = await this.#append(command, plan, pipeline);
    if (sequence === null) return null;
    const revision = sequence + baseRevision;
    sent.settled = this.#mastership.untilSettled(revision, pipeline.term);
    const [isApplied] = await Promise.all([
      replica.waitFor(revision, deadline - performance.now()),
      finishEvent(revision),
    ]);
    if (!isApplied) return { kind: 'unknown' };
    const result = await this.#options.describeResult(command, plan.result);
    return { kind: 'done', revision, result };
  }

  #plan(command: Command, who: Pick<Allowed, 'rights' | 'administratorId'>): Promise<Plan> {
    const { db, keys } = this.#options;
    const { commandId, actor, name, args } = command;
    const wrongTries = this.#wrongTries;
    const context = { db, keys, wrongTries, commandId, actor, now: new Date() };
    return planCommand({ ...context, ...who }, name, args);
  }

  /** What was handed out is shown again only to whoever may hand it out now. */
  async #refuseRepeat(command: Command, allowed: Allowed): Promise<Refused | null> {
    if (!handsOutRights(command.name)) return null;
    const plan = await this.#plan(command, allowed);
    return plan.kind === 'refused' && plan.code === 'forbidden' ? plan : null;
  }

  async #append(
    command: Command,
    plan: Extract<Plan, { kind: 'change' }>,
    pipeline: ChangePipeline,
  ): Promise<number | null> {
    const { kind, id, content, removed } = plan.document;
    const { commandId, contentHash, actor } = command;
    const earlier = await recentCommandResults(this.#options.db, kind, id, KEPT_RESULTS - 1);
    const at = new Date().toISOString();
    return pipeline.append(
      {
        changeId: uuidv7(),
        commandId,
        kind,
        id,
        at,
        actor,
        removed,
        document: content,
        commands: [...earlier, { commandId, contentHash, at, result: plan.result }],
      },
      'single',
    );
  }

  async #findResult(command: Command): Promise<MasterReply | null> {
    const known = await findCommandResult(this.#options.db, command.commandId);
    if (!known) return null;
    if (!isSameContent(known.contentHash, command.contentHash)) return CONFLICT;
    const result = await this.#options.describeResult(command, known.result);
    return { kind: 'done', revision: known.revision, result };
  }
}

export const CONFLICT: Refused = {
  kind: 'refused',
  status: 422,
  code: 'idempotency_conflict',
  detail: 'this Idempotency-Key was used for another request',
};

export const BEHIND: Refused = {
  kind: 'refused',
  status: 503,
  code: 'busy',
  detail: 'the master is behind with earlier changes; nothing was changed',
};
