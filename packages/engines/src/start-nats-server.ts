import { chmod, rm, writeFile } from 'node:fs/promises';
import { connect } from 'node:net';

import { assertPortFree } from './assert-port-free.ts';
import { dropBrokenSnapshots } from './drop-broken-snapshots.ts';
import { logSizeBytes } from './log-tail.ts';
import { makeFolder } from './make-folder.ts';
import { formatAddress, renderNatsConfig, type NatsSettings } from './nats-config.ts';
import { logRotation, type LogRotation } from './rotating-log.ts';
import { spawnSupervised, type ProcessExit } from './spawn-supervised.ts';
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
  stop(): Promise<void>;
  /** kill -9: for a disk so full that an orderly end would spoil what lies on it. */
  kill(): Promise<void>;
}

const startDeadlineMs = 30_000;
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
  return { pid: server.pid, url, stop: () => server.stop(), kill };
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
function greetsWithJetStream(options: NatsOptions): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ host: options.host, port: options.clientPort });
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

function isGreetingOf(received: string, options: NatsOptions): boolean {
  const { serverName, hasJetStream = true } = options;
  const [, json] = /^INFO (\{.*\})/.exec(received) ?? [];
  if (!json) return false;
  const info = JSON.parse(json) as { server_name?: string; jetstream?: boolean };
  return info.server_name === serverName && (info.jetstream === true) === hasJetStream;
}
