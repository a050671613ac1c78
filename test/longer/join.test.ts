import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import {
  createCertificateRequest,
  issueCertificate,
  readIdentity,
  readNodeCertificate,
  replaceCertificate,
} from '@countersign/identity';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { DIE_AT_STEP } from '../harness/kill-at-steps.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { promoteTo } from '../harness/promote.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad } from '../harness/workload.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const DAY_MS = 86_400_000;

let cluster: TestCluster;
let first: TestNode;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start({
    isFounded: true,
    later: ['node-2', 'node-3'],
    configure(config, name) {
      if (name !== 'node-1')
        return { ...config, clusterKeyFile: `${config.dataDirectory}/joined.key` };
      const own = config.logServers?.filter((one) => one.name === name);
      return { ...config, logServers: own };
    },
  });
  first = cluster.node('node-1');
  people = await enrolPeople(cluster.api(first), 'person', 6);
}, 120_000);
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a cluster founded by init', () => {
  it('grows to three log servers by join, while it verifies without a failure', async () => {
    const clients = [{ name: first.name, api: cluster.api(first) }];
    await using load = new VerificationLoad({ clients, people, everyMs: 250 });
    const startedAt = performance.now();
    for (const name of ['node-2', 'node-3']) {
      const folder = join(dirname(first.folder), name);
      const token = await makeToken();
      const joined = await runJoin(name, folder, token);
      expect(joined, joined.stderr).toMatchObject({ code: 0 });
      expect(existsSync(join(folder, 'joined.key'))).toBe(true);
      // Once is all that a token is good for.
      const again = join(dirname(first.folder), `thief-of-${name}`);
      mkdirSync(again);
      const stolen = await runJoin('node-9', again, token, `${again}/node.yaml`);
      expect(stolen.stderr).toContain('join_token_used');
      expect(existsSync(join(again, 'identity'))).toBe(false);
      cluster.startLater(name);
    }
    await Promise.all(cluster.nodes.map((node) => node.untilReady()));
    await waitFor(
      'three log servers',
      async () => (await cluster.api(first).cluster()).logServers.length === 3,
      // A move of the log that came to nothing is tried again after a minute.
      { timeoutMs: 120_000, everyMs: 200 },
    );
    await cluster.untilWhole();
    const grownMs = Math.round(performance.now() - startedAt);
    const { approved, degraded, failed, longestGapMs } = await load.stop();
    report('growth by join', { grownMs, approved, degraded, failed: failed.length, longestGapMs });
    expect(failed).toEqual([]);
    expect(approved).toBeGreaterThan(20);
    await cluster.untilDigestsEqual();
    const { stdout } = await runCli(cluster.node('node-3'), ['status']);
    expect(stdout).toContain('writes: 1 of 3 log servers may fail');
  });

  it('lets a machine in that was killed while it joined, and forgets it again', async () => {
    const folder = join(dirname(first.folder), 'node-4');
    mkdirSync(folder);
    const token = await makeToken();
    // When it has been answered, and before it has written down anything of that.
    const child = spawnJoin('node-4', folder, token, `${folder}/node.yaml`, {
      NODE_OPTIONS: `--import=${DIE_AT_STEP}`,
      COUNTERSIGN_TEST_DIE_AT: '1',
      COUNTERSIGN_TEST_DIE_PATH: 'log-layout.json',
    });
    expect(await once(child, 'exit')).toEqual([null, 'SIGKILL']);
    expect(existsSync(join(folder, 'identity.joining', 'request.json'))).toBe(true);
    expect(existsSync(join(folder, 'identity'))).toBe(false);
    const joined = await runJoin('node-4', folder, token, `${folder}/node.yaml`);
    expect(joined, joined.stderr).toMatchObject({ code: 0 });
    expect(readIdentity(join(folder, 'identity'))?.nodeName).toBe('node-4');

    await untilMembers(first, ['node-1', 'node-2', 'node-3', 'node-4']);
    const removed = await runCli(first, ['node', 'remove', 'node-4']);
    expect(removed, removed.stderr).toMatchObject({ code: 0 });
    for (const node of cluster.nodes) await untilMembers(node, ['node-1', 'node-2', 'node-3']);
  });

  it('renews the certificate of a node of which little is left', async () => {
    const node = cluster.node('node-3');
    const folder = join(node.folder, 'identity');
    await node.stop();
    const { keyPem, members } = readIdentity(folder)!;
    const { certificatePem } = await issueCertificate({
      authority: cluster.authority!,
      requestPem: await createCertificateRequest({ name: node.name, keyPem }),
      name: node.name,
      hosts: ['127.0.0.1'],
      otherNodes: members.members.map(({ name }) => name).filter((name) => name !== node.name),
      lifeMs: 900_000,
      nowMs: Date.now() - 640_000,
    });
    replaceCertificate(folder, certificatePem);
    node.start();
    await node.untilReady();
    const renewed = await waitFor(
      'another certificate',
      () => {
        const now = readIdentity(folder)!;
        const certificate = readNodeCertificate(now.certificatePem, now);
        return certificate.endsAtMs > Date.now() + 80 * DAY_MS ? certificate : null;
      },
      // What finds no master for a moment is tried again after a minute.
      { timeoutMs: 120_000, everyMs: 200 },
    );
    await waitFor(
      'its serial on the list of the others',
      () => {
        const list = readIdentity(join(first.folder, 'identity'))!.members.members;
        return list.some(({ certificateSerial }) => certificateSerial === renewed.serial);
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    await cluster.untilWhole();
  });

  it('shuts out a node that runs: it stops by itself and is not let in again', async () => {
    const [leaving, staying] = [cluster.node('node-3'), cluster.node('node-2')];
    await promoteTo(cluster, first);
    const clients = [first, staying].map((node) => ({ name: node.name, api: cluster.api(node) }));
    await using load = new VerificationLoad({ clients, people, everyMs: 250 });
    const refused = await runCli(first, ['node', 'remove', leaving.name]);
    expect(refused.stderr).toContain('--even-online');
    const removed = await runCli(first, ['node', 'remove', leaving.name, '--even-online']);
    expect(removed, removed.stderr).toMatchObject({ code: 0 });
    expect(removed.stdout).toContain(`countersign node replace ${leaving.name}`);
    const { supervisorPid } = leaving.pids;
    await waitFor('the end of the node', () => !isRunning(supervisorPid), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    leaving.start();
    const said = () => readFileSync(join(leaving.folder, 'logs', 'supervisor.log'), 'utf8');
    await waitFor('a word of why it does not start', () => said().includes('was removed from'), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    for (const node of [first, staying]) await untilMembers(node, ['node-1', 'node-2']);
    await waitFor(
      'a write without it',
      async () => {
        const user = { username: `after-${randomUUID()}` };
        return (
          (await cluster.api(staying).call('POST', '/api/v1/users', { body: user })).status === 201
        );
      },
      { timeoutMs: 40_000, everyMs: 500 },
    );
    const { failed, approved, longestGapMs } = await load.stop();
    report('a running node is removed', { approved, failed: failed.length, longestGapMs });
    expect(failed).toEqual([]);
  });
});

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}

async function makeToken(): Promise<string> {
  const { stdout, stderr } = await runCli(first, ['join-token', 'create']);
  const [token] = /cs_join_[\w-]+/.exec(stdout) ?? [];
  if (!token) throw new Error(stderr);
  return token;
}

function spawnJoin(
  name: string,
  folder: string,
  token: string,
  configFile = join(folder, 'node.yaml'),
  env: NodeJS.ProcessEnv = {},
) {
  const args = ['join', '--server', first.url, '--config', configFile, '--data', folder];
  return spawn(process.execPath, [CLI, ...args, '--name', name, '--host', '127.0.0.1'], {
    env: { ...process.env, COUNTERSIGN_JOIN_TOKEN: token, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
}

async function runJoin(...about: Parameters<typeof spawnJoin>) {
  const child = spawnJoin(...about);
  let stderr = '';
  child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()));
  const [code] = (await once(child, 'close')) as [number];
  return { code, stderr };
}

async function untilMembers(node: TestNode, names: string[]): Promise<void> {
  const file = join(node.folder, 'identity', 'members.json');
  await waitFor(
    `the members at ${node.name}`,
    () => {
      const { members } = JSON.parse(readFileSync(file, 'utf8')) as { members: { name: string }[] };
      return members.map(({ name }) => name).join() === names.join();
    },
    { timeoutMs: 30_000, everyMs: 100 },
  );
}
