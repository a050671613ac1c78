import { randomBytes } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { startPostgres } from '@countersign/engines';
import postgres from 'postgres';

export interface TestConnection {
  /** A host name, or the folder of a Unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
}

export interface TestDatabase extends TestConnection {
  drop(): Promise<void>;
}

/** The tests' PostgreSQL when somebody else runs it: the test run itself, or an operator's URL. */
export const testPostgresVariable = 'COUNTERSIGN_TEST_POSTGRES_URL';

let ownServer: Promise<{ connection: TestConnection; stop(): Promise<void> }> | undefined;

/**
 * A real PostgreSQL for tests: the one COUNTERSIGN_TEST_POSTGRES_URL names (vitest's global set-up
 * starts one for the whole run), else an embedded one that ends with this process.
 */
export async function testPostgres(): Promise<TestConnection> {
  const url = process.env[testPostgresVariable];
  if (url) return parsePostgresUrl(url);
  ownServer ??= startThrowAwayPostgres();
  return (await ownServer).connection;
}

/** An embedded PostgreSQL whose data is not safe on disk, in a folder of its own. */
export async function startThrowAwayPostgres(): Promise<{
  connection: TestConnection;
  stop(): Promise<void>;
}> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-postgres-'));
  // The user postgres is dropped to has to pass.
  await chmod(folder, 0o711);
  const server = await startPostgres({
    dataDirectory: join(folder, 'data'),
    logFile: join(folder, 'log', 'postgres.log'),
    settings: {
      fsync: 'off',
      synchronous_commit: 'off',
      full_page_writes: 'off',
      max_connections: '200',
    },
  });
  return {
    connection: server.connection,
    stop: async () => {
      await server.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** A fresh database, empty or a copy of `template` (which nobody may be connected to). */
export async function createTestDatabase(
  options: { template?: string } = {},
): Promise<TestDatabase> {
  const server = await testPostgres();
  const database = `test_${randomBytes(8).toString('hex')}`;
  const template = options.template ?? 'template0';
  await runOnServer(server, `CREATE DATABASE "${database}" TEMPLATE "${template}"`);
  return {
    ...server,
    database,
    drop: () => runOnServer(server, `DROP DATABASE IF EXISTS "${database}" WITH (FORCE)`),
  };
}

async function runOnServer(server: TestConnection, statement: string): Promise<void> {
  const sql = postgres({ ...server, max: 1, connect_timeout: 10, onnotice: () => {} });
  try {
    await sql.unsafe(statement);
  } finally {
    await sql.end({ timeout: 5 });
  }
}

/** `postgres://user:password@host:port/database`, or `?host=/socket/folder` for a Unix socket. */
export function parsePostgresUrl(text: string): TestConnection {
  const url = new URL(text);
  const socketFolder = url.searchParams.get('host');
  return {
    host: socketFolder ?? url.hostname,
    port: Number(url.port || 5432),
    user: decodeURIComponent(url.username),
    database: decodeURIComponent(url.pathname.slice(1)),
    ...(url.password && { password: decodeURIComponent(url.password) }),
  };
}

export function formatPostgresUrl(connection: TestConnection): string {
  const { host, port, user, database, password } = connection;
  const signIn = [user, ...(password ? [password] : [])].map(encodeURIComponent).join(':');
  if (!host.startsWith('/')) return `postgres://${signIn}@${host}:${port}/${database}`;
  return `postgres://${signIn}@localhost:${port}/${database}?host=${encodeURIComponent(host)}`;
}
