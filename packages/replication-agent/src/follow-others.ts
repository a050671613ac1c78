import { setTimeout as sleep } from 'node:timers/promises';
import type {
  Command,
  EventStream,
  Incarnation,
  MasterReply,
  StopFacts,
  UserStates,
} from '@countersign/cluster';
import { releaseCircuit, type Database } from '@countersign/database';
import type { StopFact } from '@countersign/verification';
import type { Logger } from 'pino';
import { untilWorks } from './find-place.ts';
import { followEvents, followStates } from './follow-states.ts';
import { followStopFacts, tendStopFacts } from './follow-stop-facts.ts';
import { publishStates } from './rebuild.ts';
import { forgetRejoin, mayDropFor } from './rejoin-wish.ts';
import type { Replica } from './replica.ts';

const LOOK_EVERY_MS = 100;
const AGAIN_AFTER_MS = 1000;

/** User states, events and stop facts of this incarnation, once the tables belong to it. Ends with the signal. */
export async function followOthers(options: {
  db: Database;
  lazyDb: Database;
  dataDirectory: string;
  incarnation: Incarnation;
  replica: Replica;
  states: UserStates;
  events: EventStream;
  stopFacts: StopFacts<StopFact>;
  isMaster(): boolean;
  /** Runs a command at this node, which is the master. */
  run(command: Omit<Command, 'proof'>): Promise<MasterReply>;
  log: Logger;
  signal: AbortSignal;
}): Promise<void> {
  const { db, lazyDb, dataDirectory, incarnation, replica, log, signal } = options;
  const { states, events, stopFacts } = options;
  while (replica.mode !== 'live' && !signal.aborted) await sleep(LOOK_EVERY_MS);
  const isRejoining = mayDropFor(dataDirectory, incarnation);
  if (isRejoining && !signal.aborted) {
    // What was accepted here must not be accepted once more there.
    const bring = () => publishStates(db, states, signal);
    await untilWorks(bring, { log, signal }).catch(() => undefined);
  }
  if ((incarnation.parent !== null || isRejoining) && !signal.aborted) {
    await releaseCircuit(db).catch(() => undefined);
    forgetRejoin(dataDirectory);
  }
  const keep = async (what: string, run: () => Promise<void>): Promise<void> => {
    while (!signal.aborted) {
      await run().catch((error: unknown) => {
        log.warn({ what, error: String(error) }, 'starting again');
      });
      await sleep(AGAIN_AFTER_MS, undefined, { signal }).catch(() => undefined);
    }
  };
  await Promise.all([
    keep('states', () => followStates({ db: lazyDb, states, signal, log })),
    keep('events', () => followEvents({ db: lazyDb, events, signal, log })),
    keep('stop facts', () => followStopFacts({ db, stopFacts, signal, log })),
    tendStopFacts(options),
  ]);
}
