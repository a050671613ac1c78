import {
  execFile,
  spawn,
  spawnSync,
  type ChildProcessWithoutNullStreams,
} from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { signal } from './processes.ts';

const run = promisify(execFile);

const APART = ['--net', '--pid', '--mount', '--fork', '--kill-child', '--mount-proc'];
const COMMAND_MS = 10_000;

/** Whether a {@link Machine} can be: for root only, and not in every container. */
export const canMakeMachines =
  process.getuid?.() === 0 && works('ip', ['link', 'add', 'probe', 'type', 'veth']);

/** Whether a machine can have the interface of a tunnel (/dev/net/tun). */
export const canMakeTunnels =
  canMakeMachines && works('ip', ['tuntap', 'add', 'dev', 'probe', 'mode', 'tun']);

let cables = 0;

/**
 * A computer beside this one: a network, processes and mounts of its own, and a cable to this one or to another machine.
 * It ends with us, also where we are killed: everything in it descends from a `cat` that reads from us.
 */
export class Machine implements AsyncDisposable {
  /** Its own. */
  readonly address: string;
  /** At the other end of the cable. */
  readonly peers: readonly string[];
  readonly #holder: ChildProcessWithoutNullStreams;
  readonly #pid: number;
  readonly #at: Machine | null;
  readonly #cable: string;

  private constructor(holder: ChildProcessWithoutNullStreams, at: Machine | null, peers: number) {
    this.#holder = holder;
    this.#pid = childOf(holder.pid!);
    this.#at = at;
    cables += 1;
    this.#cable = `cs${process.pid}x${cables}`;
    // 198.18.0.0/15 is for tests of networks (RFC 2544), so it is nobody's here.
    const network = `198.${18 + randomInt(2)}.${randomInt(256)}`;
    const first = randomInt(16) * 16 + 1;
    this.peers = Array.from({ length: peers }, (_, i) => `${network}.${first + i}`);
    this.address = `${network}.${first + peers}`;
  }

  /** `peers` (1 to 13) is how many addresses the other end of its cable gets, where `at` is, or here. */
  static async start({ at = null, peers = 1 }: { at?: Machine | null; peers?: number } = {}) {
    const holder = spawn('unshare', [...APART, 'sh', '-c', 'echo up; exec cat'], { stdio: 'pipe' });
    try {
      await once(holder.stdout, 'data', { signal: AbortSignal.timeout(COMMAND_MS) });
      const machine = new Machine(holder, at, peers);
      await machine.#plugIn();
      return machine;
    } catch (error) {
      holder.kill('SIGKILL');
      throw error;
    }
  }

  /** What a command in it wrote; throws where it fails, or takes more than 10 s. */
  async run(command: string, args: readonly string[]): Promise<string> {
    const { stdout } = await run('nsenter', [...this.#enter, command, ...args], {
      timeout: COMMAND_MS,
      killSignal: 'SIGKILL',
    });
    return stdout;
  }

  /** Starts a command in it; end it with {@link Machine.signal}, or with the machine. */
  spawn(command: string, args: readonly string[]): ChildProcessWithoutNullStreams {
    return spawn('nsenter', [...this.#enter, command, ...args], { stdio: 'pipe' });
  }

  /** nsenter passes no signal on. */
  signal({ pid }: ChildProcessWithoutNullStreams, name: NodeJS.Signals): void {
    signal([childOf(pid!)], name);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    // The kernel keeps a network, and its end of the cable, as long as a closed connection in it lingers.
    await ip(this.#at, ['link', 'delete', this.#cable]).catch(() => null);
    if (this.#holder.exitCode !== null || this.#holder.signalCode !== null) return;
    const ended = once(this.#holder, 'exit', { signal: AbortSignal.timeout(COMMAND_MS) });
    this.#holder.stdin.end();
    await ended;
  }

  get #enter(): string[] {
    return [`--target=${this.#pid}`, '--net', '--pid', '--mount', '--'];
  }

  async #plugIn(): Promise<void> {
    const at = this.#at;
    const [there, here] = [this.#cable, 'cable'];
    const addCable = ['link', 'add', there, 'type', 'veth', 'peer', 'name', here];
    await ip(at, [...addCable, 'netns', String(this.#pid)]);
    for (const peer of this.peers) await ip(at, ['address', 'add', `${peer}/28`, 'dev', there]);
    await ip(at, ['link', 'set', there, 'up']);
    await ip(this, ['address', 'add', `${this.address}/28`, 'dev', here]);
    await ip(this, ['link', 'set', here, 'up']);
    await ip(this, ['link', 'set', 'lo', 'up']);
  }

  /** For `nsenter --net=`; `ip … netns PID` has to see our processes, not its. */
  get networkFile(): string {
    return `/proc/${this.#pid}/ns/net`;
  }
}

/** ip(8) in the network of a machine or, null, in ours. */
export async function ip(at: Machine | null, args: readonly string[]): Promise<void> {
  const options = { timeout: COMMAND_MS };
  if (at) await run('nsenter', [`--net=${at.networkFile}`, 'ip', ...args], options);
  else await run('ip', args, options);
}

function childOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(' ')[0]);
}

function works(command: string, args: readonly string[]): boolean {
  const apart = spawnSync('unshare', [...APART, command, ...args], { timeout: COMMAND_MS });
  return apart.status === 0;
}
