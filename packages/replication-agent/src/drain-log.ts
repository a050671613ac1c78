import { setTimeout as sleep } from 'node:timers/promises';
import {
  namesOf,
  readNextDirect,
  SilenceError,
  UserStates,
  type FollowedMessage,
  type Incarnation,
  type Log,
  type NatsLink,
} from '@countersign/cluster';
import { readPosition, storeUserStates, type Database } from '@countersign/database';
import { parseStates } from './follow-states.ts';
import type { Replica } from './replica.ts';

const READ_MS = 500;
const PAUSE_MS = 100;
/** A log server is silent for a moment when the others have just gone, or while it starts. */
const SILENT_MS = 10_000;
const BATCH = 200;
const DEADLINE_MS = 60_000;

type DrainOptions = {
  db: Database;
  link: NatsLink;
  incarnation: Incarnation;
  replica: Replica;
  log: Log;
};

export type Drained = {
  /** Revisions. */
  changes: number;
  states: number;
  /** Why there may be more that was not taken over. */
  missed: string | null;
};

/**
 * Takes over what this node's own log server still holds beyond its PostgreSQL, message by message: all that works
 * without a leader. Goes as far as the server answers and the messages can be read, and says where that ended.
 * Throws where PostgreSQL does not take it.
 */
export async function drainLog(options: DrainOptions): Promise<Drained> {
  const { replica, log } = options;
  const drained: Drained = { changes: 0, states: 0, missed: null };
  if (replica.mode === 'live') {
    const giveUpAt = performance.now() + DEADLINE_MS;
    try {
      await drainChanges(options, giveUpAt, drained);
      await drainStates(options, giveUpAt, drained);
    } catch (error) {
      if (!(error instanceof SilenceError)) throw error;
      drained.missed ??= error.message;
    }
  } else drained.missed = 'the tables in use are not of this log';
  if (drained.missed) log.warn(drained, 'what the log server here held was not all taken over');
  else log.info(drained, 'drained what the log server here still held');
  return drained;
}

async function drainChanges(
  { link, incarnation, replica }: DrainOptions,
  giveUpAt: number,
  drained: Drained,
): Promise<void> {
  const { changes: stream, allChanges: subject } = namesOf(incarnation.number);
  const from = replica.applied.revision - incarnation.baseRevision + 1;
  for await (const messages of readOn({ link, stream, subject, from, giveUpAt })) {
    const { revision } = replica.applied;
    drained.missed = await replica.applyDrained(messages);
    drained.changes += replica.applied.revision - revision;
    if (drained.missed !== null) return;
  }
}

async function drainStates(
  { db, link, incarnation, log }: DrainOptions,
  giveUpAt: number,
  drained: Drained,
): Promise<void> {
  const { states: stream, allStates: subject } = namesOf(incarnation.number);
  const from = (await readPosition(db, 'states')) + 1;
  for await (const messages of readOn({ link, stream, subject, from, giveUpAt })) {
    const rows = parseStates(UserStates.read(messages, incarnation.number), log);
    await storeUserStates(db, rows, messages.at(-1)!.sequence);
    drained.states += rows.length;
  }
}

type Reading = { link: NatsLink; stream: string; subject: string; giveUpAt: number };

/**
 * The messages of a stream from `from` on, 200 at a time, by direct reads, until the end or `giveUpAt` (monotonic ms).
 * Throws {@link SilenceError} after everything that was read.
 */
export async function* readOn(
  reading: Reading & { from: number },
): AsyncGenerator<FollowedMessage[]> {
  let sequence = reading.from;
  let batch: FollowedMessage[] = [];
  for (;;) {
    let message: FollowedMessage | null;
    try {
      message = await readNext(reading, sequence);
    } catch (error) {
      if (batch.length > 0) yield batch;
      throw error;
    }
    if (message) {
      batch.push(message);
      sequence = message.sequence + 1;
    }
    if (batch.length === BATCH || (!message && batch.length > 0)) {
      yield batch;
      batch = [];
    }
    if (!message) return;
  }
}

/** Null at the end. */
async function readNext(reading: Reading, sequence: number): Promise<FollowedMessage | null> {
  const { link, stream, subject } = reading;
  const giveUpAt = Math.min(reading.giveUpAt, performance.now() + SILENT_MS);
  for (;;) {
    const read = await readNextDirect(link, stream, subject, sequence, READ_MS);
    if (read.kind === 'absent') return null;
    const now = performance.now();
    if (read.kind === 'found' && now < reading.giveUpAt) {
      return { ...read.message, pending: 0, at: new Date(read.message.at) };
    }
    if (now >= giveUpAt) {
      const why = read.kind === 'silent' ? read.why : `not done in ${DEADLINE_MS / 1000} s`;
      throw new SilenceError(`${stream} could not be read from ${sequence} on: ${why}`);
    }
    await sleep(PAUSE_MS);
  }
}
