import type { ChildProcess } from 'node:child_process';
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { getCACertificates, setDefaultCACertificates } from 'node:tls';
import { fileURLToPath } from 'node:url';
import type { Authority } from '@countersign/identity';
import { createTestCluster } from '@countersign/identity/testing';
import { createClusterKeyFile, deriveKeys, open, readClusterKey } from '@countersign/keys';
import {
  foundCluster,
  readRunFile,
  writeNodeConfig,
  type NodeConfigInput,
  type NodePids,
} from '@countersign/node';
import { takeFreePorts, waitFor } from '@countersign/testing';
import type { Dispatcher } from 'undici';
import { History } from '../history/history.ts';
import { ApiClient, type ClusterReply } from './api-client.ts';
import { isAlive, processesIn, signal } from './processes.ts';
import { Relay } from './relay.ts';
import { spawnBound } from './spawn-bound.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
// Engines run as another user when the tests run as root, so not below a private folder.
const ROOT = process.env.COUNTERSIGN_TEST_FOLDER ?? '/var/tmp';

export type ClusterOptions = {
  nodes?: number;
  workers?: number;
  /** Put a relay into every link between two nodes. */
  relays?: boolean;
  /** Called for each node's empty folder, before anything lies in it. */
  prepare?: (folder: string, name: string) => void;
  /** Called when all is laid out and nothing runs yet. */
  beforeStart?: (nodes: TestNode[]) => Promise<void>;
  /** Called at the end, also of a start that failed, when nothing runs in those folders any more. */
  release?: () => void;
  /** Nodes that a test starts itself, with {@link TestCluster.startLater}. */
  later?: string[];
  configure?: (config: NodeConfigInput, name: string) => NodeConfigInput;
  /** The nodes have certificates, which this process trusts. */
  isHttps?: boolean;
  /** The nodes have identities of one cluster, as `init` and `join` make them: everything is TLS. */
  isSecured?: boolean;
  /** The first node is founded as `init` does it; the others are for a test to let in. */
  isFounded?: boolean;
  /** The command line of another copy of the product. */
  programOf?: (name: string) => string | undefined;
  /** Added to the environment of a node's processes. */
  environmentOf?: (folder: string, name: string) => NodeJS.ProcessEnv;
};

export type NodePart = 'agent' | 'workers' | 'nats' | 'postgres' | 'supervisor' | 'everything';

/** One node of a test cluster: real processes started by `countersign node`. */
export class TestNode {
  readonly name: string;
  readonly url: string;
  readonly folder: string;
  readonly #configFile: string;
  readonly #history: History;
  readonly #options: ClusterOptions;
  #child: ChildProcess | null = null;

  constructor(
    about: { name: string; url: string; folder: string; configFile: string },
    history: History,
    options: ClusterOptions,
  ) {
    this.name = about.name;
    this.url = about.url;
    this.folder = about.folder;
    this.#configFile = about.configFile;
    this.#history = history;
    this.#options = options;
  }

