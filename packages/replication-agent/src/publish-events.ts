import { setTimeout as sleep } from 'node:timers/promises';
import type { EventStream, Log } from '@countersign/cluster';
import {
  deleteOutbox,
  finishAbandoned,
  takeFinalOutbox,
  trimOutbox,
  type Database,
} from '@countersign/database';

const BATCH = 200;
/** Of one message, before encryption; the stream takes 512 KiB. One event always fits. */
const MAX_MESSAGE_BYTES = 256 * 1024;
const EVERY_MS = 200;
const ABANDONED_AFTER_MS = 30_000;
const HOUSEKEEPING_MS = 10_000;
/** Events buffered while the log is away; the oldest are dropped beyond this, and counted. */
const MAX_BUFFERED = 1_000_000;

/** Moves this node's outbox into the event stream; what is not stored by the log's quorum stays. */
export async function publishEvents(options: {
  db: Database;
  stream: EventStream;
  node: string;
  signal: AbortSignal;
  log: Log;
}): Promise<void> {
  let housekeptAt = performance.now();
  while (!options.signal.aborted) {
    let published = 0;
    try {
      if (performance.now() - housekeptAt > HOUSEKEEPING_MS) {
        housekeptAt = performance.now();
        await keepHouse(options);
      }
      published = await publishBatch(options);
    } catch (error) {
      options.log.warn({ error: String(error) }, 'events wait in the outbox');
      await sleep(1000);
    }
    if (published < BATCH) await sleep(EVERY_MS);
  }
}

async function publishBatch(options: {
  db: Database;
  stream: EventStream;
  node: string;
}): Promise<number> {
  const rows = withinMessage(await takeFinalOutbox(options.db, BATCH));
  if (rows.length === 0) return 0;
  const isStored = await options.stream.publish(
    options.node,
    rows.map((row) => row.event),
  );
  if (!isStored) return 0;
  await deleteOutbox(
    options.db,
    rows.map((row) => row.id),
  );
  return rows.length;
}

function withinMessage<R extends { event: object }>(rows: R[]): R[] {
  let sizeBytes = 0;
  const end = rows.findIndex(({ event }, index) => {
    sizeBytes += Buffer.byteLength(JSON.stringify(event)) + 1;
    return index > 0 && sizeBytes > MAX_MESSAGE_BYTES;
  });
  return end === -1 ? rows : rows.slice(0, end);
}

async function keepHouse(options: { db: Database; log: Log }): Promise<void> {
  await finishAbandoned(options.db, ABANDONED_AFTER_MS);
  const dropped = await trimOutbox(options.db, MAX_BUFFERED);
  if (dropped > 0) options.log.warn({ dropped }, 'the outbox is full: oldest events dropped');
}
