import { setTimeout as sleep } from 'node:timers/promises';
import type { Log } from '@countersign/cluster';
import { dropEventsBefore, readSettings, type Database } from '@countersign/database';
import type { AgentEvents } from './events.ts';

const EVERY_MS = 3_600_000;
/** Somebody was reading events for long, or PostgreSQL is away. */
const AGAIN_MS = 60_000;
const DAY_MS = 86_400_000;

type RetireOptions = { db: Database; events: AgentEvents; log: Log };

/** Drops events older than the setting allows, at start and once an hour, on every node for itself. */
export async function retireEventsForEver(
  options: RetireOptions & { signal: AbortSignal },
): Promise<void> {
  const { signal, log } = options;
  while (!signal.aborted) {
    let isComplete = false;
    try {
      isComplete = await retireEvents(options, Date.now());
    } catch (error) {
      log.warn({ error: String(error) }, 'old events could not be dropped');
    }
    await sleep(isComplete ? EVERY_MS : AGAIN_MS, undefined, { signal }).catch(() => undefined);
  }
}

/**
 * Keeps today and the `retentionDays` days before it (UTC).
 * @returns false if something was in the way and the rest waits
 */
export async function retireEvents(options: RetireOptions, nowMs: number): Promise<boolean> {
  const { settings } = await readSettings(options.db);
  const keptMs = settings.events.retentionDays * DAY_MS;
  const before = new Date(nowMs - keptMs).toISOString().slice(0, 10);
  const { days, farEvents, isComplete } = await dropEventsBefore(options.db, before);
  if (days > 0 || farEvents > 0) {
    options.log.info({ before, days, farEvents }, 'old events dropped');
    options.events.eventsDropped({ before, days, farEvents });
  }
  return isComplete;
}
