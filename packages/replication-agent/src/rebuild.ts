import { setTimeout as sleep } from 'node:timers/promises';
import {
  beginIncarnation,
  decodeChange,
  deleteOtherIncarnations,
  ensureStreams,
  findIncarnation,
  giveUpUnsealed,
  namesOf,
  nextIncarnation,
  RebuildError,
  RebuildLog,
  retryJitterMs,
  shutStates,
  SilenceError,
  UserStates,
  type Incarnation,
  type Log,
  type NatsLink,
  type Sealer,
  type StreamLimits,
} from '@countersign/cluster';
import {
  hashDocument,
  listDocuments,
  listUserStates,
  readPosition,
  type Applied,
  type Database,
  type DocumentRow,
} from '@countersign/database';
import { encodeState, mergeStates, parseState, type UserState } from '@countersign/verification';
import { v7 as uuidv7 } from 'uuid';
import { readOn } from './drain-log.ts';
import { parseStates } from './follow-states.ts';

export type RebuildOptions = {
  db: Database;
  link: NatsLink;
  sealer: Sealer;
  node: string;
  logReplicas: number;
  limits: StreamLimits;
  /** Of any incarnation this node has heard of. */
  highestNumber: number;
  disasterAt: string | null;
  log: Log;
  signal: AbortSignal;
};

const BATCH = 500;
const STATES_AT_ONCE = 64;
const STATE_TIMEOUT_MS = 2000;
const STATE_TRIES = 20;
const LATE_STATES_MS = 30_000;
const SETUP_TRIES = 60;
const SETUP_PAUSE_MS = 250;

/**
 * Makes the next incarnation out of this node's PostgreSQL: takes the next number in the log, writes every document
 * and user state there, and seals it. The replica must not be applying meanwhile. Whoever stops half way leaves an
 * incarnation without a seal, which nobody uses; a second run gives that up for good and begins the next one.
 * @throws RebuildError when another rebuild was first or is finished, or the log servers stopped answering
 */
export async function rebuild(source: Applied, options: RebuildOptions): Promise<Incarnation> {
  const { db, link, sealer, log, signal } = options;
  const startedAt = performance.now();
  const incarnation = await takeNextNumber(source, options);
  const { number } = incarnation;
  log.info({ number, from: source.revision }, 'rebuilding the log from this node');
  // What was never finished takes room, and nobody uses it.
  await deleteOtherIncarnations(link, number, source.incarnation.number);
  await untilAnswered(() => ensureStreams(link, namesOf(number), options), signal);
  const rebuilt = new RebuildLog(link, incarnation, sealer);
  const { count, digest } = await publishDocuments(db, rebuilt, sealer, signal);
  const bucket = new UserStates(link, number);
  // Whoever has not heard of all this is refused there from now on; nobody will ever go back to it.
  const end = await shutStates(link, source.incarnation.number).catch((error: unknown) => {
    log.warn({ error: String(error) }, 'the user states that are left could not be shut');
    return null;
  });
  // Before those here are read: what comes in meanwhile is carried twice rather than not at all.
  const from = (await readPosition(db, 'states')) + 1;
  const states = await publishStates(db, bucket, signal);
  const left = source.incarnation.number;
  if (end !== null) await publishLateStates({ left, from, end }, bucket, options);
  const at = new Date().toISOString();
  await rebuilt.seal({ count, digest }, { changeId: uuidv7(), at, actor: `node ${options.node}` });
  const durationMs = Math.round(performance.now() - startedAt);
  log.info({ number, documents: count, states, durationMs }, 'the log is rebuilt and sealed');
  return incarnation;
}

async function takeNextNumber(source: Applied, options: RebuildOptions): Promise<Incarnation> {
  const { link, signal, node, disasterAt } = options;
  const found = await untilAnswered(() => findIncarnation(link, options), signal);
  if (found && found.incarnation.id !== source.incarnation.id) {
    const unfinished = found.incarnation;
    await deleteOtherIncarnations(link, unfinished.number, source.incarnation.number);
    await untilAnswered(() => giveUpUnsealed(link, unfinished, options), signal);
  }
  const incarnation = nextIncarnation({
    parent: source.incarnation,
    left: source,
    highestNumber: Math.max(options.highestNumber, found?.incarnation.number ?? 0),
    by: node,
    disasterAt,
  });
  if (await beginIncarnation(link, incarnation, found?.sequence ?? 0)) return incarnation;
  throw new RebuildError('another node rebuilds the log, or the log servers do not answer');
}

