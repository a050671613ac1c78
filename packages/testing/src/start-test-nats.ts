import { randomBytes } from 'node:crypto';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

import {
  findNatsServer,
  startNatsServer,
  type NatsAccess,
  type NatsEngine,
  type NatsOptions,
} from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import { startNatsContainers } from './start-nats-containers.ts';
import { usesContainers } from './uses-containers.ts';

export interface TestNats {
  /** In the order of the servers, without credentials. */
  urls: string[];
  user: string;
  password: string;
  /** The engine at an index is replaced by `restart`; empty where they run in containers. */
  servers: NatsEngine[];
  /** kill -9 and wait until it is gone. */
  kill(index: number): Promise<void>;
  /** Stops a server in an orderly way. */
  halt(index: number): Promise<void>;
  pause(index: number): Promise<void>;
  resume(index: number): Promise<void>;
  /** Starts a killed or running server again on its ports and store. */
  restart(index: number): Promise<void>;
  /** Stops all servers and removes their stores. */
  stop(): Promise<void>;
}

/** The nats-server that the set-up puts into the checkout. */
export const toolNatsServer = fileURLToPath(
  new URL('../../../.tools/nats-server/nats-server', import.meta.url),
);

/** Path of the nats-server that tests run. */
export async function findTestNatsServer(): Promise<string> {
  return (await findNatsServer({ toolBinary: toolNatsServer })).binary;
}

/**
 * A running nats-server, or a cluster of three, on free loopback ports with JetStream; in containers
 * where `usesContainers`, except with an access of its own, whose files lie on this machine.
 */
export async function startTestNats({
  servers: count,
  access,
}: {
  servers: 1 | 3;
  /** Who may sign in at each; the password of the answer when left out. */
  access?: (index: number) => NatsAccess;
}): Promise<TestNats> {
  if (usesContainers() && !access) return await startNatsContainers({ servers: count });
  const binary = await findTestNatsServer();
  const folder = await mkdtemp(join(tmpdir(), 'countersign-nats-'));
  const password = randomBytes(16).toString('hex');
  const signIn = { user: 'test', password };
  const options = await planServers({ binary, folder, count, access: access ?? (() => signIn) });
  const servers = await Promise.all(options.map(startNatsServer));

  const engineAt = (index: number): NatsEngine => {
    const engine = servers[index];
    if (!engine) throw new Error(`there is no nats-server ${index}`);
    return engine;
  };
  const kill = async (index: number) => {
    const engine = engineAt(index);
    if (isAlive(engine.pid)) process.kill(engine.pid, 'SIGKILL');
    await engine.stop();
  };
  return {
    urls: servers.map((engine) => engine.url),
    ...signIn,
    servers,
    kill,
    halt: (index) => engineAt(index).stop(),
    pause: async (index) => void process.kill(engineAt(index).pid, 'SIGSTOP'),
    resume: async (index) => void process.kill(engineAt(index).pid, 'SIGCONT'),
    restart: async (index) => {
      await engineAt(index).stop();
      servers[index] = await startNatsServer(options[index] as NatsOptions);
    },
    stop: async () => {
      await Promise.all(servers.map((_, index) => kill(index)));
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function planServers(about: {
  binary: string;
  folder: string;
  count: number;
  access: (index: number) => NatsAccess;
}): Promise<NatsOptions[]> {
  const { binary, folder, count, access } = about;
  const host = '127.0.0.1';
  const ports = await takeFreePorts(count * 2);
  const clientPorts = ports.slice(0, count);
  const routePorts = ports.slice(count);
  return clientPorts.map((clientPort, index) => ({
    binary,
    storeDirectory: join(folder, `store-${index}`),
    logFile: join(folder, 'log', `nats-${index}.log`),
    // On a busy machine a nats-server 2.10 may come up mute (docs/decisions.md), but not with one thread of Go.
    env: { GOMAXPROCS: '1' },
    serverName: `test-${index}`,
    clusterName: `test-${clientPorts[0]}`,
    host,
    clientPort,
    access: access(index),
    maxStoreBytes: 1024 ** 3,
    ...(count > 1 && {
      cluster: {
        host,
        port: routePorts[index] as number,
        routes: routePorts.filter((_, other) => other !== index).map((port) => `${host}:${port}`),
        noAdvertise: true as const,
      },
    }),
  }));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
