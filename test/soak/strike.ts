import { writeFileSync } from 'node:fs';
import type { TestCluster } from '../harness/cluster.ts';
import { signal } from '../harness/processes.ts';
import { clockFileOf } from './clock-of.ts';
import type { PlannedFault } from './plan-faults.ts';

/** Makes a node's disk full; resolves to what gives the space back. */
export type FillDisk = (node: string, part: 'nats' | 'postgres') => Promise<() => Promise<void>>;

/** Begins a fault; call what it resolves to when the fault has lasted long enough. */
export async function strike(
  cluster: TestCluster,
  fault: PlannedFault,
  fillDisk: FillDisk | null,
): Promise<() => Promise<void>> {
  const node = cluster.node(fault.node);
  const nodes = [node.name];
  const sides = [nodes];
  switch (fault.kind) {
    case 'kill': {
      if (fault.part !== 'everything') {
        node.strike(fault.part, 'SIGKILL');
        return async () => undefined;
      }
      await node.killAll();
      return async () => {
        node.start();
        await node.untilReady();
      };
    }
    case 'pause': {
      const { pids, allPids } = node;
      node.strike(fault.part, 'SIGSTOP', sides);
      const paused = {
        agent: [pids.agentPid],
        workers: pids.workerPids,
        nats: [pids.natsPid],
        everything: allPids,
      }[fault.part];
      return async () => signal(paused, 'SIGCONT');
    }
    case 'cut':
      cluster.cutOff(node.name);
      return async () => cluster.heal(node.name);
    case 'slow': {
      const links = cluster.relays.filter(({ from, to }) => [from, to].includes(node.name));
      const what = `${node.name} slowed by ${fault.delayMs} ms`;
      // An ask there and back has 150 ms.
      cluster.history.beginFault(what, { nodes, sides: fault.delayMs > 50 ? sides : null });
      for (const { relay } of links) relay.slow(fault.delayMs, () => true);
      return async () => {
        for (const { relay } of links) relay.slow(0, () => false);
      };
    }
    case 'clock': {
      const file = clockFileOf(cluster.folder, node.name);
      cluster.history.beginFault(`clock of ${node.name} off by ${fault.offsetMs} ms`, { nodes });
      writeFileSync(file, String(fault.offsetMs));
      return async () => writeFileSync(file, '0');
    }
    case 'fill': {
      if (!fillDisk) throw new Error('there is nothing here that fills disks');
      const cannotVerify = fault.part === 'postgres' ? nodes : [];
      cluster.history.beginFault(`disk of ${node.name} full`, { nodes, cannotVerify });
      return fillDisk(node.name, fault.part);
    }
  }
}