/** The documents as they stand here, with new places in the log; tombstones end here. */
async function publishDocuments(
  db: Database,
  rebuilt: RebuildLog,
  sealer: Sealer,
  signal: AbortSignal,
): Promise<{ count: number; digest: string }> {
  let after: DocumentRow | null = null;
  let count = 0;
  let sum = 0n;
  for (;;) {
    signal.throwIfAborted();
    const rows: DocumentRow[] = await listDocuments(db, { after, limit: BATCH });
    for (const row of rows) {
      const change = decodeChange(row.bytes, sealer);
      const placed = await rebuilt.publish(change);
      const hash = hashDocument({
        kind: row.kind,
        id: row.id,
        revision: placed.revision,
        bytes: Buffer.from(placed.bytes),
      });
      sum ^= BigInt(`0x${hash}`);
      count += 1;
    }
    after = rows.at(-1) ?? null;
    if (rows.length < BATCH) return { count, digest: sum.toString(16).padStart(64, '0') };
  }
}

/**
 * Brings this node's copies of all user states into those of the log, which may be in use: both keep what they know.
 * Returns how many there were. Throws {@link RebuildError} where one could not be written.
 */
export async function publishStates(
  db: Database,
  states: UserStates,
  signal: AbortSignal,
): Promise<number> {
  let after: string | null = null;
  let count = 0;
  for (;;) {
    signal.throwIfAborted();
    const rows: { userId: string; state: UserState }[] = await listUserStates(db, {
      after,
      limit: BATCH,
    });
    const waiting = [...rows];
    const publishOnes = async () => {
      for (let row = waiting.shift(); row !== undefined; row = waiting.shift()) {
        await publishState(states, row.userId, row.state);
      }
    };
    await Promise.all(Array.from({ length: STATES_AT_ONCE }, publishOnes));
    count += rows.length;
    after = rows.at(-1)?.userId ?? null;
    if (rows.length < BATCH) return count;
  }
}

/** What stands in the bucket that is `left` and had not come here yet: without it, it is in the nodes' copies only. */
async function publishLateStates(
  about: { left: number; from: number; end: number },
  bucket: UserStates,
  { link, log, signal }: RebuildOptions,
): Promise<void> {
  const { left, end } = about;
  const { states: stream, allStates: subject } = namesOf(left);
  const giveUpAt = performance.now() + LATE_STATES_MS;
  let { from } = about;
  try {
    while (from <= end) {
      signal.throwIfAborted();
      if (performance.now() > giveUpAt) throw new SilenceError(`${stream} ends before ${end}`);
      for await (const messages of readOn({ link, stream, subject, from, giveUpAt })) {
        for (const { userId, state } of parseStates(UserStates.read(messages, left), log)) {
          if (state) await publishState(bucket, userId, state);
        }
        from = messages.at(-1)!.sequence + 1;
      }
      // The server that was asked may be behind the others.
      if (from <= end) await sleep(SETUP_PAUSE_MS);
    }
  } catch (error) {
    if (!(error instanceof SilenceError)) throw error;
    log.warn({ error: error.message }, 'not all late user states were carried over');
  }
}

/** Workers may verify on the new bucket already: what they wrote is kept. */
async function publishState(states: UserStates, userId: string, known: UserState): Promise<void> {
  let state = known;
  let revision = 0;
  for (let tries = 0; tries < STATE_TRIES; tries += 1) {
    const outcome = await states.write(userId, encodeState(state), revision, STATE_TIMEOUT_MS);
    if (outcome.kind === 'written') return;
    const read = await states.readThroughLeader(userId, STATE_TIMEOUT_MS);
    if (read.kind === 'found') {
      state = mergeStates(known, parseState(read.bytes));
      revision = read.revision;
    }
    await sleep(retryJitterMs());
  }
  throw new RebuildError(`the state of user ${userId} could not be written`);
}

/** Log servers that have just begun refuse for a while. */
async function untilAnswered<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await work();
    } catch (error) {
      if (signal.aborted || error instanceof RebuildError) throw error;
      if (tries >= SETUP_TRIES) throw new RebuildError(String(error), { cause: error });
      await sleep(SETUP_PAUSE_MS);
    }
  }
}
