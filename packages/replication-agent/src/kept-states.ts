import { isDeepStrictEqual } from 'node:util';
import { SilenceError, type UserStates } from '@countersign/cluster';
import {
  listNewestStates,
  listUnplacedStates,
  readUnplacedStates,
  type Database,
  type StoredUserState,
} from '@countersign/database';
import { encodeState, mergeStates, type UserState } from '@countersign/verification';

const TIMEOUT_MS = 2000;
/** Of the states stored last, so many are looked up in the bucket. */
const SAMPLE = 20;
const BATCH = 200;

/**
 * What this node knew of its users before the bucket lost writes or was made anew: it is compared with the bucket's
 * states while those come in, and what the bucket does not know is written there. Any node may do so at any time, in
 * any order: accepted codes only grow.
 */
export class KeptStates {
  readonly #db: Database;
  readonly #states: UserStates;
  #isAnyLeft = false;
  /** Where the bucket ended when this began. */
  #end = 0;

  constructor({ db, states }: { db: Database; states: UserStates }) {
    this.#db = db;
    this.#states = states;
  }

  /** True when the bucket does not hold what was followed up to `position`. Throws {@link SilenceError}. */
  async hasBucketLost(position: number): Promise<boolean> {
    this.#end = await this.#states.readEnd(TIMEOUT_MS);
    if (this.#end < position) return true;
    // It may have lost some and gone on since.
    const newest = await listNewestStates(this.#db, SAMPLE);
    const isLost = await Promise.all(
      newest.map(async ({ userId, revision }) => {
        const read = await this.#states.readThroughLeader(userId, TIMEOUT_MS);
        if (read.kind === 'silent') throw new SilenceError(read.why);
        return read.kind === 'absent' || read.revision < revision;
      }),
    );
    return isLost.includes(true);
  }

  async begin(): Promise<void> {
    this.#isAnyLeft = (await listUnplacedStates(this.#db, 1)).length > 0;
  }

  /** What is to be stored of what has come in; more than the bucket knew is written there first. */
  async compare(rows: StoredUserState[]): Promise<StoredUserState[]> {
    if (!this.#isAnyLeft || rows.length === 0) return rows;
    const ids = rows.map(({ userId }) => userId);
    const known = await readUnplacedStates(this.#db, ids);
    const knownOf = new Map(known.map(({ userId, state }) => [userId, state]));
    const compared = await Promise.all(
      rows.map((row) => this.#compareOne(row, knownOf.get(row.userId))),
    );
    return compared.filter((row) => row !== null);
  }

  /** Writes the states that the bucket has none of, once everything that stood there was compared. */
  async placeRest(position: number): Promise<void> {
    if (!this.#isAnyLeft || position < this.#end) return;
    const rest = await listUnplacedStates(this.#db, BATCH);
    await Promise.all(rest.map(({ userId, state }) => this.#write(userId, state, 0)));
    // They come back as any other write, and are compared then.
    this.#isAnyLeft = rest.length > 0;
  }

  /** Null: somebody wrote meanwhile, and that comes next. */
  async #compareOne(
    row: StoredUserState,
    known: UserState | undefined,
  ): Promise<StoredUserState | null> {
    const state = known && row.state && whatIsMore(known, row.state);
    if (!state) return row;
    const revision = await this.#write(row.userId, state, row.revision);
    return revision === null ? null : { ...row, state, revision };
  }

  async #write(userId: string, state: UserState, expected: number): Promise<number | null> {
    const outcome = await this.#states.write(userId, encodeState(state), expected, TIMEOUT_MS);
    if (outcome.kind === 'silent') throw new SilenceError(outcome.why);
    return outcome.kind === 'written' ? outcome.revision : null;
  }
}

/**
 * `told` with what only `known` has; null when that is nothing. Failures of an older state were counted or forgiven
 * since; what was accepted stays used.
 */
export function whatIsMore(known: UserState, told: UserState): UserState | null {
  const merged = mergeStates(told, known);
  const isNewer = lastUseOf(known) > lastUseOf(told);
  const more = isNewer ? merged : { ...told, accepted: merged.accepted };
  return isDeepStrictEqual(more, told) ? null : more;
}

/** Unix ms of the last verdict that a state tells of. */
function lastUseOf({ accepted, attempts, lastWrong }: UserState): number {
  return Math.max(
    0,
    ...Object.values(accepted).map(([, atSeconds]) => atSeconds * 1000),
    ...attempts.map(({ at }) => at),
    lastWrong?.at ?? 0,
  );
}
