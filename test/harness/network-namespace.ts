import { execFile, spawn, spawnSync, type ChildProcess } from 'node:child_process';
import { promisify } from 'node:util';
import { waitFor } from '@countersign/testing';

const run = promisify(execFile);

/** Takes root that may (a container's often may not), and Debian's `iproute2`. */
export const canMakeNamespaces =
  spawnSync('/usr/bin/unshare', ['--net', '/usr/bin/ip', 'link', 'set', 'lo', 'up']).status === 0;

/**
 * A network namespace without a name: it and the links that end in it are gone with this process, even by kill -9,
 * since what holds it reads from us.
 */
export class NetworkNamespace implements AsyncDisposable {
  readonly #holder: ChildProcess;

  static async make(): Promise<NetworkNamespace> {
    const holder = spawn('/usr/bin/unshare', ['--net', 'cat'], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    let isUp = false;
    holder.stdout.on('data', () => (isUp = true));
    holder.stdin.write('up\n');
    const namespace = new NetworkNamespace(holder);
    try {
      await waitFor('a network namespace', () => isUp, { timeoutMs: 5000 });
      await namespace.run('ip', 'link', 'set', 'lo', 'up');
      return namespace;
    } catch (error) {
      await namespace[Symbol.asyncDispose]();
      throw error;
    }
  }

  private constructor(holder: ChildProcess) {
    this.#holder = holder;
  }

  get pid(): number {
    return this.#holder.pid!;
  }

  /** For `nsenter --net=`. */
  get file(): string {
    return `/proc/${this.pid}/ns/net`;
  }

  /** Throws an Error with what the command said when it fails. */
  async run(...command: string[]): Promise<string> {
    const args = [`--net=${this.file}`, ...command];
    return (await run('/usr/bin/nsenter', args, { timeout: 10_000 })).stdout;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const { exitCode, signalCode } = this.#holder;
    if (exitCode !== null || signalCode !== null) return;
    const ended = new Promise((resolve) => this.#holder.once('exit', resolve));
    this.#holder.kill('SIGKILL');
    await ended;
  }
}

/** Runs `ip` here, outside of all namespaces made. */
export async function ip(...args: string[]): Promise<void> {
  await run('/usr/bin/ip', args, { timeout: 10_000 });
}
