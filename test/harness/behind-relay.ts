import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from './cluster.ts';
import { keepNatsDead } from './keep-dead.ts';
import type { Relay } from './relay.ts';
import { findStreamLeader } from './stream-leader.ts';

/**
 * Makes that node's agent reach the log through a relay: its own nats-server is killed whenever it starts, until
 * `bringBack` is called. The cluster is not whole meanwhile, but has a master again. Needs a cluster with relays.
 */
export async function putAgentBehindRelay(
  cluster: TestCluster,
  node: TestNode,
): Promise<{ relay: Relay; bringBack: () => Promise<void> }> {
  cluster.history.beginFault(`${node.name}: nats SIGKILL again and again`, { nodes: [node.name] });
  const bringBack = keepNatsDead([node]);
  try {
    const relay = await waitFor(
      `${node.name}'s agent to use a relay`,
      () => findRelay(cluster, node),
      { timeoutMs: 20_000 },
    );
    // Its server may have led any of them.
    const { incarnation } = await cluster.api(node).cluster();
    for (const stream of ['CHANGES', 'KV_STATES', 'KV_LEASE']) {
      await findStreamLeader(cluster, `${stream}-${incarnation.number}`);
    }
    await waitFor('a master that every node knows', () => doesEveryNodeKnowMaster(cluster), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    return { relay, bringBack };
  } catch (error) {
    await bringBack();
    throw error;
  }
}

function findRelay(cluster: TestCluster, node: TestNode): Relay | undefined {
  return cluster.relays.find(
    ({ from, relay }) => from === node.name && relay.clientNames().includes(`${node.name} agent`),
  )?.relay;
}

async function doesEveryNodeKnowMaster(cluster: TestCluster): Promise<boolean> {
  const views = await Promise.all(cluster.nodes.map((node) => cluster.api(node).cluster()));
  return views.every(
    ({ quorum, degraded, master }) =>
      quorum && !degraded && master !== null && master === views[0]!.master,
  );
}
