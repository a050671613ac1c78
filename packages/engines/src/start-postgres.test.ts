import { execFile } from 'node:child_process';
import { readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { acceptsPostgresConnection } from './accepts-postgres-connection.ts';
import { isRoot, makeTrialFolder } from './engine-trial.ts';
import { isRunning } from './running-process.ts';
import type { ProcessExit } from './spawn-supervised.ts';
import { startPostgres, type PostgresEngine, type PostgresOptions } from './start-postgres.ts';

function trialPostgres(folder: string): PostgresOptions {
  return {
    dataDirectory: join(folder, 'postgres'),
    logFile: join(folder, 'log', 'postgres.log'),
    settings: { fsync: 'off' },
  };
}

/** One try gives up after a second. */
async function expectAccepted(connection: PostgresEngine['connection']): Promise<void> {
  await expect.poll(() => acceptsPostgresConnection(connection), { timeout: 10_000 }).toBe(true);
}

describe('PostgreSQL', () => {
  let folder: string;
  let options: PostgresOptions;
  beforeAll(async () => {
    folder = (await makeTrialFolder()).path;
    options = trialPostgres(folder);
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('is made at the first start, and starts again from its data after a stop', async () => {
    const first = await startPostgres(options);
    expect(first.connection).toEqual({
      host: join(folder, 'socket'),
      port: 5432,
      user: 'countersign',
      database: 'countersign',
    });
    await first.stop();
    expect(isRunning(first.pid)).toBe(false);
    expect(await acceptsPostgresConnection(first.connection)).toBe(false);

    const madeAt = (await stat(join(options.dataDirectory, 'PG_VERSION'))).birthtimeMs;
    const second = await startPostgres(options);
    expect((await stat(join(options.dataDirectory, 'PG_VERSION'))).birthtimeMs).toBe(madeAt);
    await expectAccepted(second.connection);
    await second.stop();
  });

  it('never runs as root and keeps its data and socket to its own user', async () => {
    const server = await startPostgres(options);
    const data = await stat(options.dataDirectory);
    const socketFolder = await stat(server.connection.host);
    expect((await stat(`/proc/${server.pid}`)).uid).toBe(data.uid);
    expect(data.uid).not.toBe(0);
    expect([data.mode & 0o777, socketFolder.mode & 0o777]).toEqual([0o700, 0o700]);
    await server.stop();
  });

  it('comes back after kill -9, which is reported, over the lock it left', async () => {
    const exit = await new Promise<ProcessExit>((resolve, reject) => {
      startPostgres({ ...options, onExit: resolve })
        .then((server) => process.kill(server.pid, 'SIGKILL'))
        .catch(reject);
    });
    expect(exit).toEqual({ code: null, signal: 'SIGKILL' });
    expect(await readFile(join(options.dataDirectory, 'postmaster.pid'), 'utf8')).toMatch(/^\d+\n/);
    const server = await startPostgres(options);
    expect(isRunning(server.pid)).toBe(true);
    await server.stop();
  });

  it('starts over a lock whose process number belongs to something else by now', async () => {
    // In a container the same small numbers come round at every boot.
    const lock = `${process.pid}\n${options.dataDirectory}\n1700000000\n5432\n`;
    await writeFile(join(options.dataDirectory, 'postmaster.pid'), lock);
    await writeFile(join(folder, 'socket', '.s.PGSQL.5432.lock'), lock);
    const server = await startPostgres(options);
    expect(isRunning(server.pid)).toBe(true);
    await server.stop();
  });

  it('refuses data in use and a socket in use, and the server in place goes on', async () => {
    const server = await startPostgres(options);
    await expect(startPostgres(options)).rejects.toThrow(
      /^the PostgreSQL data in .* is in use by process \d+: stop that node first/,
    );
    const dataDirectory = join(folder, 'postgres-2');
    await expect(startPostgres({ ...options, dataDirectory })).rejects.toThrow(
      /^the socket .*\.s\.PGSQL\.5432 is in use by another program/,
    );
    await expectAccepted(server.connection);
    await server.stop();
  });

  it('tells what the server itself complained about', async () => {
    const settings = { ...options.settings, shared_buffers: 'plenty' };
    await expect(startPostgres({ ...options, settings })).rejects.toThrow(
      /^PostgreSQL ended at its start: .*FATAL:.*shared_buffers/,
    );
  });

  it('refuses a folder with something else in it and data of another version', async () => {
    const dataDirectory = join(folder, 'log');
    await expect(startPostgres({ ...options, dataDirectory })).rejects.toThrow(
      'is not empty and holds no PostgreSQL data',
    );
    await writeFile(join(options.dataDirectory, 'PG_VERSION'), '17\n');
    await expect(startPostgres(options)).rejects.toThrow("is PostgreSQL 17's, this server is 18");
  });

  it('uses a short folder for the socket where the path would be too long', async () => {
    await using trial = await makeTrialFolder();
    const own = trialPostgres(join(trial.path, 'long'.repeat(25)));
    const server = await startPostgres(own);
    const { host } = server.connection;
    expect(Buffer.byteLength(host)).toBeLessThan(77);
    await expectAccepted(server.connection);
    await server.stop();
    await expect(stat(host)).rejects.toThrow('ENOENT');
  });

  it.runIf(isRoot)('names the folder its user cannot enter', async () => {
    await using trial = await makeTrialFolder();
    const closed = join(trial.path, 'closed');
    await promisify(execFile)('mkdir', ['-m', '0700', closed]);
    const own = trialPostgres(join(closed, 'inner'));
    await expect(startPostgres(own)).rejects.toThrow(
      `PostgreSQL runs as the user countersign, who cannot enter ${closed}: `,
    );
    await rm(closed, { recursive: true });
  });
});
