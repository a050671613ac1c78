import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from './cluster.ts';
import { signal } from './processes.ts';
import type { Relay } from './relay.ts';

/**
 * Makes that node's agent reach the log through a relay: its own nats-server stops once, and a client that has
 * found another server stays there. Needs a cluster with relays.
 */
export async function putAgentBehindRelay(cluster: TestCluster, node: TestNode): Promise<Relay> {
  const there = findRelay(cluster, node);
  if (there) return there;
  const { natsPid } = node.pids;
  signal([natsPid], 'SIGTERM');
  const relay = await waitFor(
    `${node.name}'s agent to use a relay`,
    () => findRelay(cluster, node),
    {
      timeoutMs: 20_000,
    },
  );
  await waitFor(
    'its nats-server to be back',
    () => node.pids.natsPid !== null && node.pids.natsPid !== natsPid,
    { timeoutMs: 20_000 },
  );
  await cluster.untilWhole();
  return relay;
}

function findRelay(cluster: TestCluster, node: TestNode): Relay | undefined {
  return cluster.relays.find(
    ({ from, relay }) => from === node.name && relay.clientNames().includes(`${node.name} agent`),
  )?.relay;
}
