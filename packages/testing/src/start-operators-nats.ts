import { chmod, mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { spawnSupervised, type SupervisedProcess } from '@countersign/engines';

import { takeFreePorts } from './free-ports.ts';
import { makeTestCertificate } from './make-test-certificate.ts';
import { findTestNatsServer } from './start-test-nats.ts';
import { waitFor } from './wait-for.ts';

const READY_MS = 20_000;

/** A NATS as an operator sets it up himself: his own certificates, accounts and greeting. */
export interface TestOperatorsNats {
  /** `host:port` each. */
  addresses: string[];
  /** PEM of who signed their certificates; null: nothing is encrypted. */
  authorityFile: string | null;
  /** Other accounts from now on, at all servers that run. */
  reload(accounts: string): Promise<void>;
  /** kill -9 and wait until it is gone. */
  kill(index: number): Promise<void>;
  restart(index: number): Promise<void>;
  /** Stops all and removes their stores. */
  stop(): Promise<void>;
}

/**
 * One nats-server, or a cluster of three, on free loopback ports, each with a configuration file. `accounts` is what
 * stands in the block of that name; empty: anybody may do everything.
 */
export async function startOperatorsNats(options: {
  servers: 1 | 3;
  isTls?: boolean;
  hasJetStream?: boolean;
  accounts?: string;
}): Promise<TestOperatorsNats> {
  const { servers: count, isTls = true, hasJetStream = true } = options;
  const binary = await findTestNatsServer();
  const folder = await mkdtemp(join(tmpdir(), 'countersign-own-nats-'));
  await chmod(folder, 0o755);
  const certificate = isTls ? await makeTestCertificate(folder) : null;
  const ports = await takeFreePorts(count * 2);
  const routes = ports.slice(count).map((port) => `"nats-route://127.0.0.1:${port}"`);
  const running: SupervisedProcess[] = [];
  let accounts = options.accounts ?? '';

  const fileOf = (index: number) => join(folder, `nats-${index}.conf`);
  const logOf = (index: number) => join(folder, `nats-${index}.log`);
  const write = (index: number) =>
    writeFile(
      fileOf(index),
      [
        `server_name: "own-${index + 1}.example"`,
        `listen: "127.0.0.1:${ports[index]}"`,
        ...(certificate
          ? [
              `tls { cert_file: "${certificate.certificateFile}", key_file: "${certificate.keyFile}" }`,
            ]
          : []),
        ...(hasJetStream
          ? [`jetstream { store_dir: "${join(folder, `store-${index}`)}", max_file_store: 4GB }`]
          : []),
        ...(accounts === '' ? [] : [`accounts {\n${accounts}\n}`]),
        ...(count > 1
          ? [
              `cluster { name: own, listen: "127.0.0.1:${ports[count + index]}"`,
              `  routes: [${routes.filter((_, other) => other !== index).join(', ')}] }`,
            ]
          : []),
      ].join('\n'),
    );
  const start = async (index: number) => {
    await mkdir(join(folder, `store-${index}`), { recursive: true });
    await write(index);
    running[index] = await spawnSupervised({
      command: binary,
      args: ['--config', fileOf(index)],
      // On a busy machine a nats-server 2.10 may come up mute (docs/decisions.md), but not with one thread of Go.
      env: { GOMAXPROCS: '1' },
      logFile: logOf(index),
      stopSignal: 'SIGTERM',
    });
    await waitFor(`nats-server ${index}`, () => greets(ports[index]!), { timeoutMs: READY_MS });
  };
  const stop = async () => {
    await Promise.all(running.map((server) => end(server)));
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await Promise.all(ports.slice(0, count).map((_, index) => start(index)));
  } catch (error) {
    await stop();
    throw error;
  }
  return {
    addresses: ports.slice(0, count).map((port) => `127.0.0.1:${port}`),
    authorityFile: certificate?.authorityFile ?? null,
    async reload(next) {
      accounts = next;
      for (const [index, server] of running.entries()) {
        if (!server.isRunning()) continue;
        const before = (await readFile(logOf(index), 'utf8')).length;
        await write(index);
        server.child.kill('SIGHUP');
        const isTaken = async () =>
          (await readFile(logOf(index), 'utf8'))
            .slice(before)
            .includes('Reloaded server configuration');
        await waitFor(`nats-server ${index} to reload`, isTaken, { timeoutMs: READY_MS });
      }
    },
    kill: (index) => end(running[index]!),
    restart: start,
    stop,
  };
}

async function end(server: SupervisedProcess): Promise<void> {
  server.child.kill('SIGKILL');
  await server.stop();
}

async function greets(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port });
    socket.setTimeout(1000, () => socket.destroy());
    socket.once('data', () => {
      resolve(true);
      socket.destroy();
    });
    socket.once('error', () => socket.destroy());
    socket.once('close', () => resolve(false));
  });
}
