import { readdir, readFile, readlink, realpath, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';

import { EngineError } from './engine-error.ts';
import { isRunning } from './running-process.ts';

/**
 * Waits until no postgres process works in the data directory, then removes a lock left by a dead
 * one whose number something else carries now (postgres would take that for its owner; it clears
 * other stale locks itself). Throws EngineError when the directory stays in use.
 */
export async function claimDataDirectory(
  dataDirectory: string,
  patience = { runningMs: 3_000, stoppingMs: 25_000 },
): Promise<void> {
  const lockFile = join(dataDirectory, 'postmaster.pid');
  const startedAt = performance.now();
  for (;;) {
    const lock = await readFile(lockFile, 'utf8').catch(() => undefined);
    if (lock === undefined) return;
    const user = await findPostgresIn(dataDirectory);
    const lines = lock.split('\n');
    if (user === undefined) {
      if (processExists(Number(lines[0]))) await rm(lockFile, { force: true });
      return;
    }
    // After kill -9 of a supervisor its postgres is still shutting down when the next one comes.
    const patienceMs = lines[7]?.startsWith('stopping') ? patience.stoppingMs : patience.runningMs;
    if (performance.now() - startedAt > patienceMs) {
      throw new EngineError(
        `the PostgreSQL data in ${dataDirectory} is in use by process ${user}: ` +
          'stop that node first or choose another folder',
      );
    }
    await wait(50);
  }
}

/**
 * Removes a socket and lock file nobody listens on. Throws EngineError when somebody does.
 * Call it only with the data directory claimed.
 */
export async function claimSocket(socketFile: string): Promise<void> {
  if (await isListening(socketFile)) {
    throw new EngineError(
      `the socket ${socketFile} is in use by another program: stop it or choose another folder`,
    );
  }
  await rm(socketFile, { force: true });
  await rm(`${socketFile}.lock`, { force: true });
}

function isListening(socketFile: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(socketFile);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    // EAGAIN: somebody listens but does not accept any more.
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'EAGAIN'));
  });
}

/** The id of a postgres process that works in the folder: every one of them has it as its cwd. */
async function findPostgresIn(dataDirectory: string): Promise<number | undefined> {
  const folder = await realpath(dataDirectory);
  for (const entry of await readdir('/proc')) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || !isRunning(pid)) continue;
    const cwd = await readlink(`/proc/${pid}/cwd`).catch(() => undefined);
    if (cwd !== folder) continue;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => '');
    if (name.trim() === 'postgres') return pid;
  }
  return undefined;
}

function processExists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}
