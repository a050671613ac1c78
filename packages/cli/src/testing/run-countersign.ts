import { spawn } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url));

export type Run = { code: number | null; stdout: string; stderr: string };

/** Runs the program as its own process in `directory`, with nothing but `env` in its environment. */
export function runCountersign(
  args: string[],
  options: { directory: string; env: Record<string, string>; stdin?: string },
): Promise<Run> {
  const { directory, env, stdin = '' } = options;
  const child = spawn(process.execPath, [MAIN, ...args], {
    cwd: directory,
    // Compiled once rather than at each of the many starts.
    env: { TZ: 'UTC', NODE_COMPILE_CACHE: join(directory, 'compiled'), ...env },
    timeout: 30_000,
    killSignal: 'SIGKILL',
  });
  // It may end before it has read that.
  child.stdin.on('error', () => {});
  child.stdin.end(stdin);
  const run: Run = { code: null, stdout: '', stderr: '' };
  child.stdout.on('data', (data) => (run.stdout += String(data)));
  child.stderr.on('data', (data) => (run.stderr += String(data)));
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve({ ...run, code }));
  });
}
