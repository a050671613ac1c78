import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { permissionsOf, NatsLink, inboxPrefixOf, namesOf, readLast } from '@countersign/cluster';
import { readIdentity } from '@countersign/identity';
import { createTestCluster } from '@countersign/identity/testing';
import { startOperatorsNats, waitFor, type TestOperatorsNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad } from '../harness/workload.ts';

let nats: TestOperatorsNats;
let accounts: string;
let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  nats = await startOperatorsNats({ servers: 3 });
  cluster = await TestCluster.start({
    isSecured: true,
    configure: ({ logServers: _servers, ...config }) => ({ ...config, nats: natsOf() }),
    // What an operator does before he starts the nodes.
    async beforeStart([first]) {
      accounts = (await runCli(first!, ['nats-config', '--config', first!.configFile])).stdout;
      await nats.reload(accounts);
    },
  });
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 6);
  await cluster.untilDigestsEqual();
}, 120_000);
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await nats?.stop();
});

function natsOf() {
  const urls = nats.addresses.map((address) => `tls://${address}`);
  return { urls, authorityFile: nats.authorityFile! };
}

async function write(node: TestNode, username: string): Promise<boolean> {
  const request = { body: { username }, idempotencyKey: username };
  return (await cluster.api(node).call('POST', '/api/v1/users', request)).status === 201;
}

describe("three nodes whose log is in an operator's NATS of three servers", () => {
  it('run no nats-server, say so, and find nothing wrong', async () => {
    const [node] = cluster.nodes as [TestNode];
    for (const { pids, folder } of cluster.nodes) {
      expect(pids.natsPid).toBe(null);
      expect(existsSync(join(folder, 'nats'))).toBe(false);
    }
    const { stdout } = await runCli(node, ['status']);
    expect(stdout).toContain('3 of 3 servers of your own NATS up');
    expect(stdout).toContain('1 of 3 log servers may fail');
    const doctor = await runCli(node, ['doctor']);
    expect(doctor.stdout).toMatch(/your own NATS server 127.0.0.1:\d+ answers: nats-server 2/);
    expect(doctor.code, doctor.stdout).toBe(0);
    const forced = await runCli(node, ['promote', node.name, '--force', '--yes']);
    expect(forced.code).toBe(1);
    expect(`${forced.stdout}${forced.stderr}`).toContain('start its servers again');
  });

  it('go on when one of its servers is killed: every verification, and writes soon', async () => {
    const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
    await using load = new VerificationLoad({ clients, people, everyMs: 250, retry: true });
    const killedAt = performance.now();
    await nats.kill(0);
    const [node] = cluster.nodes as [TestNode];
    await waitFor('a write', () => write(node, 'after-the-kill'), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    const writesAfterMs = Math.round(performance.now() - killedAt);
    await nats.restart(0);
    await cluster.untilWhole();
    const { approved, degraded, failed, longestGapMs } = await load.stop();
    report("an operator's NATS server killed", { writesAfterMs, approved, degraded, longestGapMs });
    expect(failed).toEqual([]);
    expect(approved).toBeGreaterThan(10);
    await cluster.untilDigestsEqual();
  }, 180_000);

  it("do not let a worker's keys write a change, nor read the change log", async () => {
    const { nodeName, workerSeed, clusterId } = readIdentity(
      join(cluster.nodes[0]!.folder, 'identity'),
    )!;
    await using link = new NatsLink({
      seed: workerSeed,
      inboxPrefix: inboxPrefixOf(nodeName, 'worker'),
      tls: { authorityFile: nats.authorityFile! },
      streamsOf: clusterId,
      servers: nats.addresses,
      name: 'thief',
      log: { info() {}, warn() {} },
    });
    const { changes, change, leaseKey } = namesOf(1);
    for (const subject of [change('user', 'mallory'), leaseKey]) {
      const forged = link.request(subject, 'forged', { timeoutMs: 2000 });
      await expect(forged).rejects.toThrow();
    }
    // The server that was killed is back a moment ago, and may not answer yet.
    const told = await waitFor(
      'word of what stands there',
      async () => {
        const { kind } = await readLast(link, changes, change('user', 'mallory'), 5000);
        return kind === 'silent' ? null : kind;
      },
      { timeoutMs: 30_000, everyMs: 200 },
    );
    expect(told).toBe('absent');
    const consumer = link.request(`$JS.API.CONSUMER.CREATE.${changes}`, '{}', { timeoutMs: 2000 });
    await expect(consumer).rejects.toThrow();
    expect(permissionsOf('worker', nodeName).publish).not.toContain('change.>');
  });

  it('serve from their databases while it is away, also after a restart', async () => {
    const node = cluster.nodes[2]!;
    await node.stop();
    for (const index of [0, 1, 2]) await nats.kill(index);
    node.start();
    await node.untilReady();
    expect(readFileSync(join(node.folder, 'console.log'), 'utf8')).toContain(
      'no server of nats.urls answers',
    );
    const [, , person] = people as [Person, Person, Person];
    const verify = async () => {
      const body = { username: person.username, code: person.nextCode() };
      return (await cluster.api(node).verify(body)).body;
    };
    expect(await verify()).toMatchObject({ status: 'approved', degraded: true });
    for (const index of [0, 1, 2]) await nats.restart(index);
    await cluster.untilWhole();
    const isJudgedByQuorum = async () => {
      const { status, degraded } = await verify();
      expect(status).toBe('approved');
      return !degraded;
    };
    await waitFor('verification with the quorum', isJudgedByQuorum, {
      timeoutMs: 20_000,
      everyMs: 200,
    });
    await cluster.untilDigestsEqual();
  }, 180_000);

  it('are the only cluster there: another one is refused by name', async () => {
    const folder = join(dirname(cluster.nodes[0]!.folder), 'stranger');
    mkdirSync(folder, { mode: 0o711 });
    await createTestCluster([{ name: 'stranger', folder: join(folder, 'identity') }]);
    const { clusterId } = readIdentity(join(cluster.nodes[0]!.folder, 'identity'))!;
    const configFile = join(folder, 'node.yaml');
    const config = parse(readFileSync(cluster.nodes[2]!.configFile, 'utf8'));
    const own = { ...config, name: 'stranger', dataDirectory: folder };
    const clusterKeyFile = join(folder, 'cluster.key');
    writeFileSync(clusterKeyFile, readFileSync(config.clusterKeyFile), { mode: 0o600 });
    const http = { port: 1 };
    writeFileSync(configFile, JSON.stringify({ ...own, clusterKeyFile, http, url: undefined }));
    const node = cluster.nodes[2]!;
    const unknown = await runCli(node, ['node', '--config', configFile]);
    expect(unknown.stderr).toMatch(/does not let the agent of stranger in: enter there what/);
    // The same account for two clusters.
    const theirs = await runCli(node, ['nats-config', '--config', configFile]);
    const users = /users: \[\n([\s\S]*)\n {2}\]/.exec(theirs.stdout)![1]!;
    await nats.reload(accounts.replace('users: [', `users: [\n${users}`));
    const refused = await runCli(node, ['node', '--config', configFile]);
    expect(refused.stderr).toContain(`belongs to the cluster ${clusterId}`);
    expect(refused.code).toBe(1);
  }, 180_000);
});
