import { appendFile, readdir, readFile, rename, rm } from 'node:fs/promises';
import { dirname, join } from 'node:path';

import { EngineError } from './engine-error.ts';
import { makeFolder, makePrivateFolder } from './make-folder.ts';
import { CommandError, runOnce } from './run-once.ts';
import type { OsUser } from './setpriv.ts';

/** The role and the database every node uses. */
export const databaseName = 'countersign';

const postgresMajor = '18';

/**
 * Makes the database cluster with the role and the database `countersign` unless it is there
 * already. It is made beside its place and renamed, so that a half-made one is never started.
 */
export async function initPostgres(options: {
  dataDirectory: string;
  binaries: string;
  user: OsUser;
  logFile: string;
  /** Leave out syncing to disk; for data that may be lost. */
  isThrowAway: boolean;
}): Promise<void> {
  const { dataDirectory, user } = options;
  if (await isInitialised(dataDirectory)) return;
  const fresh = `${dataDirectory}.new`;
  await rm(fresh, { recursive: true, force: true });
  await makeFolder(fresh, 0o700, user);
  const initdbArgs = [
    ...['-D', fresh, '-U', databaseName, '--auth-local=peer', '--auth-host=reject'],
    ...['--encoding=UTF8', '--locale=C', '--data-checksums'],
    ...(options.isThrowAway ? ['--no-sync'] : []),
  ];
  await runStep(options, 'initdb', initdbArgs);
  const singleArgs = ['--single', '-D', fresh, ...(options.isThrowAway ? ['-F'] : []), 'postgres'];
  await runStep(options, 'postgres', singleArgs, `CREATE DATABASE ${databaseName}\n`);
  await rename(fresh, dataDirectory).catch((cause: NodeJS.ErrnoException) => {
    throw new EngineError(
      `cannot put the new PostgreSQL data at ${dataDirectory} (${cause.code}): ` +
        'the folder must not be a mount point itself',
      { cause },
    );
  });
}

async function isInitialised(dataDirectory: string): Promise<boolean> {
  const version = await readFile(join(dataDirectory, 'PG_VERSION'), 'utf8').catch(() => undefined);
  if (version !== undefined) {
    if (version.trim() === postgresMajor) return true;
    throw new EngineError(
      `the data in ${dataDirectory} is PostgreSQL ${version.trim()}'s, ` +
        `this server is ${postgresMajor}`,
    );
  }
  const entries = await readdir(dataDirectory).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return [];
    throw new EngineError(`cannot read ${dataDirectory} (${error.code})`, { cause: error });
  });
  if (entries.length === 0) return false;
  throw new EngineError(`${dataDirectory} is not empty and holds no PostgreSQL data`);
}

async function runStep(
  options: { binaries: string; user: OsUser; logFile: string },
  program: 'initdb' | 'postgres',
  args: string[],
  input = '',
): Promise<void> {
  const command = join(options.binaries, 'bin', program);
  const env = { LC_ALL: 'C', TZ: 'UTC' };
  try {
    const runAs = options.user;
    await runOnce({ command, args, runAs, env, input, timeoutMs: 60_000 });
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    await makePrivateFolder(dirname(options.logFile));
    await appendFile(options.logFile, error.output, { mode: 0o640 });
    const lines = error.output.trim().split('\n');
    const line = lines.find((text) => /error|FATAL|cannot|denied/i.test(text)) ?? lines.at(-1);
    throw new EngineError(`cannot make the PostgreSQL data: ${line} (${options.logFile})`, {
      cause: error,
    });
  }
}
