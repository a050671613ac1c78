import { readdirSync, readFileSync } from 'node:fs';
import type { TestCluster } from '../harness/cluster.ts';

const TICKS_PER_SECOND = 100;

/** CPU seconds used so far by each part of the cluster, over all nodes, and by this program. */
export function cpuSeconds(cluster: TestCluster): Record<string, number> {
  const used: Record<string, number> = {
    workers: 0,
    agents: 0,
    'nats-server': 0,
    PostgreSQL: 0,
    'load generator': process.cpuUsage().user / 1e6 + process.cpuUsage().system / 1e6,
  };
  const add = (part: string, pid: number | null) => {
    if (pid) used[part] = (used[part] ?? 0) + cpuSecondsOf(pid);
  };
  const children = childrenByParent();
  for (const node of cluster.nodes) {
    const { agentPid, workerPids, natsPid, postgresPid } = node.pids;
    for (const pid of workerPids) add('workers', pid);
    add('agents', agentPid);
    add('nats-server', natsPid);
    add('PostgreSQL', postgresPid);
    for (const pid of children.get(postgresPid ?? 0) ?? []) add('PostgreSQL', pid);
  }
  return used;
}

function fieldsOf(pid: number): string[] {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

/** Of one process; 0 when it has ended. */
export function cpuSecondsOf(pid: number): number {
  try {
    const fields = fieldsOf(pid);
    return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
  } catch {
    return 0;
  }
}

export function childrenByParent(): Map<number, number[]> {
  const children = new Map<number, number[]>();
  for (const name of readdirSync('/proc')) {
    const pid = Number(name);
    if (!pid) continue;
    try {
      const parent = Number(fieldsOf(pid)[1]);
      children.set(parent, [...(children.get(parent) ?? []), pid]);
    } catch {
      // Ended meanwhile.
    }
  }
  return children;
}
