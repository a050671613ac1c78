import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdirSync, openSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { inboxPrefixOf, namesOf, NatsLink } from '@countersign/cluster';
import {
  createCertificateRequest,
  issueCertificate,
  readIdentity,
  readNodeCertificate,
  replaceCertificate,
} from '@countersign/identity';
import { readRunFile, writeNodeConfig, type NodeConfigInput } from '@countersign/node';
import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { isAlive } from '../harness/processes.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { spawnBound } from '../harness/spawn-bound.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const MIB = 1 << 20;
const DAY_MS = 86_400_000;
const limits = { changesBytes: 256 * MIB, statesBytes: 128 * MIB, eventsBytes: 64 * MIB };
const soon = { timeoutMs: 40_000, everyMs: 200 };
/** A move of the log that came to nothing is tried again after a minute, and so is a renewal. */
const aMove = { timeoutMs: 120_000, everyMs: 200 };

type ClusterWithWitnesses = { witnesses?: { certificateExpiresAt: string }[] };
type Server = NonNullable<NodeConfigInput['logServers']>[number];

let cluster: TestCluster;
let witness: Witness;
let people: Person[];
let servers: Record<'node-1' | 'node-2' | 'witness-1', Server>;

beforeAll(async () => {
  const names = ['node-1', 'node-2', 'witness-1'] as const;
  const ports = await takeFreePorts(2 * names.length);
  const entries = names.map((name, i) => {
    const [clientPort, routePort] = ports.slice(2 * i) as [number, number];
    return [name, { name, host: '127.0.0.1', clientPort, routePort }] as const;
  });
  servers = Object.fromEntries(entries) as typeof servers;
  cluster = await TestCluster.start({
    nodes: 2,
    isFounded: true,
    later: ['node-2'],
    configure(config, name) {
      if (name === 'node-1') return { ...config, logServers: [servers['node-1']] };
      const clusterKeyFile = `${config.dataDirectory}/joined.key`;
      return { ...config, clusterKeyFile, logServers: [servers['node-1'], servers['node-2']] };
    },
  });
  people = await enrolPeople(cluster.api(cluster.node('node-1')), 'person', 1);
  witness = new Witness(join(cluster.folder, 'witness-1'));
}, 120_000);
afterAll(async () => {
  await witness?.end();
  await cluster?.[Symbol.asyncDispose]();
});

