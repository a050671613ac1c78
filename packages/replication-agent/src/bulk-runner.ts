import { createHash } from 'node:crypto';
import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import type { Command, MasterReply } from '@countersign/cluster';
import {
  findCommandResults,
  findKnownTokens,
  findTakenKeys,
  findUsersById,
  type CommandResult,
} from '@countersign/database';
import { usernameKey, type UserDocument } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import { z } from 'zod';
import { SLICE, type BulkLane } from './bulk-lane.ts';
import type { ChangePipeline } from './change-pipeline.ts';
import { BEHIND, CONFLICT } from './command-runner.ts';
import { addUserArgs, planNewUser, usernameTaken } from './commands/add-user.ts';
import { deriveId } from './commands/derive-id.ts';
import { DUPLICATE_TOKEN, marksOf } from './commands/enroll-authenticator.ts';
import { refuse, type Plan, type Refusal } from './commands/plan.ts';
import { otpauthOf } from './describe-result.ts';
import { flawOf } from './flaw-of.ts';
import type { Mastership, MastershipOptions } from './mastership.ts';
import { nameTouched } from './plan-command.ts';
import { tokensTouched } from './tokens-touched.ts';

/** What became of one user of a request: 201 with the id, or why not. */
export type BulkOutcome =
  | { status: 201; id: string; revision: number; authenticators?: NewAuthenticator[] }
  | { status: number; code: string; detail: string };
/** `otpauth` where the secret was made here. */
type NewAuthenticator = { id: string; otpauth?: string };

const requestArgs = z.strictObject({
  users: z
    .array(z.looseObject({ username: z.string().max(512) }))
    .min(1)
    .max(500),
});

type Item = {
  commandId: string;
  contentHash: string;
  args: Record<string, unknown> & { username: string };
  /** A copy left this process: it may land. */
  wasSent: boolean;
  outcome: BulkOutcome | null;
};
type PlannedItem = { item: Item; plan: Extract<Plan, { kind: 'change' }> };

/** What the log acknowledged of a slice. */
type Sent = {
  items: { item: Item; revision: number; id: string }[];
  lastRevision: number;
  finishEvent(): Promise<void>;
};

/** Planning a user takes about 0.15 ms, and the lease is renewed in between. */
const PLAN_AT_ONCE = 64;
const MAX_REQUESTS = 8;
/** How long a request whose users are all settled or unsent waits for this master's next epoch. */
const NEXT_EPOCH_HOLD_MS = 2000;

/**
 * Runs requests that add many users, each a command of its own. Slices of all requests go one at a time, each planned
 * with a few statements and sent down the bulk lane of the pipeline, with a pause behind it.
 */
export class BulkRunner {
  readonly #mastership: Mastership;
  readonly #lane: BulkLane;
  readonly #options: MastershipOptions;
  #requests = 0;

  constructor(mastership: Mastership, lane: BulkLane, options: MastershipOptions) {
    this.#mastership = mastership;
    this.#lane = lane;
    this.#options = options;
  }

  async run(command: Command, received: ChangePipeline, deadline: number): Promise<MasterReply> {
    const parsed = requestArgs.safeParse(command.args);
    if (!parsed.success) return refuse(400, 'invalid_request', 'users: 1 to 500 users are taken');
    if (this.#requests >= MAX_REQUESTS) {
      return refuse(503, 'busy', 'too many bulk requests at once; nothing was changed');
    }
    this.#requests += 1;
    try {
      const items = parsed.data.users.map((args, index) => itemOf(command, args, index));
      await this.#runAll(command, items, received, deadline);
      return this.#reply(items);
    } finally {
      this.#requests -= 1;
    }
  }

