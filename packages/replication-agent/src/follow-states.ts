import { setTimeout as sleep } from 'node:timers/promises';
import type { EventStream, FollowedState, Log, UserStates } from '@countersign/cluster';
import {
  readPosition,
  storeEvents,
  storeUserStates,
  unplaceUserStates,
  type Database,
  type ArrivedEvent,
  type StoredUserState,
} from '@countersign/database';
import { parseState } from '@countersign/verification';
import { KeptStates } from './kept-states.ts';

/** States of one user arriving within this are stored once. */
const COALESCE_MS = 150;
const READ_MS = 2000;
/** What is stored lazily is gone when PostgreSQL dies a moment later: the next consumer reads it again. */
const LOST = 'PostgreSQL came back without the newest of what was stored: reading it again';

type FollowOptions = { db: Database; signal: AbortSignal; log: Log };

/** Copies user states into this node's PostgreSQL: what a lone node starts from, and every reader's first guess. */
export async function followStates(options: FollowOptions & { states: UserStates }): Promise<void> {
  const { db, states, signal, log } = options;
  let position = await readPosition(db, 'states');
  const kept = new KeptStates(options);
  await states.follow({
    nextSequence: () => position + 1,
    signal,
    log,
    async onStart() {
      if (await kept.hasBucketLost(position)) {
        log.warn({ position }, 'the log has lost user states: comparing all of them');
        await unplaceUserStates(db);
        position = 0;
      }
      await kept.begin();
    },
    async onStates(newest, last) {
      const stored = await readPosition(db, 'states');
      if (stored < position) {
        position = stored;
        throw new Error(LOST);
      }
      const rows = parseStates(newest, log);
      await storeUserStates(db, await kept.compare(rows), last);
      position = last;
      await kept.placeRest(last);
      await sleep(COALESCE_MS);
    },
  });
}

/** What is to be stored of these; one that cannot be read is told and left out. */
export function parseStates(states: readonly FollowedState[], log: Log): StoredUserState[] {
  return states.flatMap(({ userId, revision, bytes }): StoredUserState[] => {
    try {
      return [{ userId, revision, state: bytes && parseState(bytes) }];
    } catch (error) {
      log.warn({ userId, error: String(error) }, 'a user state cannot be read');
      return [];
    }
  });
}

/** Copies every node's events into this node's PostgreSQL. */
export async function followEvents(
  options: FollowOptions & { events: EventStream },
): Promise<void> {
  const { db, events, signal, log } = options;
  let position = await readPosition(db, 'events');
  await events.follow({
    nextSequence: () => position + 1,
    signal,
    log,
    async onStart() {
      // It has lost some, and what comes next has positions that were read here before.
      if ((await events.readEnd(READ_MS)) < position) position = 0;
    },
    async onEvents(batch, last) {
      const stored = await readPosition(db, 'events');
      if (stored < position) {
        position = stored;
        throw new Error(LOST);
      }
      await storeEvents(db, batch as ArrivedEvent[], last);
      position = last;
    },
  });
}
