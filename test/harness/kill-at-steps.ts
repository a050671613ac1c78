import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));
/** To be loaded by --import. */
export const DIE_AT_STEP = fileURLToPath(new URL('die-at-step.mjs', import.meta.url));
const STEPS_MAX = 400;
const RUN_LASTS_MS = 120_000;

export type Run = { killed: boolean; code: number | null; stdout: string; stderr: string };

/** `countersign …`, killed -9 before its `step`-th step that others could see (die-at-step.mjs); null: not killed. */
export async function runUntilStep(
  args: string[],
  { step, env = {} }: { step: number | null; env?: NodeJS.ProcessEnv },
): Promise<Run> {
  const preload = step === null ? [] : ['--import', DIE_AT_STEP];
  const child = spawn(process.execPath, [...preload, CLI, ...args], {
    env: {
      ...process.env,
      ...env,
      ...(step !== null && { COUNTERSIGN_TEST_DIE_AT: String(step) }),
    },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: RUN_LASTS_MS,
    killSignal: 'SIGTERM',
  });
  const run = { stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (run.stdout += String(data)));
  child.stderr.on('data', (data) => (run.stderr += String(data)));
  const [code, signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
  return { ...run, killed: signal === 'SIGKILL', code };
}

/**
 * Runs a command again and again, each time killed -9 `stride` steps later, until one comes to its end: over what the run before
 * has left, unless `afterKill` clears that away when it has looked at it.
 * @returns that last run, and how many were killed
 */
export async function killAtEveryStep(
  args: string[],
  options: {
    env?: NodeJS.ProcessEnv;
    stride?: number;
    afterKill?: () => Promise<void>;
  },
): Promise<Run & { kills: number }> {
  const { env, stride = 1, afterKill } = options;
  let kills = 0;
  for (let step = 1; step < STEPS_MAX; step += stride) {
    const run = await runUntilStep(args, { step, ...(env && { env }) });
    if (!run.killed) return { ...run, kills };
    kills += 1;
    await afterKill?.();
  }
  throw new Error(`still killed at step ${STEPS_MAX}`);
}