describe('two nodes and a witness', () => {
  it('are three log servers as soon as all have joined', async () => {
    const first = cluster.node('node-1');
    await Promise.all([
      letIn('node-2', ['--config', join(cluster.folder, 'node-2', 'node.yaml')], []),
      letIn('witness-1', ['--config', witness.configFile], ['--witness']),
    ]);
    const expiring = await leaveLittleOf(join(witness.folder, 'identity'));
    witness.start();
    const startedAt = performance.now();
    const node = cluster.startLater('node-2');
    await waitFor('the witness to run', () => witness.console().includes('waits'), soon);
    const second = runCli(first, ['witness', '--config', witness.configFile]);
    await node.untilReady();
    await waitFor('three log servers', () => isWhole(first), aMove);
    await cluster.untilWhole();
    report('two nodes and a witness', { wholeMs: Math.round(performance.now() - startedAt) });
    const stdout = await waitFor(
      'a good status',
      async () => {
        const { stdout: text } = await runCli(first, ['status']);
        return text.startsWith('OK') ? text : null;
      },
      soon,
    );
    expect(stdout).toContain('writes: 1 of 3 log servers may fail');
    expect(stdout).toContain('witness: witness-1 runs a log server, certificate until');
    expect(stdout).toContain('verification: 1 of 2 nodes may fail');
    // By a master, through nodes, without a restart.
    const renewed = await waitFor(
      'another certificate',
      () => {
        const identity = readIdentity(join(witness.folder, 'identity'))!;
        const now = readNodeCertificate(identity.certificatePem, identity);
        return now.endsAtMs > expiring + DAY_MS ? now : null;
      },
      aMove,
    );
    await waitFor(
      'word of it',
      async () => {
        const { witnesses } = (await cluster.api(first).cluster()) as ClusterWithWitnesses;
        return witnesses?.[0]?.certificateExpiresAt === new Date(renewed.endsAtMs).toISOString();
      },
      soon,
    );
    expect((await second).stderr).toContain('is in use by another supervisor');
  });

  it('let the witness see and say nothing of the log', async () => {
    const master = await cluster.master();
    const { incarnation } = await cluster.api(master).cluster();
    const names = namesOf(incarnation.number);
    const folder = join(witness.folder, 'identity');
    await using link = new NatsLink({
      seed: readIdentity(folder)!.supervisorSeed,
      inboxPrefix: inboxPrefixOf('witness-1', 'witness'),
      tls: {
        authorityFile: join(folder, 'ca.pem'),
        certificateFile: join(folder, 'node.pem'),
        keyFile: join(folder, 'node.key'),
      },
      servers: [`127.0.0.1:${servers[master.name as 'node-1'].clientPort}`],
      name: 'thief',
      log: { info() {}, warn() {} },
    });
    expect(await link.waitUntilUp(15_000)).toBe(true);
    const mayAsk = await link.request('$JS.API.STREAM.INFO.KV_CLUSTER', '', { timeoutMs: 5000 });
    expect(mayAsk.json<{ config?: { name: string } }>().config?.name).toBe('KV_CLUSTER');
    const subjects = [
      names.change('user', 'mallory'),
      names.leaseKey,
      names.state('mallory'),
      `$JS.API.STREAM.MSG.GET.${names.states}`,
      `$JS.API.STREAM.MSG.GET.${names.changes}`,
      `$JS.API.CONSUMER.CREATE.${names.changes}`,
    ];
    const done: string[] = [];
    // An epoch may end by itself, but none ends each time that the witness sends something.
    await waitFor(
      'a try that has changed nothing',
      async () => {
        const before = await cluster.api(master).cluster();
        const tries = subjects.map((subject) => link.request(subject, '{}', { timeoutMs: 1500 }));
        const outcomes = await Promise.allSettled(tries);
        done.push(...subjects.filter((_, i) => outcomes[i]!.status === 'fulfilled'));
        const after = await cluster.api(master).cluster();
        return after.master === before.master && after.epoch === before.epoch;
      },
      soon,
    );
    expect(done).toEqual([]);
  });

  it('go on without the witness, which catches up when it is back', async () => {
    const first = cluster.node('node-1');
    await witness.killAll();
    await verifyEverywhere();
    await waitFor('a write', () => wasWritten(first, 'without-witness'), soon);
    await waitFor(
      'word of it',
      async () => {
        const { stdout } = await runCli(first, ['status']);
        return stdout.includes('the witness witness-1 is OFFLINE');
      },
      soon,
    );
    witness.start();
    await waitFor('three log servers', () => isWhole(first), soon);
    await cluster.untilWhole();
  });

  it('have a master after one of them is killed, by the vote of the witness', async () => {
    const master = await cluster.master();
    const other = cluster.others(master.name)[0]!;
    const struckAt = performance.now();
    await master.killAll();
    expect(await verifyAt(other)).toMatchObject({ status: 'approved' });
    const isMaster = async () => (await cluster.api(other).cluster()).master === other.name;
    await waitFor('the next master', isMaster, soon);
    await waitFor('a write', () => wasWritten(other, 'after-failover'), soon);
    report('a node of two is killed', {
      writesAfterMs: Math.round(performance.now() - struckAt),
    });
    const isJudgedByQuorum = async () => {
      const { degraded } = (await verifyAt(other)) as { degraded?: boolean };
      return degraded === false;
    };
    await waitFor('verification with the quorum', isJudgedByQuorum, soon);
    const isQuorumTold = async () => (await cluster.api(other).cluster()).quorum;
    await waitFor('the quorum to be told', isQuorumTold, soon);
    expect((await cluster.api(other).cluster()).logReplicas).toBe(3);
    master.start();
    await master.untilReady();
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
  });

  it('shut out the witness when it is removed, and move the log to a lone server', async () => {
    const master = await cluster.master();
    const running = await runCli(master, ['node', 'remove', 'witness-1']);
    expect(running.stderr).toContain('is running: stop it for good first');
    await witness.stop();
    expect(witness.console()).toContain('witness-1 has stopped');
    await waitFor(
      'it to be removed',
      async () => {
        const { code } = await runCli(master, ['node', 'remove', 'witness-1']);
        return code === 0;
      },
      soon,
    );
    await waitFor(
      'a lone log server',
      async () => {
        const view = await cluster.api(master).cluster();
        return view.logReplicas === 1 && view.quorum && view.master !== null;
      },
      aMove,
    );
    const members = readIdentity(join(master.folder, 'identity'))!.members.members;
    expect(members.map(({ name }) => name)).toEqual(['node-1', 'node-2']);
    await waitFor('a write', () => wasWritten(master, 'after-removal'), soon);
    await verifyEverywhere();
  });
});

