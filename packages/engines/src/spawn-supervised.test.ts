import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { isRoot, makeTrialFolder } from './engine-trial.ts';
import { lookUpOsUser } from './os-user.ts';
import { isRunning } from './running-process.ts';
import { spawnSupervised, type ProcessExit } from './spawn-supervised.ts';

const ignoresTerm =
  "process.on('SIGTERM', () => {}); console.log('up'); setInterval(() => {}, 1e6)";

it('stop ends a process with its stop signal and does not call onExit', async () => {
  await using folder = await makeTrialFolder();
  const exits: ProcessExit[] = [];
  const child = await spawnSupervised({
    command: '/bin/sleep',
    args: ['600'],
    logFile: join(folder.path, 'log', 'sleep.log'),
    stopSignal: 'SIGTERM',
    onExit: (exit) => exits.push(exit),
  });
  await Promise.all([child.stop(), child.stop()]);
  expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' });
  expect(isRunning(child.pid)).toBe(false);
  expect(exits).toEqual([]);
});

it('a process that ignores its stop signal is killed after the time-out', async () => {
  await using folder = await makeTrialFolder();
  const logFile = join(folder.path, 'stubborn.log');
  const child = await spawnSupervised({
    command: process.execPath,
    args: ['-e', ignoresTerm],
    logFile,
    stopSignal: 'SIGTERM',
    stopTimeoutMs: 100,
  });
  await expect.poll(() => readFile(logFile, 'utf8'), { timeout: 15_000 }).toContain('up');
  await child.stop();
  expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' });
});

it('a suspended process is stopped in an orderly way, not after the time-out', async () => {
  await using folder = await makeTrialFolder();
  const child = await spawnSupervised({
    command: '/bin/sleep',
    args: ['600'],
    logFile: join(folder.path, 'sleep.log'),
    stopSignal: 'SIGTERM',
  });
  process.kill(child.pid, 'SIGSTOP');
  await child.stop();
  expect(await child.exited).toEqual({ code: null, signal: 'SIGTERM' });
});

it('a process that ends by itself is reported, with its output in a log others cannot read', async () => {
  await using folder = await makeTrialFolder();
  const logFile = join(folder.path, 'log', 'node.log');
  const exit = await new Promise<ProcessExit>((resolve, reject) => {
    spawnSupervised({
      command: process.execPath,
      args: ['-e', "console.log('out'); console.error('err'); process.exit(3)"],
      logFile,
      stopSignal: 'SIGTERM',
      onExit: resolve,
    }).catch(reject);
  });
  expect(exit).toEqual({ code: 3, signal: null });
  expect(await readFile(logFile, 'utf8')).toBe('out\nerr\n');
  expect((await stat(logFile)).mode & 0o007).toBe(0);
  expect((await stat(join(folder.path, 'log'))).mode & 0o777).toBe(0o700);
});

it('a Node process gets an IPC channel, and its id is that of the process started', async () => {
  await using folder = await makeTrialFolder();
  const child = await spawnSupervised({
    command: process.execPath,
    args: ['-e', "process.on('message', (m) => process.send({ echo: m, pid: process.pid }))"],
    logFile: join(folder.path, 'node.log'),
    stopSignal: 'SIGKILL',
    ipc: true,
  });
  const answer = new Promise((resolve) => child.child.once('message', resolve));
  child.child.send('hello');
  expect(await answer).toEqual({ echo: 'hello', pid: child.pid });
  await child.stop();
});

it.runIf(isRoot)(
  'root can start a process as another user without any of root’s groups',
  async () => {
    await using folder = await makeTrialFolder();
    const osUser = await lookUpOsUser('nobody');
    if (!osUser) throw new Error('this machine has no user nobody');
    const logFile = join(folder.path, 'id.log');
    const child = await spawnSupervised({
      command: '/usr/bin/id',
      args: [],
      logFile,
      stopSignal: 'SIGTERM',
      osUser,
    });
    await child.exited;
    expect(await readFile(logFile, 'utf8')).toMatch(
      /^uid=\d+\(nobody\) gid=\d+\(\w+\) groups=\d+\(nogroup|nobody\)\n$/,
    );
  },
);

it('a missing program is told by its path', async () => {
  await using folder = await makeTrialFolder();
  const missing = join(folder.path, 'nats-server');
  const logFile = join(folder.path, 'x.log');
  await expect(
    spawnSupervised({ command: missing, args: [], logFile, stopSignal: 'SIGTERM' }),
  ).rejects.toThrow(`${missing} is missing or may not be executed`);
});
