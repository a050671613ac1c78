import { setTimeout as sleep } from 'node:timers/promises';
import { retryJitterMs, type UserStates } from '@countersign/cluster';
import {
  closeCircuit,
  markMerged,
  readCircuit,
  readSettings,
  readUserState,
  sweepReservations,
  unmergedClaims,
  type AdvisoryLock,
  type Database,
  type UnmergedClaims,
} from '@countersign/database';
import {
  emptyState,
  encodeState,
  mergeClaims,
  parseState,
  StateError,
  type Settings,
  type UserState,
} from '@countersign/verification';
import type { Logger } from 'pino';
import type { WorkerEvents } from './events.ts';
import { holdWorkerLock, pause } from './hold-worker-lock.ts';

export type MergeOptions = {
  node: string;
  db: Database;
  states: UserStates;
  /** Names this worker in probes. */
  worker: string;
  events: WorkerEvents;
  log: Logger;
  signal: AbortSignal;
};

const EVERY_MS = 500;
/**
 * Writes must have worked this long: servers that hung together answer at once when they go on, and only then find
 * that they have to elect a leader.
 */
const CLOSE_AFTER_MS = 1000;
const SWEEP_EVERY_MS = 10_000;
const TIMEOUT_MS = 700;
const BATCH = 200;
/** Few: who signs in meanwhile comes first. */
const AT_ONCE = 3;
const MAX_TRIES = 5;

/**
 * Of a node's workers one, by advisory lock, brings claims made without the quorum into the user states as soon as
 * writes work again, closes the circuit after that, and clears old reservations.
 */
export async function mergeDegradedClaims(options: MergeOptions): Promise<void> {
  const { db, signal } = options;
  await holdWorkerLock({ db, name: 'merge degraded claims', signal }, (lock) =>
    mergeWhileHeld(options, lock),
  );
}

async function mergeWhileHeld(options: MergeOptions, lock: AdvisoryLock): Promise<void> {
  let sweptAt = -Infinity;
  const writes: Writes = { workSince: null };
  while (!options.signal.aborted && !lock.lost.aborted) {
    try {
      if (performance.now() - sweptAt > SWEEP_EVERY_MS) {
        sweptAt = performance.now();
        await sweepReservations(options.db);
      }
      await tend(options, writes);
    } catch (error) {
      options.log.warn({ error: String(error) }, 'merging claims failed, trying again');
    }
    await pause(EVERY_MS, options.signal);
  }
}

/** `workSince`: monotonic ms; null while they do not, or nobody looks. */
type Writes = { workSince: number | null };

async function tend(options: MergeOptions, writes: Writes): Promise<void> {
  const { db, states, worker, events, log } = options;
  const circuit = await readCircuit(db);
  // The log is on its way elsewhere: what is merged here now would stay behind.
  if (circuit.heldUntil && circuit.heldUntil.getTime() > Date.now()) return;
  const isWorking = circuit.open && (await states.probe(worker, TIMEOUT_MS));
  writes.workSince = isWorking ? (writes.workSince ?? performance.now()) : null;
  if (circuit.open && !isWorking) return;
  const isAllMerged = await mergeAll(options);
  if (writes.workSince === null) return;
  if (!isAllMerged) writes.workSince = null;
  else if (performance.now() - writes.workSince < CLOSE_AFTER_MS) return;
  else if (await closeCircuit(db)) {
    log.info({ openSince: circuit.since }, 'circuit closed: the quorum is back');
    await events.circuitClosed({ openSince: circuit.since.toISOString() });
  }
}

/**
 * True when everything that was there when the last batch was read is merged, but for damaged states: one of those
 * must not keep all others waiting. Under load there is always something newer; a step whose user has it brings it
 * along itself.
 */
async function mergeAll(options: MergeOptions): Promise<boolean> {
  const { settings } = await readSettings(options.db);
  for (;;) {
    const users = await unmergedClaims(options.db, options.node, BATCH);
    const { merged, isSilent } = await mergeUsers(options, users, settings);
    await markMerged(
      options.db,
      merged.flatMap(({ userId, claims }) => claims.map((claim) => ({ userId, ...claim }))),
    );
    if (isSilent) return false;
    if (users.length < BATCH || merged.length === 0) return true;
  }
}

/** Those that worked; after {@link AT_ONCE} that were silent no more are tried. */
async function mergeUsers(
  options: MergeOptions,
  users: UnmergedClaims[],
  settings: Settings,
): Promise<{ merged: UnmergedClaims[]; isSilent: boolean }> {
  const waiting = [...users];
  const merged: UnmergedClaims[] = [];
  let isSilent = false;
  const mergeOnes = async () => {
    for (let user = waiting.shift(); user !== undefined; user = waiting.shift()) {
      try {
        if (!(await mergeUser(options, user, settings))) {
          isSilent = true;
          return;
        }
        merged.push(user);
      } catch (error) {
        if (!(error instanceof StateError)) throw error;
        const { userId } = user;
        options.log.warn({ userId, error: error.message }, 'claims cannot be merged');
      }
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, mergeOnes));
  return { merged, isSilent };
}

async function mergeUser(
  options: MergeOptions,
  user: UnmergedClaims,
  settings: Settings,
): Promise<boolean> {
  for (let tries = 0; tries < MAX_TRIES; tries += 1) {
    const read = await options.states.readThroughLeader(user.userId, TIMEOUT_MS);
    if (read.kind === 'silent') return false;
    const state = read.kind === 'found' ? parseState(read.bytes) : await ownCopy(options, user);
    const claims = user.claims.map(({ claim }) => claim);
    const merged = mergeClaims(state, claims, settings, Date.now());
    if (merged === state) return true;
    const revision = read.kind === 'found' ? read.revision : 0;
    const bytes = encodeState(merged);
    const outcome = await options.states.write(user.userId, bytes, revision, TIMEOUT_MS);
    if (outcome.kind === 'written') return true;
    if (outcome.kind === 'silent') return false;
    await sleep(retryJitterMs());
  }
  return false;
}

/** In a bucket begun anew this node's copy is what is known. */
async function ownCopy({ db }: MergeOptions, { userId }: UnmergedClaims): Promise<UserState> {
  return (await readUserState(db, userId))?.state ?? emptyState();
}
