import { setTimeout as sleep } from 'node:timers/promises';
import {
  askWhetherHeard,
  clientAddresses,
  NatsLink,
  reachableServers,
  replicasOf,
  serverNameOf,
  type LogLayout,
} from '@countersign/cluster';
import type { Logger } from 'pino';
import type { AgentConfig } from './config.ts';

const EVERY_MS = 2000;
/** A server that has just joined is heard within a second or two. */
const UNHEARD_FOR_MS = 6000;
/** Time a server that was started again gets before it is judged again. */
const AFTER_RESTART_MS = 20_000;

/**
 * Has the node's own log server started again when it takes part in the log's routes but its voice does not reach the
 * leader: a follower that never counts. Ends with the signal.
 */
export async function watchLogServer(options: {
  config: Pick<AgentConfig, 'node' | 'nats' | 'logServers'>;
  layout: LogLayout;
  log: Logger;
  signal: AbortSignal;
  restartLogServer(): void;
  /** A witness may not: see {@link askWhetherHeard}. */
  mayCreate?: boolean;
}): Promise<void> {
  const { config, layout, log, signal, mayCreate = true } = options;
  const own = reachableServers(layout, config.logServers).filter(
    ({ name }) => name === config.node,
  );
  if (own.length === 0 || replicasOf(layout) === 1) return;
  const server = serverNameOf(config.node, layout.tag);
  // A connection to this one server only: asked elsewhere, one that hangs or is cut off would look the same.
  await using link = new NatsLink({
    ...config.nats,
    servers: clientAddresses(own, config.node),
    name: `${config.node} voice`,
    tag: layout.tag,
    log: { info() {}, warn() {} },
  });
  let unheardSince: number | null = null;
  while (await pause(EVERY_MS, signal)) {
    const voice = await askWhetherHeard(link, server, { mayCreate });
    if (voice !== 'unheard') {
      unheardSince = null;
      continue;
    }
    unheardSince ??= performance.now();
    const forMs = performance.now() - unheardSince;
    if (forMs < UNHEARD_FOR_MS) continue;
    log.warn({ forMs: Math.round(forMs) }, "the log's leader does not hear this log server");
    options.restartLogServer();
    unheardSince = null;
    if (!(await pause(AFTER_RESTART_MS, signal))) return;
  }
}

/** False once the signal is aborted. */
async function pause(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}
