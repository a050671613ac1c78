import { randomInt } from 'node:crypto';
import { chmod, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import { tryToBind } from './assert-port-free.ts';
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

/** Below the ports the kernel gives to outgoing connections, which would take a freed one. */
export async function takeFreePort(): Promise<number> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const port = randomInt(10_000, 32_000);
    const codes = (['tcp', 'udp'] as const).map((transport) =>
      tryToBind({ host: '127.0.0.1', port, transport }),
    );
    if ((await Promise.all(codes)).every((code) => code === undefined)) return port;
  }
  throw new Error('no free loopback port');
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
