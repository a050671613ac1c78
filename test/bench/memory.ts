import { readFileSync } from 'node:fs';
import type { TestNode } from '../harness/cluster.ts';
import { childrenByParent } from './cpu-seconds.ts';

/** Memory of a node's parts in MB, each page shared between processes counted in parts. */
export function memoryOf(node: TestNode): Record<string, number> {
  const { agentPid, workerPids, natsPid, postgresPid } = node.pids;
  const backends = childrenByParent().get(postgresPid ?? 0) ?? [];
  return {
    agent: megabytes([agentPid]),
    'one worker': megabytes([workerPids[0]]),
    'agent + one worker': megabytes([agentPid, workerPids[0]]),
    PostgreSQL: megabytes([postgresPid, ...backends]),
    'nats-server': megabytes([natsPid]),
  };
}

function megabytes(pids: (number | null | undefined)[]): number {
  const kilobytes = pids.map((pid) => (pid ? proportionalSetSize(pid) : 0));
  return Math.round(kilobytes.reduce((sum, each) => sum + each, 0) / 1024);
}

function proportionalSetSize(pid: number): number {
  try {
    const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
    return Number(/^Pss:\s+(\d+) kB/m.exec(rollup)?.[1] ?? 0);
  } catch {
    // Ended meanwhile.
    return 0;
  }
}