/** The process of `countersign witness`. */
class Witness {
  readonly folder: string;
  readonly configFile: string;
  #child: ChildProcess | null = null;

  constructor(folder: string) {
    this.folder = folder;
    this.configFile = join(folder, 'node.yaml');
    mkdirSync(folder, { mode: 0o711 });
    const logServers = Object.values(servers);
    writeNodeConfig(this.configFile, {
      name: 'witness-1',
      dataDirectory: folder,
      logServers,
      limits,
    });
  }

  start(): void {
    const console = openSync(join(this.folder, 'console.log'), 'a', 0o600);
    this.#child = spawnBound([CLI, 'witness', '--config', this.configFile], {
      stdio: ['ignore', console, console],
      env: { ...process.env, GOMAXPROCS: '1' },
    });
    closeSync(console);
  }

  console(): string {
    return readFileSync(join(this.folder, 'console.log'), 'utf8');
  }

  async killAll(): Promise<void> {
    const { supervisorPid, natsPid } = readRunFile(join(this.folder, 'run.json'))!;
    this.#child!.kill('SIGKILL');
    const isGone = () => ![supervisorPid, natsPid].some((pid) => pid !== null && isAlive(pid));
    await waitFor('the witness to be gone', isGone, { timeoutMs: 10_000 });
  }

  async stop(): Promise<void> {
    const ended = once(this.#child!, 'exit');
    this.#child!.kill('SIGTERM');
    expect(await ended).toEqual([0, null]);
  }

  async end(): Promise<void> {
    if (this.#child?.exitCode === null && this.#child.signalCode === null) await this.killAll();
  }
}

async function letIn(name: string, where: string[], more: string[]): Promise<void> {
  const first = cluster.node('node-1');
  const made = await runCli(first, ['join-token', 'create', ...more]);
  const [token] = /cs_join_[\w-]+/.exec(made.stdout) ?? [];
  if (!token) throw new Error(made.stderr);
  const about = ['--server', first.url, '--name', name, '--host', '127.0.0.1'];
  const joined = await runCli(first, ['join', token, ...about, ...where, ...more]);
  expect(joined, joined.stderr).toMatchObject({ code: 0 });
}

/** Puts a certificate in the place of a witness's that is due for renewal at once; until when it is good. */
async function leaveLittleOf(folder: string): Promise<number> {
  const { keyPem, nodeName: name } = readIdentity(folder)!;
  const { certificatePem, expiresAt } = await issueCertificate({
    authority: cluster.authority!,
    requestPem: await createCertificateRequest({ name, keyPem }),
    ...{ name, hosts: ['127.0.0.1'], otherNodes: [] },
    lifeMs: 900_000,
    nowMs: Date.now() - 640_000,
  });
  replaceCertificate(folder, certificatePem);
  return Date.parse(expiresAt);
}

async function isWhole(asked: TestNode): Promise<boolean> {
  const { logServers, quorum } = await cluster.api(asked).cluster();
  return quorum && logServers.length === 3 && logServers.every(({ online }) => online);
}

async function wasWritten(node: TestNode, username: string): Promise<boolean> {
  const write = { body: { username }, idempotencyKey: username };
  return (await cluster.api(node).call('POST', '/api/v1/users', write)).status === 201;
}

async function verifyAt(node: TestNode): Promise<unknown> {
  const [person] = people as [Person];
  const body = { username: person.username, code: person.nextCode() };
  return (await cluster.api(node).verify(body)).body;
}

async function verifyEverywhere(): Promise<void> {
  for (const node of cluster.nodes) {
    expect(await verifyAt(node)).toMatchObject({ status: 'approved' });
  }
}
