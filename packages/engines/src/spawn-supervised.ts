import { spawn, type ChildProcess } from 'node:child_process';
import { constants } from 'node:fs';
import { access, open } from 'node:fs/promises';
import { dirname, isAbsolute } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { EngineError } from './engine-error.ts';
import { makePrivateFolder } from './make-folder.ts';
import { RotatingLog, type LogRotation } from './rotating-log.ts';
import { explainSpawnError, wrapInSetpriv, type OsUser } from './setpriv.ts';

export interface ProcessExit {
  code: number | null;
  signal: NodeJS.Signals | null;
}

export interface SupervisedOptions {
  command: string;
  args: readonly string[];
  /** The whole environment of the process; ours when left out. */
  env?: NodeJS.ProcessEnv;
  cwd?: string;
  /** stdout and stderr are appended here (0640; a missing folder is made 0700). */
  logFile: string;
  /**
   * Bounds the log: then the output comes through us, and is lost from the moment we die. Left out,
   * the process writes the file itself.
   */
  logRotation?: LogRotation;
  /** What asks the process to end in an orderly way. */
  stopSignal: NodeJS.Signals;
  /** After this many milliseconds `stop` uses SIGKILL. */
  stopTimeoutMs?: number;
  /** Sent by the kernel when we die, even by kill -9. SIGKILL also ends a suspended process. */
  parentDeathSignal?: NodeJS.Signals;
  /** Called when the process ends without `stop` having been asked for. */
  onExit?: (exit: ProcessExit) => void;
  /** Opens an IPC channel; the command must be node. */
  ipc?: boolean;
  /** Run as this user; only root can. */
  osUser?: OsUser;
}

export interface SupervisedProcess {
  pid: number;
  /** For `send` and `on('message')` of the IPC channel. */
  child: ChildProcess;
  exited: Promise<ProcessExit>;
  isRunning(): boolean;
  /** Resolves when the process is gone; calling it again joins the first call. */
  stop(): Promise<void>;
}

/**
 * Starts a process that cannot outlive us and that Ctrl-C in our terminal does not reach directly:
 * it has its own session, so the supervisor decides who stops when. Call it from the main thread:
 * the kernel takes the end of the calling thread for our death.
 * Throws EngineError when it cannot be started.
 */
export async function spawnSupervised(options: SupervisedOptions): Promise<SupervisedProcess> {
  await assertExecutable(options.command);
  const wrapped = wrapInSetpriv({
    command: options.command,
    args: options.args,
    parentDeathSignal: options.parentDeathSignal ?? 'SIGKILL',
    runAs: options.osUser,
  });
  const start = (output: number | 'pipe') =>
    spawn(wrapped.command, wrapped.args, {
      cwd: options.cwd ?? '/',
      env: options.env ?? process.env,
      detached: true,
      stdio: ['ignore', output, output, ...(options.ipc ? (['ipc'] as const) : [])],
    });
  await makePrivateFolder(dirname(options.logFile));
  const child = options.logRotation
    ? await spawnThroughLog(options.logFile, options.logRotation, () => start('pipe'))
    : await spawnLoggingTo(options.logFile, start);
  const closed = new Promise<void>((resolve) => child.once('close', () => resolve()));

  let stopping: Promise<void> | undefined;
  const exited = new Promise<ProcessExit>((resolve) => {
    child.once('exit', (code, signal) => {
      resolve({ code, signal });
      if (!stopping) options.onExit?.({ code, signal });
    });
  });
  const isRunning = () => child.exitCode === null && child.signalCode === null;

  return {
    pid: child.pid as number,
    child,
    exited,
    isRunning,
    stop: () => (stopping ??= stop()),
  };

  async function stop(): Promise<void> {
    if (isRunning()) {
      await stopProcess(child, exited, options.stopSignal, options.stopTimeoutMs ?? 10_000);
    }
    // Its last words may still be on their way; children it left behind keep the line open.
    await Promise.race([closed, wait(lastWordsMs)]);
  }
}

const lastWordsMs = 500;

async function stopProcess(
  child: ChildProcess,
  exited: Promise<ProcessExit>,
  stopSignal: NodeJS.Signals,
  stopTimeoutMs: number,
): Promise<void> {
  child.kill(stopSignal);
  // A suspended process only sees the signal once it is continued.
  child.kill('SIGCONT');
  const killTimer = setTimeout(() => child.kill('SIGKILL'), stopTimeoutMs);
  await exited;
  clearTimeout(killTimer);
}

async function assertExecutable(command: string): Promise<void> {
  if (!isAbsolute(command)) return;
  try {
    await access(command, constants.X_OK);
  } catch (cause) {
    throw new EngineError(`${command} is missing or may not be executed`, { cause });
  }
}

async function spawnLoggingTo(
  logFile: string,
  start: (logFd: number) => ChildProcess,
): Promise<ChildProcess> {
  const log = await open(logFile, 'a', 0o640).catch((cause: unknown) => {
    throw cannotWrite(logFile, cause);
  });
  try {
    return await untilSpawned(start(log.fd));
  } finally {
    await log.close();
  }
}

async function spawnThroughLog(
  logFile: string,
  rotation: LogRotation,
  start: () => ChildProcess,
): Promise<ChildProcess> {
  const log = openRotatingLog(logFile, rotation);
  const child = start();
  child.once('close', () => log.close());
  for (const output of [child.stdout, child.stderr]) {
    output?.on('data', (chunk: Buffer) => log.write(chunk));
    output?.on('error', () => {});
  }
  return untilSpawned(child);
}

function openRotatingLog(logFile: string, rotation: LogRotation): RotatingLog {
  try {
    return new RotatingLog(logFile, rotation);
  } catch (cause) {
    throw cannotWrite(logFile, cause);
  }
}

function cannotWrite(logFile: string, cause: unknown): EngineError {
  const { code } = cause as NodeJS.ErrnoException;
  return new EngineError(`cannot write the log ${logFile} (${code})`, { cause });
}

async function untilSpawned(child: ChildProcess): Promise<ChildProcess> {
  await new Promise<void>((resolve, reject) => {
    child.once('spawn', resolve);
    child.once('error', (error) => reject(explainSpawnError(error)));
  });
  // Later errors (a failed kill or send) show up as the process's exit or at the caller.
  child.on('error', () => {});
  return child;
}
