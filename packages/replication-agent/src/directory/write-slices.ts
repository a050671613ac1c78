import { setImmediate as nextTurnOfLoop } from 'node:timers/promises';
import { recentCommandResults, type Database } from '@countersign/database';
import type { DirectoryDocument } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import { SLICE } from '../bulk-lane.ts';
import type { ChangePipeline } from '../change-pipeline.ts';
import type { Refusal } from '../commands/plan.ts';
import type { AgentEvents } from '../events.ts';
import type { Mastership } from '../mastership.ts';
import { nameTouched } from '../plan-command.ts';
import {
  namesOfWishes,
  planSlice,
  type PlannedChange,
  type SlicePlan,
  type Wish,
} from './plan-slice.ts';

export type WriterOptions = {
  db: Database;
  baseRevision: number;
  mastership: Pick<Mastership, 'pipeline' | 'lane' | 'hasApplied'>;
  events: Pick<AgentEvents, 'beginDirectorySlice'>;
  /** Why there is no room for changes, or null. */
  refuseChanges(): Refusal | null;
  now(): Date;
};

/** The synchronisation cannot go on: what it has done stands, and the next run does the rest. */
export class SyncStoppedError extends Error {
  override readonly name = 'SyncStoppedError';
}

const SLICE_MS = 60_000;
const KEPT_RESULTS = 16;
/** Somebody else gave or took a name meanwhile: so often the slice is planned anew. */
const TRIES = 5;

type SliceAbout = {
  directory: Pick<DirectoryDocument, 'id' | 'name' | 'domains' | 'items'>;
  actor: string;
  isFinal: boolean;
  allowsRisk: boolean;
  /** Told how many steps that the safeguard counts are sent, before it is known whether they arrive. */
  onTaken?: ((count: number) => void) | undefined;
};

export type Written = Pick<SlicePlan, 'late' | 'refused'> & { changes: PlannedChange[] };

/**
 * Carries out what a directory wants of users, as changes of the master's, slice by slice: each is planned by what
 * the replica has then, so that nothing an administrator did in between is lost.
 * @throws SyncStoppedError when this node is not master any more, or the log takes nothing
 */
export async function writeSlices(
  wishes: readonly Wish[],
  about: SliceAbout,
  options: WriterOptions,
): Promise<Written> {
  const written: Written = { changes: [], late: [], refused: [] };
  let open = [...wishes];
  for (let tries = 0; open.length > 0; tries += 1) {
    if (tries >= TRIES) {
      written.refused.push(...open.map(({ object }) => ({ object, why: 'names change too fast' })));
      break;
    }
    const again: Wish[] = [];
    const applied: Promise<void>[] = [];
    try {
      for (let from = 0; from < open.length; from += SLICE) {
        const plan = await writeSlice(open.slice(from, from + SLICE), about, options);
        applied.push(plan.applied);
        // A rejection is met below; until then it must not count as unhandled.
        plan.applied.catch(() => undefined);
        again.push(...plan.again);
        written.changes.push(...plan.changes);
        written.late.push(...plan.late);
        written.refused.push(...plan.refused);
      }
    } finally {
      await Promise.allSettled(applied);
    }
    await Promise.all(applied);
    open = again;
  }
  return written;
}

async function writeSlice(
  wishes: Wish[],
  about: SliceAbout,
  options: WriterOptions,
): Promise<SlicePlan & { applied: Promise<void> }> {
  const { directory, isFinal, allowsRisk, onTaken } = about;
  const { mastership, db, now } = options;
  const pipeline = mastership.pipeline;
  if (!pipeline?.isOpen) throw new SyncStoppedError('this node is not master any more');
  const names = new Set((await namesOfWishes(wishes, { db, directory })).map(nameTouched));
  const objects = wishes.map(({ object }) => objectTouched(directory, object));
  const touched = [...names, ...objects];
  const deadline = performance.now() + SLICE_MS;
  const done = await mastership.lane.run({ touched, pipeline, deadline }, async () => {
    const claimed = new Set<string>();
    const plan = await planSlice(wishes, {
      ...{ db, directory, isFinal, allowsRisk, claimed },
      now: now(),
    });
    const safe = plan.changes.filter((change) => isWithin(change, names));
    const unsafe = new Set(
      plan.changes.filter((one) => !safe.includes(one)).map((one) => one.object),
    );
    const again = [...plan.again, ...wishes.filter(({ object }) => unsafe.has(object))];
    const taken = safe.filter(({ risk }) => risk !== null).length;
    if (taken > 0) onTaken?.(taken);
    const sent = await send(safe, about, pipeline, options);
    const applied = conclude(sent, pipeline, deadline, options);
    applied.catch(() => undefined);
    return { ...plan, changes: safe, again, lastRevision: sent.lastRevision, applied };
  });
  if (done) return done;
  throw new SyncStoppedError('the master takes no changes now: it hands over, or is behind');
}

/** What is about an object of a directory stands still while it is planned. */
export function objectTouched(directory: Pick<DirectoryDocument, 'id'>, object: string): string {
  return `directory ${directory.id} ${object}`;
}

function isWithin({ before, after }: PlannedChange, names: ReadonlySet<string>): boolean {
  return [before, after].every((user) => !user || names.has(nameTouched(user.username)));
}

type Sent = { lastRevision: number; isWhole: boolean; finish(): Promise<void> };

async function send(
  changes: PlannedChange[],
  { directory, actor }: Pick<SliceAbout, 'directory' | 'actor'>,
  pipeline: ChangePipeline,
  options: WriterOptions,
): Promise<Sent> {
  const none: Sent = { lastRevision: 0, isWhole: true, finish: async () => {} };
  if (changes.length === 0) return none;
  const noRoom = changes.some(({ after }) => after !== null) ? options.refuseChanges() : null;
  if (noRoom) throw new SyncStoppedError(noRoom.detail);
  const finishEvents = await options.events.beginDirectorySlice({ directory, actor, changes });
  const sequences = await Promise.all(
    changes.map((change) => append(change, actor, pipeline, options)),
  );
  const landed = sequences.filter((sequence) => sequence !== null);
  const lastRevision = landed.length === 0 ? 0 : Math.max(...landed) + options.baseRevision;
  const isWhole = landed.length === changes.length;
  // Events of what may not have happened stay without a result.
  return {
    lastRevision,
    isWhole,
    finish: () => (isWhole ? finishEvents(lastRevision) : none.finish()),
  };
}

async function append(
  { before, after }: PlannedChange,
  actor: string,
  pipeline: ChangePipeline,
  { db }: WriterOptions,
): Promise<number | null> {
  const { id } = (after ?? before)!;
  const commands = before ? await recentCommandResults(db, 'user', id, KEPT_RESULTS) : [];
  const at = new Date().toISOString();
  const change = { changeId: uuidv7(), commandId: null, kind: 'user', id, at, actor, commands };
  return pipeline.append({ ...change, removed: after === null, document: after }, 'bulk');
}

async function conclude(
  { lastRevision, isWhole, finish }: Sent,
  pipeline: ChangePipeline,
  deadline: number,
  { mastership }: WriterOptions,
): Promise<void> {
  await nextTurnOfLoop();
  if (!isWhole) throw new SyncStoppedError('the log did not take all changes');
  const isApplied =
    lastRevision === 0 || (await mastership.hasApplied(lastRevision, pipeline.term, deadline));
  if (!isApplied) throw new SyncStoppedError('changes were not applied in time');
  await finish();
}