  /** `env` is for what lies outside the product, e.g. a clock of its own. */
  start(env: NodeJS.ProcessEnv = {}): void {
    const console = openSync(join(this.folder, 'console.log'), 'a', 0o600);
    const program = this.#options.programOf?.(this.name) ?? CLI;
    this.#child = spawnBound([program, 'node', '--config', this.#configFile], {
      stdio: ['ignore', console, 'inherit'],
      env: {
        ...process.env,
        // Three log servers share these cores: two threads each would only make room for a race at their start.
        GOMAXPROCS: '1',
        ...this.#options.environmentOf?.(dirname(this.folder), this.name),
        ...env,
      },
    });
    closeSync(console);
  }

  get pids(): NodePids {
    const pids = readRunFile(join(this.folder, 'run.json'));
    if (!pids) throw new Error(`${this.name} does not run`);
    return pids;
  }

  get allPids(): number[] {
    const { supervisorPid, agentPid, workerPids, natsPid, postgresPid } = this.pids;
    return [supervisorPid, agentPid, ...workerPids, natsPid, postgresPid].filter(
      (pid) => pid !== null,
    );
  }

  /**
   * Kills or stops one part of it and notes that in the history, until all is whole again. `sides` are those that
   * cannot reach each other then.
   */
  strike(part: NodePart, name: 'SIGKILL' | 'SIGSTOP', sides = [[this.name]]): { end(): void } {
    const { pids } = this;
    const struck = {
      agent: [pids.agentPid],
      workers: pids.workerPids,
      nats: [pids.natsPid],
      postgres: [pids.postgresPid],
      supervisor: [pids.supervisorPid],
      everything: this.allPids,
    }[part];
    const canVerify = part === 'agent' || part === 'nats';
    // Whoever hangs answers no asks in time; what died is known to be gone.
    const isApart = name === 'SIGSTOP' && part !== 'agent';
    const fault = this.#history.beginFault(`${this.name}: ${part} ${name}`, {
      nodes: [this.name],
      cannotVerify: canVerify ? [] : [this.name],
      sides: isApart ? sides : null,
    });
    signal(struck, name);
    return fault;
  }

  /** kill -9 of everything at once: the machine is gone. */
  async killAll(): Promise<void> {
    const pids = this.allPids;
    this.#noteDown('killed -9');
    signal(pids, 'SIGKILL');
    await waitFor(`${this.name} to be gone`, () => pids.every((pid) => !isAlive(pid)), {
      timeoutMs: 10_000,
    });
  }

  /** SIGTERM; resolves when everything of it has ended. */
  async stop(): Promise<void> {
    if (!this.#child || this.#child.exitCode !== null || this.#child.signalCode !== null) return;
    this.#noteDown('stopped');
    const child = this.#child;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    await ended;
  }

  /** A new disk: only the configuration, the cluster's key and the identity are left. The node must not run. */
  deleteData(): void {
    for (const name of readdirSync(this.folder)) {
      if (['node.yaml', 'cluster.key', 'identity', 'console.log'].includes(name)) continue;
      rmSync(join(this.folder, name), { recursive: true, force: true });
    }
  }

  /** A new machine: only the configuration is left. The node must not run. */
  deleteEverything(): void {
    for (const name of readdirSync(this.folder)) {
      if (name === 'node.yaml') continue;
      rmSync(join(this.folder, name), { recursive: true, force: true });
    }
  }

  get configFile(): string {
    return this.#configFile;
  }

  /** kill -9 of the supervisor, which takes everything of the node with it: how a test ends, not a fault. */
  async end(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const pids = readRunFile(join(this.folder, 'run.json')) ? this.allPids : [];
    child.kill('SIGKILL');
    await waitFor(
      `${this.name} to end`,
      () => !pids.some(isAlive) && processesIn(this.folder).length === 0,
      { timeoutMs: 10_000 },
    );
  }

  #noteDown(how: string): void {
    const what = `${this.name} ${how}`;
    this.#history.beginFault(what, { nodes: [this.name], cannotVerify: [this.name] });
  }

  async untilReady(timeoutMs = 60_000): Promise<void> {
    await waitFor(
      `${this.name} to be ready`,
      async () => (await fetch(`${this.url}/readyz`, { signal: AbortSignal.timeout(2000) })).ok,
      { timeoutMs, everyMs: 100 },
    );
  }

  log(part: string): string {
    return readFileSync(join(this.folder, 'logs', `${part}.log`), 'utf8');
  }
}

/** A whole cluster of real processes on loopback. */
export class TestCluster implements AsyncDisposable {
  readonly folder: string;
  /** Those that belong to it now. */
  readonly nodes: TestNode[];
  readonly relays: { from: string; to: string; relay: Relay }[];
  /** What clients and faults did. */
  readonly history: History;
  apiKey = '';
  /** Of a secured cluster: what signs its certificates and member lists. */
  readonly authority: Authority | null;
  readonly #later: TestNode[];
  readonly #gone: TestNode[] = [];
  readonly #release: (() => void) | undefined;

  private constructor(
    about: Pick<TestCluster, 'folder' | 'nodes' | 'relays' | 'history' | 'authority'> & {
      later: TestNode[];
      release: (() => void) | undefined;
    },
  ) {
    this.#release = about.release;
    this.folder = about.folder;
    this.nodes = about.nodes;
    this.#later = about.later;
    this.relays = about.relays;
    this.history = about.history;
    this.authority = about.authority;
  }

