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

type FollowOptions = { db: Database; signal: AbortSignal; log: Log };

/** Copies user states into this node's PostgreSQL: what a lone node starts from, and every reader's first guess. */
export async function followStates(options: FollowOptions & { states: UserStates }): Promise<void> {
  const { db, states, signal, log } = options;
  const place = await FollowedPlace.read(db, 'states');
  const kept = new KeptStates(options);
  await states.follow({
    nextSequence: () => place.position + 1,
    signal,
    log,
    async onStart() {
      if (await kept.hasBucketLost(place.position)) {
        log.warn(
          { position: place.position },
          'the log has lost user states: comparing all of them',
        );
        await unplaceUserStates(db);
        place.position = 0;
      }
      await kept.begin();
    },
    async onStates(newest, last) {
      await place.checkKept();
      const rows = parseStates(newest, log);
      await storeUserStates(db, await kept.compare(rows), last);
      place.position = last;
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
  const place = await FollowedPlace.read(db, 'events');
  await events.follow({
    nextSequence: () => place.position + 1,
    signal,
    log,
    async onStart() {
      // It has lost some, and what comes next has positions that were read here before.
      if ((await events.readEnd(READ_MS)) < place.position) place.position = 0;
    },
    async onEvents(batch, last) {
      await place.checkKept();
      await storeEvents(db, batch as ArrivedEvent[], last);
      place.position = last;
    },
  });
}

/** How far a follower is, as it stores it with what it copies. */
class FollowedPlace {
  readonly #db: Database;
  readonly #name: 'states' | 'events';
  position: number;

  static async read(db: Database, name: 'states' | 'events'): Promise<FollowedPlace> {
    return new FollowedPlace(db, name, await readPosition(db, name));
  }

  private constructor(db: Database, name: 'states' | 'events', position: number) {
    this.#db = db;
    this.#name = name;
    this.position = position;
  }

  /**
   * What is stored lazily is gone when PostgreSQL dies a moment later. Throws then, with the position that is left: the
   * next consumer reads from there.
   */
  async checkKept(): Promise<void> {
    const stored = await readPosition(this.#db, this.#name);
    if (stored >= this.position) return;
    this.position = stored;
    throw new Error('PostgreSQL came back without the newest of what was stored: reading it again');
  }
}
