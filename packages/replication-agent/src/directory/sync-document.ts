import { isDeepStrictEqual } from 'node:util';
import {
  HELD_NAMES_MAX,
  type DirectorySyncDocument,
  type SyncCounts,
} from '@countersign/verification';
import { hasPassed } from './has-passed.ts';
import type { SyncKind, SyncResult } from './run-sync.ts';
import { withTaken } from './safeguard.ts';

/** How a run went; `result` null: it came to nothing, for the problem. */
export type Finished = {
  kind: SyncKind;
  startedAt: string;
  basis: string;
  counts: SyncCounts;
  /** Steps that the safeguard counts, which do not stand in the document yet. */
  taken: number;
  result: Extract<SyncResult, { kind: 'done' }> | null;
  problem: string | null;
};

/** A place in the changes that is older than this is worth a change of its own. */
const KEEP_PLACE_MS = 10 * 60_000;

/** The directory's document after a run. */
export function nextDocument(
  stored: DirectorySyncDocument | null,
  id: string,
  { kind, startedAt, basis, counts, taken: count, result, problem }: Finished,
  now: Date,
): DirectorySyncDocument {
  const before: DirectorySyncDocument = stored ?? {
    id,
    cursor: null,
    basis: null,
    lastFullAt: null,
    last: null,
    taken: [],
    held: null,
  };
  const at = now.toISOString();
  const outcome = problem !== null ? 'failed' : result?.held ? 'held' : 'done';
  const last = { startedAt, endedAt: at, kind, outcome, problem, counts } as const;
  const taken = withTaken(before.taken, count, now);
  if (!result) return { ...before, last, taken };
  return {
    ...before,
    cursor: result.cursor,
    basis: kind === 'full' ? basis : before.basis,
    lastFullAt: kind === 'full' ? at : before.lastFullAt,
    last,
    taken,
    held: heldOf(before.held, result.held, at),
  };
}

function heldOf(
  before: DirectorySyncDocument['held'],
  held: Extract<SyncResult, { kind: 'done' }>['held'],
  at: string,
): DirectorySyncDocument['held'] {
  if (!held) return null;
  if (before?.hash === held.hash) return before;
  const { hash, steps, of } = held;
  const first = steps
    .slice(0, HELD_NAMES_MAX)
    .map(({ userId, username, what }) => ({ userId, username, what }));
  return { hash, at: before?.at ?? at, count: steps.length, of, first, decision: null };
}

/** A quiet run is worth no change: neither its times nor a place that is a few minutes newer. */
export function isWorthKeeping(
  stored: DirectorySyncDocument | null,
  next: DirectorySyncDocument,
  nowMs: number,
): boolean {
  if (!stored?.last || !next.last) return true;
  const { outcome, problem, counts } = next.last;
  if (stored.last.outcome !== outcome || stored.last.problem !== problem) return true;
  if (stored.basis !== next.basis || !isDeepStrictEqual(stored.held, next.held)) return true;
  const { added, changed, disabled, removed, kept } = counts;
  if (added + changed + disabled + removed + kept > 0) return true;
  const isOld = hasPassed(Date.parse(stored.last.endedAt), KEEP_PLACE_MS, nowMs);
  const isElsewhere = !isDeepStrictEqual(stored.cursor, next.cursor);
  return isOld && (isElsewhere || stored.lastFullAt !== next.lastFullAt);
}
