import { setTimeout as sleep } from 'node:timers/promises';
import {
  ensureStreams,
  findIncarnation,
  findOrBeginIncarnation,
  namesOf,
  replicasOf,
  type Incarnation,
  type LogLayout,
  type NatsLink,
} from '@countersign/cluster';
import { readApplied } from '@countersign/database';
import type { Logger } from 'pino';
import type { AgentShared } from './agent-life.ts';

const SAY_AGAIN_MS = 10_000;

/**
 * The incarnation to live in: the log's, or while that does not answer the one this node's tables belong to. A node
 * without any data waits for the log. Null when stopped.
 */
export async function findPlace(
  shared: AgentShared,
  layout: LogLayout,
  link: NatsLink,
  signal: AbortSignal,
): Promise<Incarnation | null> {
  const { config, db, log } = shared;
  const logReplicas = replicasOf(layout);
  const own = await untilWorks(() => readApplied(db), { log, signal });
  if (own) {
    const found = await findIncarnation(link, { logReplicas }).catch(() => null);
    return found?.incarnation ?? own.incarnation;
  }
  return untilWorks(
    async () => {
      // A set of servers made later is filled by the node that made it.
      const isFirst = layout.by === null;
      const incarnation = isFirst
        ? await findOrBeginIncarnation(link, { logReplicas })
        : (await findIncarnation(link, { logReplicas }))?.incarnation;
      if (!incarnation) throw new Error('nobody has begun that log yet');
      if (incarnation.number === 1) {
        await ensureStreams(link, namesOf(1), { logReplicas, limits: config.limits });
      }
      return incarnation;
    },
    { log, signal },
  ).catch((error: unknown) => {
    if (signal.aborted) return null;
    throw error;
  });
}

/** Again and again, with what is wrong in the log every 10 s. Throws only when stopped. */
export async function untilWorks<T>(
  work: () => Promise<T>,
  options: { log: Logger; signal: AbortSignal },
): Promise<T> {
  let toldAt = -Infinity;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (options.signal.aborted) throw error;
      if (performance.now() - toldAt > SAY_AGAIN_MS) {
        toldAt = performance.now();
        options.log.info({ why: String(error) }, 'waiting for the log servers');
      }
      await sleep(150);
    }
  }
}