  static async start(options: ClusterOptions = {}): Promise<TestCluster> {
    const cluster = await TestCluster.#layOut(options);
    try {
      await options.beforeStart?.(cluster.nodes);
      for (const node of cluster.nodes) node.start();
      await Promise.all(cluster.nodes.map((node) => node.untilReady()));
      cluster.apiKey = await waitFor('the first API key', () => cluster.#readApiKey(), {
        timeoutMs: 60_000,
        everyMs: 100,
      });
      await cluster.untilWhole();
      return cluster;
    } catch (error) {
      await cluster[Symbol.asyncDispose]();
      throw error;
    }
  }

  static async #layOut(options: ClusterOptions): Promise<TestCluster> {
    const count = options.nodes ?? 3;
    const folder = mkdtempSync(join(ROOT, 'countersign-test-'));
    // mkdtemp makes it 0700, and the engines' user has to pass.
    rmSync(folder, { recursive: true });
    mkdirSync(folder, { mode: 0o711 });
    const names = Array.from({ length: count }, (_, i) => `node-${i + 1}`);
    const ports = await takeFreePorts(count * 3);
    const servers = names.slice(0, count < 3 ? 1 : 3).map((name, i) => ({
      name,
      host: '127.0.0.1',
      clientPort: ports[count + i]!,
      routePort: ports[2 * count + i]!,
    }));
    let authority = options.isSecured ? await makeIdentities(folder, names) : null;
    const keyFile = join(folder, 'cluster.key');
    createClusterKeyFile(keyFile);
    const relays: TestCluster['relays'] = [];
    const nodes: TestNode[] = [];
    const history = new History(join(folder, 'history.jsonl'));
    for (const [i, name] of names.entries()) {
      const logServers: typeof servers = [];
      for (const server of servers) {
        if (!options.relays || server.name === name) logServers.push(server);
        else logServers.push(await relayTo(server, name, relays));
      }
      const dataDirectory = join(folder, name);
      mkdirSync(dataDirectory, { mode: 0o711, recursive: true });
      options.prepare?.(dataDirectory, name);
      const clusterKeyFile = join(dataDirectory, 'cluster.key');
      writeFileSync(clusterKeyFile, readFileSync(keyFile), { mode: 0o600 });
      const isTls = options.isHttps || options.isSecured || options.isFounded;
      const scheme = isTls ? 'https' : 'http';
      const url = `${scheme}://127.0.0.1:${ports[i]}`;
      const config: NodeConfigInput = {
        name,
        dataDirectory,
        clusterKeyFile,
        url,
        http: { port: ports[i]! },
        workers: options.workers ?? 1,
        logServers,
        limits: { changesBytes: 256 << 20, statesBytes: 128 << 20, eventsBytes: 64 << 20 },
      };
      const configFile = join(dataDirectory, 'node.yaml');
      const configured = options.configure?.(config, name) ?? config;
      writeNodeConfig(configFile, configured);
      const about = { name, url: configured.url!, folder: dataDirectory, configFile };
      nodes.push(new TestNode(about, history, options));
    }
    if (options.isFounded) authority = await found(nodes[0]!, keyFile);
    const isLater = ({ name }: TestNode) => options.later?.includes(name) ?? false;
    return new TestCluster({
      folder,
      nodes: nodes.filter((node) => !isLater(node)),
      later: nodes.filter(isLater),
      relays,
      history,
      authority,
      release: options.release,
    });
  }

  /** Starts a node that was left out so far; it belongs to the cluster from here on. */
  startLater(name: string): TestNode {
    const node = this.#later.find((one) => one.name === name);
    if (!node) throw new Error(`${name} is not waiting`);
    this.#later.splice(this.#later.indexOf(node), 1);
    this.nodes.push(node);
    node.start();
    return node;
  }

  /** From here on a node is not expected any more. */
  forget(node: TestNode): void {
    this.nodes.splice(this.nodes.indexOf(node), 1);
    this.#gone.push(node);
  }

  node(name: string): TestNode {
    const found = this.nodes.find((node) => node.name === name);
    if (!found) throw new Error(`no ${name}`);
    return found;
  }

  /** All nodes but these. */
  others(...names: string[]): TestNode[] {
    return this.nodes.filter((node) => !names.includes(node.name));
  }

  api(node: TestNode, dispatcher?: Dispatcher): ApiClient {
    const { apiKey, history } = this;
    return new ApiClient(node, { apiKey, history, ...(dispatcher && { dispatcher }) });
  }

  /** As somebody else with a key of their own. */
  apiWith(node: TestNode, apiKey: string): ApiClient {
    return new ApiClient(node, { apiKey, history: this.history });
  }

  async master(asked = this.nodes): Promise<TestNode> {
    const name = await waitFor(
      'a master',
      async () => {
        for (const node of asked) {
          const view = await this.api(node)
            .cluster()
            .catch(() => null);
          if (view?.master) return view.master;
        }
        return null;
      },
      { timeoutMs: 30_000, everyMs: 50 },
    );
    return this.node(name);
  }

  /** Cuts every relay between this node and the others, both ways. */
  cutOff(name: string): void {
    this.history.beginFault(`${name} cut off`, { nodes: [name], sides: [[name]] });
    for (const link of this.#linksOf(name)) link.relay.cut();
  }

  heal(name: string): void {
    for (const link of this.#linksOf(name)) link.relay.heal();
  }

  /** Waits until all nodes stand at one revision with one digest; returns that view. */
  async untilDigestsEqual(timeoutMs = 30_000): Promise<ClusterReply> {
    return waitFor(
      'equal digests on all nodes',
      async () => {
        const view = await this.api(this.nodes[0]!).cluster();
        const isEqual =
          view.nodes.length === this.nodes.length &&
          view.nodes.every(
            (node) =>
              node.online &&
              node.digestComparable &&
              node.revision === view.nodes[0]!.revision &&
              node.digest === view.nodes[0]!.digest,
          );
        return isEqual ? view : null;
      },
      { timeoutMs, everyMs: 200 },
    );
  }

  /** Waits until nothing is wrong any more as every node sees it; returns the master. */
  async untilWhole(timeoutMs = 60_000): Promise<TestNode> {
    const name = await waitFor(
      'a whole cluster',
      async () => {
        const views = await Promise.all(this.nodes.map((node) => this.api(node).cluster()));
        const wrong = views.flatMap((view) => whatIsWrong(view));
        if (new Set(views.map((view) => view.master)).size > 1) wrong.push('masters differ');
        if (wrong.length > 0) throw new Error(wrong.join('; '));
        return views[0]!.master;
      },
      { timeoutMs, everyMs: 100 },
    );
    this.history.endFaults();
    return this.node(name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([...this.nodes, ...this.#gone].map((node) => node.end()));
    await Promise.all(this.relays.map(({ relay }) => relay.close()));
    if (process.env.COUNTERSIGN_KEEP) return;
    this.#release?.();
    rmSync(this.folder, { recursive: true, force: true });
  }

  #linksOf(name: string) {
    return this.relays.filter(({ from, to }) => from === name || to === name);
  }

  #readApiKey(): string | null {
    for (const node of this.nodes) {
      try {
        return readFileSync(join(node.folder, 'first-api-key'), 'utf8').trim();
      } catch {
        // Another node was the first master.
      }
    }
    return null;
  }
}

/** From here on this process trusts what they show. */
async function makeIdentities(folder: string, names: string[]): Promise<Authority> {
  for (const name of names) mkdirSync(join(folder, name), { mode: 0o711 });
  const { authority } = await createTestCluster(
    names.map((name) => ({ name, folder: join(folder, name, 'identity') })),
  );
  setDefaultCACertificates([...getCACertificates('default'), authority.certificatePem]);
  return authority;
}

/** By `countersign init`; its CA's key is opened before its first start gives it to the log alone. */
async function found({ name, folder }: TestNode, keyFile: string): Promise<Authority> {
  const { clusterId } = await foundCluster({
    name,
    hosts: ['127.0.0.1'],
    configFile: join(folder, 'node.yaml'),
    dataDirectory: folder,
    httpPort: 1,
    nats: null,
  });
  const identity = join(folder, 'identity');
  const { authority } = JSON.parse(readFileSync(join(identity, 'founding.json'), 'utf8')) as {
    authority: { sealedKey: string };
  };
  const key = deriveKeys(readClusterKey(keyFile), ['authority']).authority;
  const sealed = Buffer.from(authority.sealedKey, 'base64');
  const keyPem = open(key, sealed, `authority/${clusterId}`).toString();
  const certificatePem = readFileSync(join(identity, 'ca.pem'), 'utf8');
  setDefaultCACertificates([...getCACertificates('default'), certificatePem]);
  return { clusterId, certificatePem, keyPem };
}

function whatIsWrong(view: ClusterReply): string[] {
  const wrong: string[] = [];
  if (!view.quorum) wrong.push('no quorum');
  if (view.degraded) wrong.push('circuit open');
  if (view.master === null) wrong.push('no master');
  if (view.logServers.length !== view.logReplicas) wrong.push('a log server is missing');
  for (const server of view.logServers) {
    if (!server.online) wrong.push(`log server ${server.name} is not current`);
  }
  for (const node of view.nodes) if (!node.online) wrong.push(`${node.name} is not heard`);
  return wrong.map((what) => `${view.answeredBy}: ${what}`);
}

async function relayTo<S extends { name: string; clientPort: number; routePort: number }>(
  server: S,
  from: string,
  relays: TestCluster['relays'],
): Promise<S> {
  const [clientPort, routePort] = await takeFreePorts(2);
  const client = await Relay.start(clientPort!, server.clientPort);
  const route = await Relay.start(routePort!, server.routePort);
  relays.push({ from, to: server.name, relay: client }, { from, to: server.name, relay: route });
  return { ...server, clientPort: clientPort!, routePort: routePort! };
}
