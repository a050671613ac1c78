import { chown, mkdtemp, open, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { acceptsPostgresConnection } from './accepts-postgres-connection.ts';
import { claimDataDirectory, claimSocket } from './claim-data-directory.ts';
import { EngineError } from './engine-error.ts';
import { findPostgresBinaries } from './find-postgres-binaries.ts';
import { databaseName, initPostgres } from './init-postgres.ts';
import { logSizeBytes } from './log-tail.ts';
import { makeFolder } from './make-folder.ts';
import { choosePostgresUser, currentOsUser, findBlockingFolder } from './os-user.ts';
import { logRotation, type LogRotation } from './rotating-log.ts';
import { runOnce } from './run-once.ts';
import type { OsUser } from './setpriv.ts';
import { spawnSupervised, type ProcessExit } from './spawn-supervised.ts';
import { untilReady } from './until-ready.ts';

export interface PostgresOptions {
  /** Made at the first start. Its parents must be passable for the user postgres runs as. */
  dataDirectory: string;
  /** Where the socket goes; `socket` beside the data when left out. */
  socketDirectory?: string;
  logFile: string;
  /** `logRotation` when left out. */
  logRotation?: LogRotation;
  /** Who runs postgres when we are root; `countersign` when left out. */
  osUser?: string;
  logger?: { info(fields: object, message: string): void };
  /** Server settings that replace or add to ours. `fsync: 'off'` marks throw-away data. */
  settings?: Readonly<Record<string, string>>;
  /** Called when the server ends without `stop`. */
  onExit?: (exit: ProcessExit) => void;
}

export interface PostgresEngine {
  pid: number;
  /** `host` is the folder of the socket. */
  connection: { host: string; port: number; user: string; database: string };
  stop(): Promise<void>;
}

const port = 5432;
const startDeadlineMs = 30_000;
// The kernel's limit for a socket's path is 107 bytes; clients add a little of their own.
const maxSocketPathBytes = 90;

const defaultSettings = {
  listen_addresses: '',
  unix_socket_permissions: '0700',
  max_connections: '60',
  // A query over the events of a year takes six locks for each day's partition.
  max_locks_per_transaction: '512',
  shared_buffers: '64MB',
  max_wal_size: '512MB',
  wal_level: 'minimal',
  max_wal_senders: '0',
  wal_writer_delay: '10ms',
  io_method: 'sync',
  ssl: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_line_prefix: '%m [%p] ',
  // A DETAIL line would repeat the values of a refused row.
  log_error_verbosity: 'terse',
};

/**
 * Starts the embedded PostgreSQL, made first where it is missing, and waits until it accepts a
 * connection. It listens on a Unix socket only and lets in the OS users of this process and of
 * postgres itself, as the role `countersign`.
 * Throws EngineError: data in use, folder out of reach, or what the server complained about.
 */
export async function startPostgres(options: PostgresOptions): Promise<PostgresEngine> {
  const { dataDirectory, logFile } = options;
  const user = await choosePostgresUser(options.osUser);
  const binaries = await findPostgresBinaries(user);
  await assertReachable(dataDirectory, user);
  await claimDataDirectory(dataDirectory);
  const socket = await chooseSocketFolder(options, user);
  const isThrowAway = options.settings?.['fsync'] === 'off';
  await initPostgres({ dataDirectory, binaries, user, logFile, isThrowAway });
  await giveTo(dataDirectory, user);
  await writeAccessRules(dataDirectory, user);

  const removeSocketFolder = async () => {
    if (socket.isTemporary) await rm(socket.folder, { recursive: true, force: true });
  };

  const logFromByte = await logSizeBytes(logFile);
  let isReady = false;
  const server = await spawnSupervised({
    command: join(binaries, 'bin', 'postgres'),
    args: ['-D', dataDirectory, ...renderSettings(socket.folder, options.settings)],
    env: { LC_ALL: 'C', TZ: 'UTC' },
    logFile,
    logRotation: options.logRotation ?? logRotation,
    stopSignal: 'SIGINT',
    parentDeathSignal: 'SIGINT',
    osUser: user,
    // What ends before it was ready is told by the error below.
    onExit: (exit) => isReady && options.onExit?.(exit),
  });
  const connection = { host: socket.folder, port, user: databaseName, database: databaseName };
  await untilReady({
    what: 'PostgreSQL',
    process: server,
    isReady: () => acceptsPostgresConnection(connection),
    deadlineMs: startDeadlineMs,
    logFile,
    logFromByte,
    complaint: /FATAL|PANIC|error while loading|setpriv:/,
  }).catch(async (error: unknown) => {
    await removeSocketFolder();
    throw error;
  });
  isReady = true;
  options.logger?.info(
    { pid: server.pid, dataDirectory, socket: socket.folder },
    'PostgreSQL runs',
  );
  return {
    pid: server.pid,
    connection,
    stop: async () => {
      await server.stop();
      await removeSocketFolder();
    },
  };
}

async function assertReachable(dataDirectory: string, user: OsUser): Promise<void> {
  const blocking = await findBlockingFolder(dirname(dataDirectory), user);
  if (!blocking) return;
  throw new EngineError(
    `PostgreSQL runs as the user ${user.name}, who cannot enter ${blocking}: ` +
      `choose a folder elsewhere with --dir, or run "chmod o+x ${blocking}"`,
  );
}

/** Data made by another user (an earlier start as root, or not as root) changes its owner. */
async function giveTo(dataDirectory: string, user: OsUser): Promise<void> {
  const { uid } = await stat(dataDirectory);
  if (uid === user.uid) return;
  if (process.getuid?.() !== 0) {
    throw new EngineError(
      `the PostgreSQL data in ${dataDirectory} belongs to another user (id ${uid}): ` +
        'start as that user or as root',
    );
  }
  const args = ['-R', `${user.uid}:${user.gid}`, dataDirectory];
  await runOnce({ command: 'chown', args, timeoutMs: 60_000 });
}

/** Written at every start, because the user who starts us may be another one each time. */
async function writeAccessRules(dataDirectory: string, user: OsUser): Promise<void> {
  const names = new Set([currentOsUser().name, user.name]);
  const maps = [...names].map((name) => `nodes "${name}" ${databaseName}\n`).join('');
  await writeOwned(join(dataDirectory, 'pg_ident.conf'), maps, user);
  const rule = `local all ${databaseName} peer map=nodes\n`;
  await writeOwned(join(dataDirectory, 'pg_hba.conf'), rule, user);
}

async function writeOwned(path: string, text: string, user: OsUser): Promise<void> {
  // Made anew: root must not write through a link that the dropped user put there.
  await rm(path, { force: true });
  const file = await open(path, 'wx', 0o600);
  try {
    await file.writeFile(text);
    await file.chown(user.uid, user.gid);
  } finally {
    await file.close();
  }
}

async function chooseSocketFolder(
  options: PostgresOptions,
  user: OsUser,
): Promise<{ folder: string; isTemporary: boolean }> {
  const folder = options.socketDirectory ?? join(dirname(options.dataDirectory), 'socket');
  const socketFile = join(folder, `.s.PGSQL.${port}`);
  const fits = Buffer.byteLength(socketFile) <= maxSocketPathBytes;
  if (fits && !(await findBlockingFolder(dirname(folder), user))) {
    await makeFolder(folder, 0o700, user);
    await claimSocket(socketFile);
    return { folder, isTemporary: false };
  }
  const temporary = await mkdtemp(join(tmpdir(), 'countersign-'));
  await chown(temporary, user.uid, user.gid);
  return { folder: temporary, isTemporary: true };
}

function renderSettings(socketFolder: string, own: PostgresOptions['settings']): string[] {
  const settings = {
    ...defaultSettings,
    unix_socket_directories: `"${socketFolder.replaceAll('"', '""')}"`,
    ...own,
  };
  return Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]);
}
