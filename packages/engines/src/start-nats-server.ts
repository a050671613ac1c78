import { chmod, readFile, rm, writeFile } from 'node:fs/promises';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { connect as connectTls, type ConnectionOptions } from 'node:tls';

import { assertPortFree } from './assert-port-free.ts';
import { dropBrokenSnapshots } from './drop-broken-snapshots.ts';
import { EngineError } from './engine-error.ts';
import { lastLogLine, logSizeBytes } from './log-tail.ts';
import { makeFolder } from './make-folder.ts';
import {
  formatAddress,
  renderNatsConfig,
  type NatsAccess,
  type NatsSettings,
} from './nats-config.ts';
import { logRotation, type LogRotation } from './rotating-log.ts';
import { spawnSupervised, type ProcessExit, type SupervisedProcess } from './spawn-supervised.ts';
import { untilReady } from './until-ready.ts';

export interface NatsOptions extends NatsSettings {
  /** From `findNatsServer`. */
  binary: string;
  logFile: string;
  /** The whole environment of the server; empty when left out. */
  env?: NodeJS.ProcessEnv;
  /** `logRotation` when left out. */
  logRotation?: LogRotation;
  /** Called when the server ends without `stop`. */
  onExit?: (exit: ProcessExit) => void;
}

export interface NatsEngine {
  pid: number;
  /** For clients, without the credentials. */
  url: string;
  /**
   * Takes up who may sign in now and renewed certificates. Whoever may not any more is disconnected, the others stay.
   * Throws EngineError: what the server complained about, or that it said nothing in 5 s.
   */
  reload(access: NatsAccess): Promise<void>;
  stop(): Promise<void>;
  /** kill -9: for a disk so full that an orderly end would spoil what lies on it. */
  kill(): Promise<void>;
}

const startDeadlineMs = 30_000;
const reloadDeadlineMs = 5_000;
// A server killed a moment ago may still hold its ports.
const portPatienceMs = 2_000;

/**
 * Starts a nats-server with JetStream and waits until it greets clients; a cluster's quorum is not
 * waited for. Its configuration lies beside the store as `<storeDirectory>.conf`, 0600.
 * Throws EngineError: port taken, folder not writable, or what the server itself complained about.
 */
export async function startNatsServer(options: NatsOptions): Promise<NatsEngine> {
  await assertPortsFree(options);
  await makeFolder(options.storeDirectory, 0o700);
  await dropBrokenSnapshots(options.storeDirectory);
  const configFile = await writeConfig(options);
  const logFromByte = await logSizeBytes(options.logFile);
  let isReady = false;
  const server = await spawnSupervised({
    command: options.binary,
    args: ['--config', configFile],
    env: options.env ?? {},
    logFile: options.logFile,
    logRotation: options.logRotation ?? logRotation,
    stopSignal: 'SIGTERM',
    // What ends before it was ready is told by the error below.
    onExit: (exit) => isReady && options.onExit?.(exit),
  });
  await untilReady({
    what: `nats-server of ${options.serverName}`,
    process: server,
    isReady: () => greetsWithJetStream(options),
    deadlineMs: startDeadlineMs,
    logFile: options.logFile,
    logFromByte,
    complaint: /\[(FTL|ERR)\]|nats-server: /,
  });
  isReady = true;
  const url = `nats://${formatAddress(options.host, options.clientPort)}`;
  const kill = async () => {
    server.child.kill('SIGKILL');
    await server.stop();
  };
  return {
    pid: server.pid,
    url,
    reload: (access) => reload(server, { ...options, access }),
    stop: () => server.stop(),
    kill,
  };
}

async function reload(server: SupervisedProcess, options: NatsOptions): Promise<void> {
  const { serverName, logFile } = options;
  await writeConfig(options);
  const fromByte = await logSizeBytes(logFile);
  server.child.kill('SIGHUP');
  const giveUpAt = performance.now() + reloadDeadlineMs;
  let line: string | undefined;
  while (!line && server.isRunning() && performance.now() < giveUpAt) {
    await wait(20);
    line = await lastLogLine(logFile, fromByte, /(Reloaded|Failed to reload) server configuration/);
  }
  if (line?.includes('Reloaded server')) return;
  throw new EngineError(
    `nats-server of ${serverName} did not take its new configuration: ` +
      `${line?.trim() ?? 'it gave no reason'} (${logFile})`,
  );
}

async function assertPortsFree({ serverName, host, clientPort, cluster }: NatsOptions) {
  const patienceMs = portPatienceMs;
  await assertPortFree({
    host,
    port: clientPort,
    what: `nats-server of ${serverName}`,
    patienceMs,
  });
  if (!cluster) return;
  const what = `nats-server routes of ${serverName}`;
  await assertPortFree({ host: cluster.host, port: cluster.port, what, patienceMs });
}

async function writeConfig(options: NatsOptions): Promise<string> {
  const configFile = `${options.storeDirectory}.conf`;
  // Written anew, so that no older file's wider mode or owner remains.
  await rm(configFile, { force: true });
  await writeFile(configFile, renderNatsConfig(options), { mode: 0o600, flag: 'wx' });
  await chmod(configFile, 0o600);
  return configFile;
}

/** A server says hello with one INFO line; it must be ours, with JetStream as asked for. */
async function greetsWithJetStream(options: NatsOptions): Promise<boolean> {
  // Files that just now are being replaced are there at the next look.
  const socket = await openSocket(options).catch(() => null);
  if (!socket) return false;
  return new Promise((resolve) => {
    let received = '';
    const finish = (isReady: boolean) => {
      socket.destroy();
      resolve(isReady);
    };
    socket.setTimeout(1_000, () => finish(false));
    socket.on('error', () => finish(false));
    socket.on('close', () => finish(false));
    socket.setEncoding('utf8');
    socket.on('data', (chunk: string) => {
      received += chunk;
      if (received.includes('\r\n')) finish(isGreetingOf(received, options));
      else if (received.length > 65_536) finish(false);
    });
  });
}

async function openSocket({ access, host, clientPort: port }: NatsOptions): Promise<Socket> {
  if ('password' in access) return connect({ host, port });
  const files = [access.authorityFile, access.certificateFile, access.keyFile];
  const [ca, cert, key] = await Promise.all(files.map((file) => readFile(file)));
  return connectTls({ host, port, ca, cert, key } as ConnectionOptions);
}

function isGreetingOf(received: string, options: NatsOptions): boolean {
  const { serverName, hasJetStream = true } = options;
  const [, json] = /^INFO (\{.*\})/.exec(received) ?? [];
  if (!json) return false;
  const info = JSON.parse(json) as { server_name?: string; jetstream?: boolean };
  return info.server_name === serverName && (info.jetstream === true) === hasJetStream;
}
