import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

/** The top of the checkout: what images are built from. */
export const checkout = fileURLToPath(new URL('../..', import.meta.url));

export interface DockerOptions {
  /** 60 s when left out. */
  timeoutMs?: number;
  env?: NodeJS.ProcessEnv;
}

const execute = promisify(execFile);

/** Runs `docker …` in the checkout and resolves to what it prints. Throws with its complaint. */
export async function docker(args: string[], options: DockerOptions = {}): Promise<string> {
  const { stdout } = await execute('docker', args, {
    cwd: checkout,
    env: { ...process.env, ...options.env },
    timeout: options.timeoutMs ?? 60_000,
    maxBuffer: 64 * 1024 * 1024,
  });
  return stdout.trim();
}

/** Builds the image of a node under this name. */
export async function buildImage(image: string): Promise<void> {
  const args = ['build', '--quiet', '--file', 'deploy/docker/Dockerfile', '--tag', image, '.'];
  await docker(args, { timeoutMs: 230_000 });
}
