import { once } from 'node:events';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import type { NatsOptions } from './start-nats-server.ts';

// What the tests of this package share; the package `testing` builds on this one.

export const isRoot = process.getuid?.() === 0;

export const toolNatsServer = fileURLToPath(
  new URL('../../../.tools/nats-server/nats-server', import.meta.url),
);

/** A folder that every user may pass, removed with `await using`. */
export async function makeTrialFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(tmpdir(), 'countersign engine-'));
  await chmod(path, 0o711);
  return {
    path,
    [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }),
  };
}

export async function takeFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

export async function singleNatsServer(folder: string, binary: string): Promise<NatsOptions> {
  return {
    binary,
    storeDirectory: join(folder, 'nats'),
    logFile: join(folder, 'log', 'nats.log'),
    serverName: 'node-1',
    clusterName: 'trial',
    host: '127.0.0.1',
    clientPort: await takeFreePort(),
    access: { user: 'node', password: 'trial-password' },
    maxStoreBytes: 64 * 1024 * 1024,
  };
}
