import { setTimeout as sleep } from 'node:timers/promises';
import type { Command, Log, MasterReply, StopFacts } from '@countersign/cluster';
import {
  listUnpublishedStopFacts,
  listUnsettledStopFacts,
  markStopFactsPublished,
  readPosition,
  settleStopFacts,
  storeStopFacts,
  type Database,
} from '@countersign/database';
import type { StopFact } from '@countersign/verification';
import { deriveId } from './commands/derive-id.ts';

const EVERY_MS = 250;
const PUBLISHED_AT_ONCE = 100;
const STORE_TIMEOUT_MS = 1000;
const COMMAND_TIMEOUT_MS = 5000;

/** Copies every stop fact of the log's bucket into this node's PostgreSQL. */
export async function followStopFacts(options: {
  db: Database;
  stopFacts: StopFacts<StopFact>;
  signal: AbortSignal;
  log: Log;
}): Promise<void> {
  const { db, stopFacts, signal, log } = options;
  let position = await readPosition(db, 'stops');
  await stopFacts.follow({
    nextSequence: () => position + 1,
    signal,
    log,
    onMalformed: () => log.warn({}, 'what is in the bucket of stop facts is not one: left out'),
    async onFacts(facts, last) {
      await storeStopFacts(db, facts, last);
      position = last;
    },
  });
}

/**
 * Brings the stop facts of this node into the log's bucket as soon as it takes them, and, on the master, makes
 * changes of those that are none yet.
 */
export async function tendStopFacts(options: {
  db: Database;
  stopFacts: StopFacts<StopFact>;
  isMaster(): boolean;
  run(command: Omit<Command, 'proof'>): Promise<MasterReply>;
  signal: AbortSignal;
  log: Log;
}): Promise<void> {
  const { db, signal, log } = options;
  while (!signal.aborted) {
    try {
      await settleStopFacts(db);
      await publish(options, await listUnpublishedStopFacts(db, PUBLISHED_AT_ONCE));
      if (options.isMaster()) await apply(options, await listUnsettledStopFacts(db));
    } catch (error) {
      log.warn({ error: String(error) }, 'stop facts wait');
    }
    await sleep(EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

async function publish(
  { db, stopFacts }: { db: Database; stopFacts: StopFacts<StopFact> },
  facts: StopFact[],
): Promise<void> {
  const stored: string[] = [];
  for (const fact of facts) {
    if (!(await stopFacts.store(fact, STORE_TIMEOUT_MS))) break;
    stored.push(fact.id);
  }
  if (stored.length > 0) await markStopFactsPublished(db, stored);
}

async function apply(
  options: { run(command: Omit<Command, 'proof'>): Promise<MasterReply>; log: Log },
  facts: StopFact[],
): Promise<void> {
  for (const { id, by } of facts) {
    const reply = await options.run({
      name: 'stop-fact.apply',
      args: { id },
      commandId: deriveId(id, 'stop-fact'),
      contentHash: id,
      actor: by,
      remainingMs: COMMAND_TIMEOUT_MS,
    });
    if (reply.kind === 'done') continue;
    if (reply.kind === 'refused') options.log.warn({ fact: id, reply }, 'a stop fact is no change');
    else return;
  }
}