  async #runAll(
    command: Command,
    items: Item[],
    received: ChangePipeline,
    deadline: number,
  ): Promise<void> {
    let pipeline = received;
    for (;;) {
      const open = items.filter((item) => !item.outcome);
      const applying: Promise<void>[] = [];
      for (let from = 0; from < open.length; from += SLICE) {
        const slice = open.slice(from, from + SLICE);
        const started = await this.#start(command, slice, pipeline, deadline);
        if (!started) break;
        const { applied } = started;
        applying.push(applied.catch((error: unknown) => this.#warn(error)));
      }
      await Promise.all(applying);
      // Stopped by the deadline, a hand-over or a slow replica: the caller repeats the request.
      if (pipeline.isOpen || items.every((item) => item.outcome)) return;
      // What is in doubt is settled once the next epoch's barrier is applied here; the rest need not wait for long.
      const isInDoubt = items.some((item) => item.wasSent && !item.outcome);
      const remainingMs = deadline - performance.now();
      const waitMs = isInDoubt ? remainingMs : Math.min(remainingMs, NEXT_EPOCH_HOLD_MS);
      if (!(await this.#mastership.waitUntilActive(waitMs))) return;
      const next = this.#mastership.pipeline;
      if (!next) return;
      pipeline = next;
    }
  }

  /** Its users stay open, and a repeat of the request tells. */
  #warn(error: unknown): void {
    this.#options.log.warn({ error: String(error) }, 'a bulk request could not be concluded');
  }

  /** Plans and sends a slice; null if nothing can be sent now. `applied` when its outcomes are set as far as they will be. */
  async #start(
    command: Command,
    slice: Item[],
    pipeline: ChangePipeline,
    deadline: number,
  ): Promise<{ applied: Promise<void> } | null> {
    const touched = slice.flatMap(({ args }) => [
      nameTouched(args.username),
      ...tokensTouched(args),
    ]);
    return this.#lane.run({ touched, pipeline, deadline }, async () => {
      const { planned, known } = await this.#plan(command, slice);
      const sent = await this.#send(command, planned, pipeline);
      const applied = this.#conclude(sent, known, deadline);
      return { lastRevision: sent.lastRevision, applied };
    });
  }

  /** Refusals become outcomes; what was done before is in `known`. */
  async #plan(command: Command, slice: Item[]) {
    const { db, keys, authorise } = this.#options;
    const judged = await authorise(command);
    const refused = judged.kind === 'refused' ? judged : null;
    const [results, taken] = await Promise.all([
      findCommandResults(
        db,
        slice.map((item) => item.commandId),
      ),
      findTakenKeys(
        db,
        slice.map((item) => usernameKey(item.args.username)),
      ),
    ]);
    const wished: PlannedItem[] = [];
    const known: { item: Item; result: CommandResult }[] = [];
    for (const [index, item] of slice.entries()) {
      if (index % PLAN_AT_ONCE === PLAN_AT_ONCE - 1) await nextTurnOfLoop();
      const result = results.get(item.commandId);
      if (result && (!refused || item.wasSent)) known.push({ item, result });
      else if (refused) item.outcome = refusal(refused);
      else {
        const plan = planItem(item, taken, {
          keys,
          commandId: item.commandId,
          actor: command.actor,
          now: new Date(),
        });
        const noRoom = plan.kind === 'change' ? this.#options.refuseChange(command, plan) : null;
        if (noRoom) item.outcome = refusal(noRoom);
        else if (plan.kind === 'change') wished.push({ item, plan });
        else if (plan.kind === 'refused') item.outcome = refusal(plan);
      }
    }
    return { planned: await this.#refuseTwins(wished), known };
  }

  /** Without those that bring a token which somebody has, or another of them before. */
  async #refuseTwins(wished: PlannedItem[]): Promise<PlannedItem[]> {
    const marks = wished.map(({ item, plan }) => {
      const { authenticators } = plan.document.content as UserDocument;
      return marksOf(
        this.#options.keys.seed,
        authenticators,
        (item.args.authenticators ?? []) as object[],
      );
    });
    const taken = await findKnownTokens(this.#options.db, {
      serials: marks.flatMap(({ serials }) => serials),
      fingerprints: marks.flatMap(({ fingerprints }) => fingerprints),
    });
    return wished.filter(({ item }, index) => {
      const own = Object.values(marks[index]!).flat();
      const isTwin = new Set(own).size < own.length || own.some((mark) => taken.has(mark));
      if (isTwin) item.outcome = refusal(DUPLICATE_TOKEN);
      else for (const mark of own) taken.add(mark);
      return !isTwin;
    });
  }

  /** Those that the log acknowledged, with their revisions. */
  async #send(command: Command, planned: PlannedItem[], pipeline: ChangePipeline): Promise<Sent> {
    if (planned.length === 0) return { items: [], lastRevision: 0, finishEvent: async () => {} };
    const { actor } = command;
    const { events, baseRevision } = this.#options;
    const finishEvent = await events.beginBulk(actor, planned.length);
    const items: Sent['items'] = [];
    await Promise.all(
      planned.map(async ({ item, plan }) => {
        item.wasSent = true;
        const sequence = await this.#append(actor, item, plan, pipeline);
        if (sequence === null) return;
        items.push({ item, revision: sequence + baseRevision, id: plan.document.id });
      }),
    );
    const lastRevision = Math.max(0, ...items.map(({ revision }) => revision));
    const userIds = items.map(({ id }) => id);
    return { items, lastRevision, finishEvent: () => finishEvent({ userIds, lastRevision }) };
  }

  #append(
    actor: string,
    item: Item,
    { document, result }: PlannedItem['plan'],
    pipeline: ChangePipeline,
  ): Promise<number | null> {
    const { kind, id, content, removed } = document;
    const { commandId, contentHash } = item;
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
        // The user is new: no earlier command was about it.
        commands: [{ commandId, contentHash, at, result }],
      },
      'bulk',
    );
  }

  async #conclude(
    sent: Sent,
    known: { item: Item; result: CommandResult }[],
    deadline: number,
  ): Promise<void> {
    const { replica } = this.#options;
    const [isApplied] = await Promise.all([
      replica.waitFor(sent.lastRevision, deadline - performance.now()),
      sent.finishEvent(),
    ]);
    if (!isApplied) return;
    const added = [...sent.items];
    for (const { item, result } of known) {
      if (result.contentHash !== item.contentHash) item.outcome = refusal(CONFLICT);
      else added.push({ item, revision: result.revision, id: String(result.result.id) });
    }
    const shown = await this.#authenticatorsOf(added);
    for (const { item, revision, id } of added) {
      const authenticators = shown.get(id);
      item.outcome = { status: 201, id, revision, ...(authenticators && { authenticators }) };
    }
  }

  /** Read back, so that a repeat shows the same. */
  async #authenticatorsOf(
    added: { item: Item; id: string }[],
  ): Promise<Map<string, NewAuthenticator[]>> {
    const { db, keys } = this.#options;
    const given = new Map(
      added.flatMap(({ item, id }) => {
        const { authenticators } = item.args;
        return Array.isArray(authenticators) && authenticators.length > 0
          ? [[id, authenticators as { secret?: unknown }[]] as const]
          : [];
      }),
    );
    if (given.size === 0) return new Map();
    const users = await findUsersById(db, [...given.keys()]);
    return new Map(
      users.map((user) => [
        user.id,
        given.get(user.id)!.flatMap(({ secret }, index) => {
          const authenticator = user.authenticators[index];
          if (!authenticator || authenticator.type === 'phone') return [];
          if (typeof secret === 'string') return [{ id: authenticator.id }];
          return [{ id: authenticator.id, otpauth: otpauthOf(keys.seed, user, authenticator) }];
        }),
      ]),
    );
  }

  #reply(items: Item[]): MasterReply {
    if (items.every((item) => !item.wasSent && !item.outcome)) {
      if (this.#mastership.isHandingOver) return { kind: 'handing_over' };
      return this.#mastership.isActive ? BEHIND : { kind: 'not_master' };
    }
    const results = items.map((item) => item.outcome ?? (item.wasSent ? UNKNOWN : NOT_RUN));
    const revisions = results.map((result) => ('revision' in result ? result.revision : 0));
    const applied = this.#options.replica.applied.revision;
    const revision = Math.max(...revisions) || applied;
    return { kind: 'done', revision, result: { results } };
  }
}

