import { join } from 'node:path';
import { NatsLink, readStreamState } from '@countersign/cluster';
import { deriveKeys, passwordFor, readClusterKey } from '@countersign/keys';
import { readNodeConfig } from '@countersign/node';
import { waitFor } from '@countersign/testing';
import type { TestCluster, TestNode } from './cluster.ts';

/** The node whose nats-server leads this stream now, e.g. `KV_STATES-1`. */
export async function findStreamLeader(cluster: TestCluster, stream: string): Promise<TestNode> {
  await using link = connectToLog(cluster);
  const leader = await waitFor(
    `a leader of ${stream}`,
    async () => {
      const state = await readStreamState(link, stream, 1000);
      return state?.hasLeader ? state.servers[0]?.name : null;
    },
    { timeoutMs: 30_000, everyMs: 100 },
  );
  return cluster.node(leader);
}

/** Waits until the stream has a leader and every log server is up to date. */
export async function untilStreamCurrent(cluster: TestCluster, stream: string): Promise<void> {
  await using link = connectToLog(cluster);
  await waitFor(
    `all servers of ${stream}`,
    async () => {
      const state = await readStreamState(link, stream, 1000);
      return state?.hasLeader && state.servers.every(({ isCurrent }) => isCurrent);
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
}

/** To whichever of these nodes' log servers answers, round all relays. */
export function connectToLog(cluster: TestCluster, nodes = cluster.nodes): NatsLink {
  const configs = nodes.map((node) => readNodeConfig(join(node.folder, 'node.yaml')));
  const servers = configs.flatMap(({ name, logServers }) =>
    logServers
      .filter((server) => server.name === name)
      .map(({ host, clientPort }) => `${host}:${clientPort}`),
  );
  // The first one, from which the password comes for ever: the nodes' own files change with the key.
  const clusterKey = readClusterKey(join(cluster.folder, 'cluster.key'));
  return new NatsLink({
    servers,
    user: 'countersign',
    password: passwordFor(deriveKeys(clusterKey, ['nats-password'])['nats-password']),
    name: 'test',
    log: { info: () => undefined, warn: () => undefined },
  });
}
