import {
  namesOf,
  readNextDirect,
  UserStates,
  type FollowedMessage,
  type Incarnation,
  type Log,
  type NatsLink,
} from '@countersign/cluster';
import { readPosition, storeUserStates, type Database } from '@countersign/database';
import { parseState } from '@countersign/verification';
import type { Replica } from './replica.ts';

const READ_MS = 500;
const BATCH = 200;
const DEADLINE_MS = 60_000;

/**
 * Takes over what this node's own log server still holds beyond its PostgreSQL, message by message: all that works
 * without a leader. Returns how much that was; stops early, and says so, where the server does not answer.
 */
export async function drainLog(options: {
  db: Database;
  link: NatsLink;
  incarnation: Incarnation;
  replica: Replica;
  log: Log;
}): Promise<{ changes: number; states: number }> {
  const { log } = options;
  const giveUpAt = performance.now() + DEADLINE_MS;
  const changes = await drainChanges(options, giveUpAt);
  const states = await drainStates(options, giveUpAt);
  log.info({ changes, states }, 'drained what the log server here still held');
  return { changes, states };
}

async function drainChanges(
  options: { link: NatsLink; incarnation: Incarnation; replica: Replica },
  giveUpAt: number,
): Promise<number> {
  const { link, incarnation, replica } = options;
  const names = namesOf(incarnation.number);
  const from = replica.applied.revision - incarnation.baseRevision + 1;
  let count = 0;
  for await (const messages of readOn(link, names.changes, names.allChanges, from, giveUpAt)) {
    await replica.applyDrained(messages);
    count += messages.length;
  }
  return count;
}

async function drainStates(
  options: { db: Database; link: NatsLink; incarnation: Incarnation },
  giveUpAt: number,
): Promise<number> {
  const { db, link, incarnation } = options;
  const names = namesOf(incarnation.number);
  const from = (await readPosition(db, 'states')) + 1;
  let count = 0;
  for await (const messages of readOn(link, names.states, names.allStates, from, giveUpAt)) {
    const rows = UserStates.read(messages, incarnation.number).map((state) => ({
      userId: state.userId,
      revision: state.revision,
      state: state.bytes && parseState(state.bytes),
    }));
    await storeUserStates(db, rows, messages.at(-1)!.sequence);
    count += rows.length;
  }
  return count;
}

async function* readOn(
  link: NatsLink,
  stream: string,
  subject: string,
  from: number,
  giveUpAt: number,
): AsyncGenerator<FollowedMessage[]> {
  let sequence = from;
  for (let isEnd = false; !isEnd && performance.now() < giveUpAt;) {
    const messages: FollowedMessage[] = [];
    while (messages.length < BATCH && !isEnd) {
      const read = await readNextDirect(link, stream, subject, sequence, READ_MS);
      if (read.kind !== 'found') isEnd = true;
      else {
        const { message } = read;
        messages.push({ ...message, pending: 0, at: new Date(message.at) });
        sequence = message.sequence + 1;
      }
    }
    if (messages.length > 0) yield messages;
  }
}