const UNKNOWN: BulkOutcome = {
  status: 504,
  code: 'outcome_unknown',
  detail: 'sent but not confirmed: repeat the request with the same Idempotency-Key',
};
const NOT_RUN: BulkOutcome = {
  status: 503,
  code: 'not_run',
  detail: 'not added for now: repeat the request with the same Idempotency-Key',
};

function itemOf(command: Command, args: Item['args'], index: number): Item {
  return {
    commandId: deriveId(command.commandId, `item ${index}`),
    contentHash: createHash('sha256').update(JSON.stringify(args)).digest('hex'),
    args,
    wasSent: false,
    outcome: null,
  };
}

/** `taken` are the keys that users have, and grows by the planned one. */
function planItem(
  item: Item,
  taken: Set<string>,
  context: Parameters<typeof planNewUser>[0],
): Plan {
  const parsed = addUserArgs.safeParse(item.args);
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    return refuse(400, 'invalid_request', `${issue?.path.join('.')}: ${issue?.message}`);
  }
  const key = usernameKey(parsed.data.username);
  if (taken.has(key)) return usernameTaken(parsed.data.username);
  const plan = planNewUser(context, parsed.data);
  if (plan.kind !== 'change') return plan;
  const { kind, content, removed } = plan.document;
  const flaw = flawOf({ kind, document: content, removed });
  if (flaw) return refuse(400, 'invalid_request', flaw);
  taken.add(key);
  return plan;
}

function refusal({
  status,
  code,
  detail,
}: Pick<Refusal, 'status' | 'code' | 'detail'>): BulkOutcome {
  return { status, code, detail };
}
