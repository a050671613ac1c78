import { setTimeout as lasting } from 'node:timers/promises';
import type { TestNode } from './cluster.ts';
import { signal } from './processes.ts';

const EVERY_MS = 10;

/** Kills every nats-server that these nodes' supervisors start again. The function it returns ends that. */
export function keepNatsDead(nodes: TestNode[]): () => Promise<void> {
  return keepDead(() => nodes.map((node) => node.pids.natsPid));
}

/** The same for their agents. */
export function keepAgentsDead(nodes: TestNode[]): () => Promise<void> {
  return keepDead(() => nodes.map((node) => node.pids.agentPid));
}

function keepDead(pids: () => (number | null)[]): () => Promise<void> {
  const isOver = new AbortController();
  const killing = (async () => {
    while (!isOver.signal.aborted) {
      signal(pids(), 'SIGKILL');
      await lasting(EVERY_MS);
    }
  })();
  return async () => {
    isOver.abort();
    await killing;
  };
}
