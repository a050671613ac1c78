import { fileURLToPath } from 'node:url';

import { logRotation, spawnSupervised, type ProcessExit } from '@countersign/engines';

import { describeExit, type RunningPart } from './keep-running.ts';
import { NodeError } from './node-error.ts';
import { PulseWatch } from './pulse-watch.ts';

export interface OwnProcessOptions<Config> {
  /** The workspace package whose `main.ts` is run. */
  packageName: string;
  logFile: string;
  /** Folder for compiled code, ours alone: halves what a start costs. */
  compileCache: string;
  /** Asked for, and awaited, while the process loads its code. */
  config: () => Promise<Config>;
  /** Told the process id once it is known, and null when the process has ended. */
  onPid: (pid: number | null) => void;
  /** Every message but `ready`. */
  onMessage?: (message: { type: string }) => void;
  /** It has not been heard for this long and is killed. */
  onHung: (silentMs: number) => void;
  onExit: (exit: ProcessExit) => void;
  stopping: AbortSignal;
}

// With Node's 16 MiB a busy agent and worker hold 150 MB more, nearly all of it garbage.
const youngGenerationMebibytes = 4;
const readyDeadlineMs = 60_000;
// A master's agent takes up to 5 s to hand over, and both give up by themselves after 9 s.
const stopTimeoutMs = 10_000;

export interface OwnProcess extends RunningPart {
  tell(message: { type: string } & Record<string, unknown>): void;
}

/**
 * Starts an agent or a worker, hands it its configuration in the first message and waits until it
 * says `{ type: 'ready' }`. Throws NodeError when it ends before, or is not ready in time.
 */
export async function startOwnProcess<Config>(
  options: OwnProcessOptions<Config>,
): Promise<OwnProcess> {
  const supervised = await spawnSupervised({
    command: process.execPath,
    args: [`--max-semi-space-size=${youngGenerationMebibytes}`, mainFile(options.packageName)],
    ipc: true,
    logFile: options.logFile,
    logRotation,
    env: { NODE_COMPILE_CACHE: options.compileCache, ...process.env },
    stopSignal: 'SIGTERM',
    stopTimeoutMs,
  });
  const { child } = supervised;
  const ready = Promise.withResolvers<void>();
  ready.promise.catch(() => {});
  let isReady = false;
  let pulse: PulseWatch | undefined;
  options.onPid(supervised.pid);
  child.on('message', (message: unknown) => {
    if (!isTyped(message)) return;
    if (message.type === 'ready') ready.resolve();
    else if (message.type === 'pulse') pulse?.beat();
    else options.onMessage?.(message);
  });
  const watchExit = async () => {
    const exit = await supervised.exited;
    pulse?.close();
    options.onPid(null);
    ready.reject(new NodeError(`${describeExit(exit)}, see ${options.logFile}`));
    if (isReady) options.onExit(exit);
  };
  void watchExit();

  const stop = async () => {
    pulse?.close();
    tell(supervised.child, { type: 'stop' });
    await supervised.stop();
  };
  const giveUp = () => ready.reject(new NodeError('stopped meanwhile'));
  options.stopping.addEventListener('abort', giveUp, { once: true });
  let deadline: NodeJS.Timeout | undefined;
  try {
    const config = await Promise.race([options.config(), ready.promise]);
    tell(child, { type: 'start', config });
    const late = `not ready in ${readyDeadlineMs / 1000} s, see ${options.logFile}`;
    deadline = setTimeout(() => ready.reject(new NodeError(late)), readyDeadlineMs);
    await ready.promise;
    isReady = true;
    pulse = new PulseWatch((silentMs) => {
      options.onHung(silentMs);
      // What hangs hears no other signal.
      child.kill('SIGKILL');
    });
    return { stop, tell: (message) => tell(child, message) };
  } catch (error) {
    await stop();
    throw error;
  } finally {
    clearTimeout(deadline);
    options.stopping.removeEventListener('abort', giveUp);
  }
}

function mainFile(packageName: string): string {
  return fileURLToPath(new URL('./main.ts', import.meta.resolve(packageName)));
}

function tell(child: { connected: boolean; send: NodeJS.Process['send'] }, message: object): void {
  // A process that is just ending closes its channel first; its exit tells the rest.
  if (child.connected) child.send?.(message, undefined, undefined, () => {});
}

function isTyped(message: unknown): message is { type: string } {
  return typeof message === 'object' && message !== null && 'type' in message;
}
