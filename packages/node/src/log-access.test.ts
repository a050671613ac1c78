import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { NatsLink } from '@countersign/cluster';
import { replaceMembers, signMembers } from '@countersign/identity';
import { createTestCluster } from '@countersign/identity/testing';
import { createClusterKeyFile, readKeyRing } from '@countersign/keys';
import { startTestNats, waitFor } from '@countersign/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { readLogAccess } from './log-access.ts';
import { watchIdentity } from './watch-identity.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'countersign-access-'))));
afterEach(() => rmSync(folder, { recursive: true }));

async function makeClusterKey() {
  const file = join(folder, 'cluster.key');
  createClusterKeyFile(file);
  return (await readKeyRing(file, null)).ring;
}

it('a node without an identity signs in with a password out of the cluster key', async () => {
  const clusterKey = await makeClusterKey();
  const { agent, worker, server } = readLogAccess({
    dataDirectory: folder,
    nodeName: 'node-1',
    clusterKey,
  });
  expect(agent).toMatchObject({ user: 'countersign' });
  expect(worker).toEqual(agent);
  expect(server).toEqual(agent);
});

it("refuses another node's identity by name", async () => {
  const clusterKey = await makeClusterKey();
  await createTestCluster([{ name: 'node-2', folder: join(folder, 'identity') }]);
  expect(() => readLogAccess({ dataDirectory: folder, nodeName: 'node-1', clusterKey })).toThrow(
    `${join(folder, 'identity')} is the identity of node-2, not node-1`,
  );
});

it('lets members in by their identities, and drops one as soon as a new list is written', async () => {
  const clusterKey = await makeClusterKey();
  const [first, second] = [join(folder, 'one'), join(folder, 'two')];
  const cluster = await createTestCluster([
    { name: 'node-1', folder: join(first, 'identity') },
    { name: 'node-2', folder: join(second, 'identity') },
  ]);
  const access = () => readLogAccess({ dataDirectory: first, nodeName: 'node-1', clusterKey });
  const other = readLogAccess({ dataDirectory: second, nodeName: 'node-2', clusterKey });
  const nats = await startTestNats({ servers: 1, access: () => access().server });
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const log = { info() {}, warn() {} };
  const links = [access().agent, access().worker, other.agent].map(
    (signIn) => new NatsLink({ ...signIn, servers, name: 'test', log }),
  );
  const reloads: Promise<void>[] = [];
  const watch = watchIdentity({
    dataDirectory: first,
    onChange: () => void reloads.push(nats.servers[0]!.reload(access().server)),
  });
  try {
    for (const link of links) expect(await link.waitUntilUp(15_000)).toBe(true);
    const members = cluster.members.members.filter(({ name }) => name === 'node-1');
    replaceMembers(
      join(first, 'identity'),
      signMembers(cluster.authority, { version: 2, members }),
    );
    await waitFor('the end of node-2', () => !links[2]!.isUp, { timeoutMs: 10_000 });
    expect(links.map(({ isUp }) => isUp)).toEqual([true, true, false]);
    expect(reloads).toHaveLength(1);
  } finally {
    watch.close();
    await Promise.all([...reloads, ...links.map((link) => link.close())]);
    await nats.stop();
  }
});

it('a member list that nobody of the cluster signed is refused', async () => {
  const clusterKey = await makeClusterKey();
  const own = join(folder, 'identity');
  const { members } = await createTestCluster([{ name: 'node-1', folder: own }]);
  const forged = JSON.stringify({ ...members, version: 2 });
  writeFileSync(join(own, 'members.json'), forged);
  expect(() => readLogAccess({ dataDirectory: folder, nodeName: 'node-1', clusterKey })).toThrow(
    /not signed by the cluster's CA/,
  );
});
