import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { takeFreePorts, waitFor } from '@countersign/testing';
import { Agent, request } from 'undici';

import { ApiClient, type ClusterReply } from '../harness/api-client.ts';
import { History } from '../history/history.ts';
import { docker } from './docker.ts';

const execute = promisify(execFile);

/** The cluster of docker-compose.yml under a project name of its own, on free loopback ports. */
export class ComposeCluster implements AsyncDisposable {
  readonly project = `countersign-test-${randomBytes(4).toString('hex')}`;
  readonly httpsPort: number;
  readonly radiusPorts: [number, number, number];
  readonly #env: NodeJS.ProcessEnv;
  readonly #historyFile = join(tmpdir(), `${this.project}.history`);
  #agent: Agent | undefined;
  #api: ApiClient | undefined;

  private constructor(image: string, ports: number[]) {
    const [https, nginx, balanced, balancedAccounting, ...ofNodes] = ports;
    const [radius1, radius2, radius3, accounting1, accounting2, accounting3] = ofNodes;
    this.httpsPort = https!;
    this.radiusPorts = [radius1!, radius2!, radius3!];
    this.#env = {
      COMPOSE_PROFILES: 'ha,demo',
      COUNTERSIGN_IMAGE: image,
      COUNTERSIGN_DIRECTORY_IMAGE: `${image}-directory`,
      COUNTERSIGN_HTTPS_PORT: String(https),
      COUNTERSIGN_NGINX_PORT: String(nginx),
      COUNTERSIGN_RADIUS_PORT: String(balanced),
      COUNTERSIGN_ACCOUNTING_PORT: String(balancedAccounting),
      COUNTERSIGN_RADIUS_1: String(radius1),
      COUNTERSIGN_RADIUS_2: String(radius2),
      COUNTERSIGN_RADIUS_3: String(radius3),
      COUNTERSIGN_ACCOUNTING_1: String(accounting1),
      COUNTERSIGN_ACCOUNTING_2: String(accounting2),
      COUNTERSIGN_ACCOUNTING_3: String(accounting3),
    };
  }

  /** Whose images are there, and nothing runs yet. */
  static async prepare(image: string): Promise<ComposeCluster> {
    const cluster = new ComposeCluster(image, await takeFreePorts(10));
    await cluster.compose(['build', '--quiet'], 230_000);
    return cluster;
  }

  /** `docker compose up --wait`. Throws with what the services wrote. */
  async up(): Promise<void> {
    try {
      await this.compose(['up', '--detach', '--wait', '--no-build'], 300_000);
    } catch (error) {
      const logs = await this.compose(['logs', '--no-color', '--tail', '25']);
      throw new Error(`the cluster did not come up:\n${logs}`, { cause: error });
    }
    const ca = await this.read('/run/trust/installation-ca.pem');
    this.#agent = new Agent({ connect: { ca, timeout: 2_000 } });
    const apiKey = await this.read('/var/lib/countersign/api-key');
    const about = { apiKey, history: new History(this.#historyFile), dispatcher: this.#agent };
    this.#api = new ApiClient({ name: 'haproxy', url: this.url }, about);
  }

  /** Through the load balancer, whose certificate is checked. */
  get api(): ApiClient {
    if (!this.#api) throw new Error('the cluster is not up');
    return this.#api;
  }

  /** What the balancer answers to a GET without a key. */
  async statusOf(path: string): Promise<number> {
    const { statusCode, body } = await request(`${this.url}${path}`, { dispatcher: this.#agent });
    await body.dump();
    return statusCode;
  }

  get url(): string {
    return `https://localhost:${this.httpsPort}`;
  }

  /** Runs `docker compose …` on this project. */
  compose(args: string[], timeoutMs?: number): Promise<string> {
    return docker(['compose', '--progress', 'quiet', '--project-name', this.project, ...args], {
      env: this.#env,
      timeoutMs,
    });
  }

  /** `countersign …` at a node. */
  cli(node: string, ...args: string[]): Promise<string> {
    return this.compose(['exec', '--no-TTY', node, 'countersign', ...args]);
  }

  containerOf(service: string): string {
    return `${this.project}-${service}-1`;
  }

  /** A file of node-1's. */
  async read(file: string): Promise<string> {
    return await this.compose(['exec', '--no-TTY', 'node-1', 'cat', file]);
  }

  /** Waits until all nodes are there again and hold the same. */
  async untilHealed(): Promise<ClusterReply> {
    return await waitFor(
      'three nodes with equal digests',
      async () => {
        const cluster = await this.api.cluster();
        const digests = new Set(cluster.nodes.map(({ digest }) => digest));
        const isWhole = cluster.nodes.length === 3 && cluster.nodes.every(({ online }) => online);
        return cluster.master && isWhole && digests.size === 1 ? cluster : null;
      },
      { timeoutMs: 90_000, everyMs: 500 },
    );
  }

  /** Cuts a node off from all but itself, in both directions, until the answer is called. */
  async cutOff(service: string): Promise<() => Promise<void>> {
    const name = this.containerOf(service);
    const pid = await docker(['inspect', '--format', '{{.State.Pid}}', name]);
    const nft = (command: string) => execute('nsenter', ['-t', pid, '-n', 'nft', command]);
    await nft(`table inet cut {
      chain in { type filter hook input priority 0; iif != "lo" drop; }
      chain out { type filter hook output priority 0; oif != "lo" drop; }
    }`);
    return async () => void (await nft('delete table inet cut'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#agent?.destroy();
    await rm(this.#historyFile, { force: true });
    await this.compose(['down', '--volumes', '--remove-orphans', '--timeout', '5'], 120_000);
  }
}
