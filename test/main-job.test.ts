import { execFile, execFileSync, type ChildProcess } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { isAlive, signal } from './harness/processes.ts';
import { report } from './harness/report.ts';
import { spawnBound } from './harness/spawn-bound.ts';

const PROMOTE_FOR_MS = 60_000;
const CLI = fileURLToPath(new URL('../packages/cli/src/main.ts', import.meta.url));

type DemoFile = {
  apiKey: string;
  nodes: {
    name: string;
    url: string;
    supervisorPid: number;
    agentPid: number;
    workerPids: number[];
    natsPid: number;
    postgresPid: number;
  }[];
  user: { username: string; otpauth: string };
  admin: { username: string; password: string; otpauth: string };
};

const hasOathtool = spawnable('oathtool');
const folder = mkdtempSync('/var/tmp/countersign-main-job-');
let demo: ChildProcess;
let output = '';

/** The whole story a newcomer tries, with the real command line and a real authenticator. */
describe.skipIf(!hasOathtool)('the demo, with oathtool as the authenticator', () => {
  beforeAll(async () => {
    rmSync(folder, { recursive: true });
    mkdirSync(folder, { mode: 0o711 });
    const startedAt = performance.now();
    demo = spawnBound([CLI, 'demo', '--dir', folder, '--base-port', String(await freeBasePort())], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    demo.stdout!.on('data', (chunk) => {
      output += String(chunk);
    });
    await waitFor('demo.json', () => readDemo(), { timeoutMs: 90_000, everyMs: 100 });
    report('demo of three nodes', { readyMs: Math.round(performance.now() - startedAt) });
  });

  afterAll(async () => {
    if (demo?.exitCode === null) {
      const exited = new Promise((resolve) => demo.once('exit', resolve));
      demo.kill('SIGTERM');
      await exited;
    }
    rmSync(folder, { recursive: true, force: true });
  });

  it('verifies, survives the death of its master, and is promoted by an operator', async () => {
    const before = readDemo();
    await waitFor(
      'a status without problems',
      async () =>
        (await countersign(['status'])).stdout.includes('OK: verification and changes work'),
      { timeoutMs: 30_000, everyMs: 100 },
    );
    const isSet = async () =>
      (await countersign(['settings', 'set', 'failover.mode', 'manual'])).code === 0;
    await waitFor('the mode to be set', isSet, { timeoutMs: 30_000, everyMs: 100 });

    const first = await verifyFresh(before.user);
    expect(first.stdout).toContain('approved');
    const again = await countersign(['verify', before.user.username, first.code]);
    expect(again.code).toBe(1);
    expect(again.stdout).toContain('replayed');

    const cluster = JSON.parse((await countersign(['status', '--json'])).stdout);
    const master = before.nodes.find(({ name }) => name === cluster.master)!;
    const heir = before.nodes.find(({ name }) => name !== master.name)!;
    // What only a dead node knows is told when it is back.
    const isTold = async () => {
      const { stdout } = await countersign(['events', '--user', before.user.username], [heir.url]);
      return stdout.includes('denied (replayed)');
    };
    await waitFor('the replay in the events', isTold, { timeoutMs: 20_000, everyMs: 100 });
    const pids = [
      master.supervisorPid,
      master.agentPid,
      ...master.workerPids,
      master.natsPid,
      master.postgresPid,
    ];
    signal(pids, 'SIGKILL');
    await waitFor('the master to be gone', () => pids.every((pid) => !isAlive(pid)), {
      timeoutMs: 10_000,
    });

    const degraded = await verifyFresh(before.user);
    expect(degraded.stdout).toContain('approved');
    // What the dead master's connection has not told yet may stay open once.
    const refused = await waitFor(
      'a write to be refused',
      async () => {
        const told = await countersign(['user', 'add', 'bob']);
        return told.stderr.includes('outcome_unknown') ? null : told;
      },
      { timeoutMs: 30_000 },
    );
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('master_offline');

    const promoted = await promote(heir.name);
    expect(promoted.stdout, promoted.stderr).toContain(`${heir.name} is the master`);
    // Another node hears of the next master by its heartbeat.
    const added = await waitFor(
      'a master for the write',
      async () => {
        const told = await countersign(['user', 'add', 'bob']);
        return told.stderr.includes('master_offline') ? null : told;
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    expect(added.code, added.stderr).toBe(0);
    expect(await isTold()).toBe(true);
    expect((await verifyFresh(before.user)).stdout).toContain('approved');
  });

  it('has a first administrator, who signs in with what demo.json says', async () => {
    const { nodes, admin } = readDemo();
    // That of the present step may have been spent on the invitation.
    const code = codeAt(admin.otpauth, Math.floor(Date.now() / 30_000) + 1);
    const living = nodes.find(({ supervisorPid }) => isAlive(supervisorPid))!;
    const response = await fetch(`${living.url}/api/v1/sessions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ username: admin.username, password: admin.password, code }),
    });
    expect(await response.json()).toMatchObject({ username: 'admin', roles: ['owner'] });
  });

  it('stops everything it started on SIGTERM', async () => {
    const pids = readDemo().nodes.flatMap((node) => [
      node.supervisorPid,
      node.agentPid,
      ...node.workerPids,
      node.natsPid,
      node.postgresPid,
    ]);
    const exited = new Promise((resolve) => demo.once('exit', resolve));
    demo.kill('SIGTERM');
    await exited;
    await waitFor('everything to end', () => pids.every((pid) => !pid || !isAlive(pid)), {
      timeoutMs: 15_000,
    });
    expect(output).toContain('Everything has stopped');
  });
});

/** A code is accepted once, so the next one is that of the next step. */
async function verifyFresh(user: DemoFile['user']) {
  const last = lastStep;
  const step = await waitFor(
    'the next code',
    () => {
      // One step ahead is accepted, so there is no need to wait for it to begin.
      const next = Math.floor(Date.now() / 30_000) + 1;
      return next > last ? Math.max(last + 1, next - 1) : null;
    },
    { timeoutMs: 40_000, everyMs: 250 },
  );
  lastStep = step;
  const code = codeAt(user.otpauth, step);
  return { ...(await countersign(['verify', user.username, code])), code };
}
let lastStep = 0;

function codeAt(otpauth: string, step: number): string {
  const secret = new URL(otpauth).searchParams.get('secret')!;
  const now = `--now=@${step * 30 + 5}`;
  return execFileSync('oathtool', ['--totp', '-b', now, secret]).toString().trim();
}

/** Right after a death the log may still be electing: who is told so tries again. */
async function promote(name: string) {
  const until = performance.now() + PROMOTE_FOR_MS;
  for (;;) {
    const promoted = await countersign(['promote', name]);
    const mayCome = /no_quorum|master_alive|not_active_yet|outcome_unknown/.test(promoted.stderr);
    if (!mayCome || performance.now() > until) return promoted;
  }
}

/** Asks the first of these addresses that answers; all nodes' when left out. */
async function countersign(args: string[], urls?: string[]) {
  const { apiKey, nodes } = readDemo();
  const env = {
    ...process.env,
    COUNTERSIGN_SERVER: (urls ?? nodes.map(({ url }) => url)).join(','),
    COUNTERSIGN_API_KEY: apiKey,
  };
  try {
    const done = await promisify(execFile)(process.execPath, [CLI, ...args], { env });
    return { code: 0, ...done };
  } catch (error) {
    const failed = error as { code: number; stdout: string; stderr: string };
    return { code: failed.code, stdout: failed.stdout, stderr: failed.stderr };
  }
}

function readDemo(): DemoFile {
  return JSON.parse(readFileSync(join(folder, 'demo.json'), 'utf8')) as DemoFile;
}

/** Of which all ports are free that the demo's nodes listen at. */
async function freeBasePort(): Promise<number> {
  const offsets = [0, 101, 121, 131, 201].flatMap((first) => [first, first + 1, first + 2]);
  return waitFor(
    'free ports for a demo',
    async () => {
      const [port] = await takeFreePorts(1);
      const ports = offsets.map((offset) => ({ port: port! + offset, host: '127.0.0.1' }));
      return (await Promise.all(ports.map(isFree))).every(Boolean) ? port : null;
    },
    { timeoutMs: 20_000 },
  );
}

function isFree(at: { port: number; host: string }): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen(at, () => server.close(() => resolve(true)));
  });
}

function spawnable(command: string): boolean {
  try {
    execFileSync(command, ['--version'], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}
