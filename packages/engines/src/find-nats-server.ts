import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

import { checkNatsVersion, minimumNatsVersion } from './check-nats-version.ts';
import { EngineError } from './engine-error.ts';
import { runOnce } from './run-once.ts';

export interface NatsServerBinary {
  binary: string;
  version: string;
}

/**
 * The nats-server to run: the one COUNTERSIGN_NATS_SERVER names (then nothing else is looked at),
 * else the first on PATH, else the one the set-up put into the checkout; one that is too old is
 * passed over. Throws EngineError when none is good enough, naming what was found.
 */
export async function findNatsServer(options: {
  /** Where the set-up puts its own copy; not looked for when left out. */
  toolBinary?: string;
  env?: NodeJS.ProcessEnv;
}): Promise<NatsServerBinary> {
  const env = options.env ?? process.env;
  const chosen = env['COUNTERSIGN_NATS_SERVER'];
  if (chosen) return await checkBinary(chosen, `COUNTERSIGN_NATS_SERVER (${chosen})`);

  const onPath = await findOnPath('nats-server', env['PATH'] ?? '');
  const candidates = [onPath, options.toolBinary].filter((path) => path !== undefined);
  let tooOld: unknown;
  for (const candidate of candidates) {
    if (!(await isExecutable(candidate))) continue;
    try {
      return await checkBinary(candidate, candidate);
    } catch (error) {
      tooOld ??= error;
    }
  }
  throw tooOld instanceof Error
    ? tooOld
    : new EngineError(
        `nats-server is missing: run "npm run setup", put nats-server ${minimumNatsVersion} or ` +
          'newer on PATH, or name one in COUNTERSIGN_NATS_SERVER',
      );
}

async function checkBinary(binary: string, where: string): Promise<NatsServerBinary> {
  if (!(await isExecutable(binary))) {
    throw new EngineError(`${where} is missing or may not be executed`);
  }
  const printed = await runOnce({
    command: binary,
    args: ['--version'],
    timeoutMs: 5_000,
  }).catch(() => '');
  return { binary, version: checkNatsVersion(printed, where) };
}

async function findOnPath(name: string, path: string): Promise<string | undefined> {
  for (const folder of path.split(delimiter)) {
    const candidate = join(folder, name);
    if (folder && (await isExecutable(candidate))) return candidate;
  }
  return undefined;
}

async function isExecutable(path: string): Promise<boolean> {
  return await access(path, constants.X_OK).then(
    () => true,
    () => false,
  );
}
