import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@countersign/testing';
import { TestCluster } from '../harness/cluster.ts';
import { addUsers } from './add-users.ts';
import { PeakMemory } from './peak-memory.ts';

/**
 * How long a backup, its verification and a restore of many users take, how large the file is, and how much memory the
 * programs need at most. One node, everything on this machine: the steps are those of three.
 * `BENCH_USERS` (200,000), `BENCH_FILE` for the figures as JSON.
 */
const USERS = Number(process.env.BENCH_USERS ?? 200_000);
const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
const IDENTITY = 'AGE-SECRET-KEY-19F6GUPCSHS2NLAQT9NA5Y08FY57ZRJ2P5XSVMKMRGVAF4WVEQNTQMK5Z50';
const RECIPIENT = 'age1ll3vs43tjvcyretpgyjj6e8d3rwwpkeqcfte5c3fy4nnj3c9qcaqeumtl4';

type Figure = { what: string; value: number; unit: string };
const figures: Figure[] = [];
function note(what: string, value: number, unit: string): void {
  figures.push({ what, value: Math.round(value * 10) / 10, unit });
  console.log(`${what}: ${value.toFixed(1)} ${unit}`);
}

const folder = mkdtempSync('/var/tmp/countersign-bench-backup-');
try {
  await using cluster = await TestCluster.start({
    nodes: 1,
    configure: (config) => ({
      ...config,
      limits: { changesBytes: 1 << 30, statesBytes: 256 << 20, eventsBytes: 64 << 20 },
    }),
  });
  const [node] = cluster.nodes as [(typeof cluster.nodes)[number]];
  note(`${USERS} users added`, await addUsers(cluster, USERS), 's');
  const file = join(folder, 'cluster.backup');
  const identityFile = join(folder, 'identity');
  writeFileSync(identityFile, `${IDENTITY}\n`, { mode: 0o600 });
  const env = { COUNTERSIGN_SOCKET: join(node.folder, 'countersign.sock') };
  const agent = new PeakMemory(node.pids.agentPid!);
  const made = await run(['backup', file, '--recipient', RECIPIENT], env);
  note('backup', made.seconds, 's');
  note('backup: the program, at most', made.megabytes, 'MB');
  note('backup: the agent, at most', agent.stop(), 'MB');
  note('backup: the file', statSync(file).size / 1e6, 'MB');
  note('backup: a user', statSync(file).size / USERS, 'bytes');
  const checked = await run(['backup', 'verify', file, '--identity-file', identityFile], {});
  note('verify', checked.seconds, 's');
  note('verify: the program, at most', checked.megabytes, 'MB');
  await node.killAll();
  node.deleteEverything();
  const restore = ['restore', file, '--config', node.configFile, '--identity-file', identityFile];
  const restored = await run(restore, {});
  note('restore', restored.seconds, 's');
  note('restore: the program, at most', restored.megabytes, 'MB');
  const startedAt = performance.now();
  node.start();
  await node.untilReady();
  note('start until it verifies', (performance.now() - startedAt) / 1000, 's');
  await waitFor(
    'the log to be made',
    async () => {
      const view = await cluster.api(node).cluster();
      return view.master === node.name && view.quorum && !view.degraded;
    },
    { timeoutMs: 600_000, everyMs: 100 },
  );
  note('start until it takes writes', (performance.now() - startedAt) / 1000, 's');
} finally {
  rmSync(folder, { recursive: true, force: true });
}
console.table(figures);
const output = { users: USERS, figures };
console.log(JSON.stringify(output));
if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, JSON.stringify(output, null, 2));

async function run(args: string[], env: NodeJS.ProcessEnv) {
  const startedAt = performance.now();
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  const memory = new PeakMemory(child.pid!);
  const code = await new Promise((resolve) => child.once('exit', resolve));
  if (code !== 0) throw new Error(`countersign ${args[0]} ended with ${String(code)}`);
  return { seconds: (performance.now() - startedAt) / 1000, megabytes: memory.stop() };
}
