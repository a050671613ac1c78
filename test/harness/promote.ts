import { randomUUID } from 'node:crypto';
import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from './cluster.ts';

/** Answers after which nothing has changed and an operator tries again. */
const NOT_NOW = [
  ...['busy', 'master_alive', 'master_offline', 'no_quorum'],
  ...['node_offline', 'not_active_yet', 'outcome_unknown', 'target_behind'],
];

/** Makes that node the master, and waits until every node says so: asked again as long as the answer is "not now". */
export async function promoteTo(cluster: TestCluster, target: TestNode): Promise<void> {
  await waitFor(
    `${target.name} to be the master everywhere`,
    async () => {
      if (await isMasterEverywhere(cluster, target)) return true;
      const { status, body } = await cluster.api(target).call('POST', '/api/v1/cluster/promote', {
        body: { node: target.name },
        idempotencyKey: randomUUID(),
      });
      if (status !== 200 && !NOT_NOW.includes(body.code ?? '')) {
        throw new Error(`promote: ${status} ${body.code} ${body.detail}`);
      }
      await untilMasterEverywhere(cluster, target, 5000);
      return true;
    },
    { timeoutMs: 60_000, everyMs: 500 },
  );
}

/** Heartbeats tell, once a second. */
export async function untilMasterEverywhere(
  cluster: TestCluster,
  { name }: { name: string },
  timeoutMs = 15_000,
): Promise<void> {
  await waitFor(
    `every node to know ${name} as master`,
    () => isMasterEverywhere(cluster, { name }),
    {
      timeoutMs,
      everyMs: 50,
    },
  );
}

async function isMasterEverywhere(
  cluster: TestCluster,
  { name }: { name: string },
): Promise<boolean> {
  const views = await Promise.all(cluster.nodes.map((node) => cluster.api(node).cluster()));
  return views.every(({ master }) => master === name);
}
