import { existsSync, mkdtempSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { WORKER_KEYS, type WorkerConfig } from '@countersign/auth-worker';
import type { LogLayout, Sealer } from '@countersign/cluster';
import { assertPortFree, findNatsServer, makePrivateFolder } from '@countersign/engines';
import { deriveKeys, handKeys, open, passwordFor, seal, type ClusterKey } from '@countersign/keys';
import { AGENT_KEYS, type AgentConfig, type LogServerHealth } from '@countersign/replication-agent';

import { chooseLayout } from './choose-layout.ts';
import { prepareClusterKey } from './cluster-key-file.ts';
import { ownLogServer, readNodeConfig, type NodeConfig } from './config.ts';
import { findDemoOutbox } from './demo-outbox.ts';
import { hasStoreGoneBack } from './has-store-gone-back.ts';
import { KeptRunning } from './keep-running.ts';
import { noteMove, readLayoutFile, writeLayoutFile, type NotedLayout } from './layout-file.ts';
import { lockFolder } from './lock-folder.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { startOwnProcess, type OwnProcess } from './own-process.ts';
import { RunFile } from './run-file.ts';
import {
  NATS_USER,
  startEmbeddedEngines,
  type DatabaseAddress,
  type Engines,
} from './start-engines.ts';
import { listenForStop } from './stop-signals.ts';
import { openSupervisorEvents, type SupervisorEvents } from './supervisor-events.ts';
import { watchStorage } from './watch-storage.ts';

const stopDeadlineMs = 19_000;
// Workers of a supervisor killed a moment ago may still be going.
const portPatienceMs = 3_000;

/**
 * Runs one node until SIGTERM, SIGINT or SIGHUP: its engines, its agent and its workers. Resolves
 * when all of them have stopped in order, within 20 s; a second signal kills them at once. Dies
 * this process by kill -9, so do they.
 * Throws NodeError, EngineError or KeyError, one line each, when the node cannot start.
 */
export async function runNode({ configFile }: { configFile: string }): Promise<void> {
  const startedAt = performance.now();
  const config = readNodeConfig(configFile);
  makeDataFolder(config.dataDirectory);
  const lock = await lockFolder({ folder: config.dataDirectory, kind: 'supervisor' });
  try {
    mkdirSync(join(config.dataDirectory, 'logs'), { recursive: true, mode: 0o700 });
    const events = openSupervisorEvents(config);
    events.nodeStarts();
    await supervise(config, events, startedAt).catch((error: unknown) => {
      events.nodeFailed(error);
      throw error;
    });
  } finally {
    lock.release();
  }
}

async function supervise(
  config: NodeConfig,
  events: SupervisorEvents,
  startedAt: number,
): Promise<void> {
  const clusterKey = prepareClusterKey(config);
  await assertPortsFree(config);
  const natsBinary = ownLogServer(config) ? await findNats() : undefined;
  const natsPassword = passwordFor(deriveKeys(clusterKey, ['nats-password'])['nats-password']);

  const runFile = new RunFile(join(config.dataDirectory, 'run.json'));
  const stopRequested = Promise.withResolvers<void>();
  const killAtOnce = (why: string) => {
    events.nodeKilled(why);
    runFile.remove();
    // What we started has asked the kernel to be told of our end.
    process.exit(1);
  };
  const stopListening = listenForStop({
    onStop: (signal) => {
      events.nodeStops(signal);
      stopRequested.resolve();
    },
    onKill: () => killAtOnce('a second signal came'),
  });

  const noted = await findLayout({ config, clusterKey, natsPassword, events });
  const layout = noted.runsLogServer ? noted.layout : null;
  const engines = startEmbeddedEngines({
    config,
    natsPassword,
    natsBinary,
    layout,
    runFile,
    events,
  });
  const processes = startProcesses({ config, clusterKey, engines, noted, runFile, events });
  try {
    const started = processes.firstStart.then(() =>
      events.nodeRuns(performance.now() - startedAt, processes.socketPath),
    );
    await Promise.race([stopRequested.promise, started]);
    await stopRequested.promise;
  } finally {
    const stopsAt = performance.now();
    const deadline = setTimeout(
      () => killAtOnce(`they did not stop in ${stopDeadlineMs / 1000} s`),
      stopDeadlineMs,
    );
    await processes.stop();
    await engines.stop();
    clearTimeout(deadline);
    stopListening();
    runFile.remove();
    events.nodeStopped(performance.now() - stopsAt);
  }
}

interface NodeProcesses {
  /** Rejects when the database cannot be had; everything else is tried again. */
  firstStart: Promise<unknown>;
  socketPath: string;
  stop(): Promise<void>;
}

/** Starts the agent and the workers; they load their code while the database starts. */
function startProcesses(options: {
  config: NodeConfig;
  clusterKey: ClusterKey;
  engines: Engines;
  noted: NotedLayout;
  runFile: RunFile;
  events: SupervisorEvents;
}): NodeProcesses {
  const { config, clusterKey, engines, runFile, events } = options;
  let { noted } = options;
  const logs = join(config.dataDirectory, 'logs');
  const compileCache = join(config.dataDirectory, 'compile-cache');
  const agentFolder = join(config.dataDirectory, 'agent');
  mkdirSync(agentFolder, { recursive: true, mode: 0o700 });
  const socketPath = chooseSocketPath(config.dataDirectory);
  const database = prepareDatabase(engines);

  let tellAgent: OwnProcess['tell'] = () => undefined;
  const storage = watchStorage({
    config,
    tellAgent: (message) => tellAgent(message),
    logServer: engines.logServer,
    events,
  });

  const agent = new KeptRunning({
    start: async (onExit, stopping) => {
      const part = await startOwnProcess({
        packageName: '@countersign/replication-agent',
        logFile: join(logs, 'agent.log'),
        compileCache,
        config: async () =>
          agentConfig({
            config,
            clusterKey,
            engines,
            database: await database,
            agentFolder,
            socketPath,
            noted,
          }),
        onPid: (agentPid) => {
          runFile.update({ agentPid });
          if (agentPid) events.partRuns('agent', agentPid);
        },
        onMessage: (message) => {
          if (isFirstApiKey(message)) events.firstApiKey(message.key);
          if (message.type === 'log-server-mute') {
            events.logServerMute();
            engines.logServer.restart('the other log servers do not hear it');
          }
          if (isLayout(message)) moveTo(message.layout).catch(events.moveFailed);
          if (isLogServerHealth(message)) storage.noteHealth(message.health);
        },
        onHung: (silentMs) => events.partHung('agent', silentMs),
        onExit,
        stopping,
      });
      tellAgent = part.tell;
      return part;
    },
    onEnd: (how, backOffMs) => events.partEnded('agent', how, backOffMs),
  });

  // Noted before anything moves: a node that dies half way goes on there.
  async function moveTo(layout: LogLayout): Promise<void> {
    noted = noteMove(noted, layout, config.name);
    events.logMoves(layout);
    await noteLayout(config, noted);
    await engines.moveTo(noted.runsLogServer ? layout : null);
  }

  const workerPids: (number | null)[] = [];
  const startWorker = (index: number) =>
    new KeptRunning({
      start: (onExit, stopping) =>
        startOwnProcess({
          packageName: '@countersign/auth-worker',
          logFile: join(logs, `worker-${index}.log`),
          compileCache,
          config: async () =>
            workerConfig({ config, clusterKey, engines, database: await database, index }),
          onPid: (pid) => {
            workerPids[index] = pid;
            runFile.update({ workerPids: workerPids.filter((known) => known !== null) });
            if (pid) events.partRuns(`worker ${index}`, pid);
          },
          onHung: (silentMs) => events.partHung(`worker ${index}`, silentMs),
          onExit,
          stopping,
        }),
      onEnd: (how, backOffMs) => events.partEnded(`worker ${index}`, how, backOffMs),
    });
  const parts = [agent, ...Array.from({ length: config.workers }, (_, i) => startWorker(i))];

  return {
    firstStart: Promise.all([database, ...parts.map((part) => part.firstStart)]),
    socketPath,
    stop: async () => {
      storage.close();
      await Promise.all(parts.map((part) => part.stop()));
      rmSync(socketPath, { force: true });
      if (dirname(socketPath) !== config.dataDirectory) {
        rmSync(dirname(socketPath), { recursive: true, force: true });
      }
    },
  };
}

/** Brings the schema up to date, once and before anything uses it. */
async function prepareDatabase(engines: Engines): Promise<DatabaseAddress> {
  const [{ migrate, openDatabase }, address] = await Promise.all([
    // A big import: while PostgreSQL starts it costs no time.
    import('@countersign/database'),
    engines.database,
  ]);
  const applicationName = 'countersign supervisor';
  await using database = openDatabase({ ...address, max: 1, applicationName });
  await migrate(database);
  return address;
}

function agentConfig(about: {
  config: NodeConfig;
  clusterKey: ClusterKey;
  engines: Engines;
  database: DatabaseAddress;
  agentFolder: string;
  socketPath: string;
  noted: NotedLayout;
}): AgentConfig {
  const { config } = about;
  return {
    node: config.name,
    version: readVersion(),
    dataDirectory: about.agentFolder,
    database: about.database,
    nats: about.engines.nats,
    layout: about.noted.layout,
    logServers: config.logServers,
    logServer: ownLogServer(config) ?? null,
    runsLogServer: about.noted.runsLogServer,
    leftLogs: about.noted.leftTags,
    storesDirectory: join(config.dataDirectory, 'nats'),
    limits: config.limits,
    keys: handKeys(deriveKeys(about.clusterKey, AGENT_KEYS)),
    isPromotable: config.promotable,
    url: config.url,
    socketPath: about.socketPath,
    textGateways: config.texts.gateways,
    outboxFile: findDemoOutbox(config),
    logLevel: config.log.level,
  };
}

function workerConfig(about: {
  config: NodeConfig;
  clusterKey: ClusterKey;
  engines: Engines;
  database: DatabaseAddress;
  index: number;
}): WorkerConfig {
  const { config } = about;
  return {
    node: config.name,
    version: readVersion(),
    index: about.index,
    database: about.database,
    nats: about.engines.nats,
    logServers: config.logServers,
    keys: handKeys(deriveKeys(about.clusterKey, WORKER_KEYS)),
    http: config.http,
    radius: config.radius && {
      hosts: config.radius.host,
      authenticationPort: config.radius.authenticationPort,
      accountingPort: config.radius.accountingPort,
    },
    texts: { workers: config.workers, gateways: config.texts.gateways },
    outboxFile: findDemoOutbox(config),
    logLevel: config.log.level,
  };
}

/** Before anything starts: workers share their port, so they would not notice a stranger on it. */
async function assertPortsFree(config: NodeConfig): Promise<void> {
  const { name, http } = config;
  const listeners = [{ host: http.host, port: http.port, what: `HTTP of ${name}` }];
  const own = ownLogServer(config);
  if (own) listeners.push({ host: own.host, port: own.clientPort, what: `nats-server of ${name}` });
  if (own && config.logServers.length > 1) {
    listeners.push({ host: own.host, port: own.routePort, what: `nats-server routes of ${name}` });
  }
  for (const listener of listeners) {
    await assertPortFree({ ...listener, patienceMs: portPatienceMs });
  }
  const { host: hosts = [], authenticationPort, accountingPort } = config.radius ?? {};
  for (const host of hosts) {
    for (const port of [authenticationPort!, accountingPort!]) {
      const what = `RADIUS of ${name}`;
      await assertPortFree({ host, port, what, transport: 'udp', patienceMs: portPatienceMs });
    }
  }
}

function layoutFileOf(config: NodeConfig): string {
  return join(config.dataDirectory, 'log-layout.json');
}

const storeOf = (config: NodeConfig, tag: string) => join(config.dataDirectory, 'nats', tag);

/** Where this node follows the log: as noted, or chosen now and noted. */
async function findLayout(options: {
  config: NodeConfig;
  clusterKey: ClusterKey;
  natsPassword: string;
  events: SupervisorEvents;
}): Promise<NotedLayout> {
  const { config, clusterKey, natsPassword, events } = options;
  const credentials = { user: NATS_USER, password: natsPassword };
  const key = deriveKeys(clusterKey, ['command']).command;
  const sealer: Sealer = {
    seal: (plain, context) => seal(key, plain, context),
    open: (sealed, context) => open(key, sealed, context),
  };
  const file = layoutFileOf(config);
  const noted = readLayoutFile(file);
  if (noted) {
    const { tag, servers } = noted.layout;
    // Alone there is nobody to contradict.
    if (!noted.runsLogServer || servers.length === 1) return noted;
    const storeDirectory = storeOf(config, tag);
    const about = { config, credentials, sealer, tag, storeDirectory };
    const isThere = existsSync(storeDirectory);
    if (isThere && !(await hasStoreGoneBack(about))) return noted;
    // It has agreed to things it knows nothing of any more.
    if (isThere) {
      events.storeOlder(tag);
      renameSync(storeDirectory, `${storeDirectory}.older`);
    } else events.storeLost(tag);
    return { ...noted, runsLogServer: false };
  }
  const chosen = await chooseLayout({ config, credentials, sealer });
  await noteLayout(config, chosen);
  return chosen;
}

/** The store's folder first: where it is missing later, it was lost. */
async function noteLayout(config: NodeConfig, noted: NotedLayout): Promise<void> {
  if (noted.runsLogServer) await makePrivateFolder(storeOf(config, noted.layout.tag));
  writeLayoutFile(layoutFileOf(config), noted);
}

async function findNats(): Promise<string> {
  const toolBinary = new URL('../../../.tools/nats-server/nats-server', import.meta.url).pathname;
  const { binary } = await findNatsServer({ toolBinary: decodeURIComponent(toolBinary) });
  return binary;
}

// The kernel cuts a socket's path at 107 bytes.
const longestSocketPathBytes = 100;

function chooseSocketPath(dataDirectory: string): string {
  const path = join(dataDirectory, 'countersign.sock');
  if (Buffer.byteLength(path) <= longestSocketPathBytes) return path;
  return join(mkdtempSync(join(tmpdir(), 'countersign-')), 'countersign.sock');
}

function readVersion(): string {
  const text = readFileSync(new URL('../package.json', import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}

function isFirstApiKey(message: { type: string }): message is { type: string; key: string } {
  return message.type === 'first-api-key' && 'key' in message && typeof message.key === 'string';
}

function isLayout(message: { type: string }): message is { type: string; layout: LogLayout } {
  return message.type === 'log-layout' && 'layout' in message;
}

function isLogServerHealth(message: {
  type: string;
}): message is { type: string; health: LogServerHealth } {
  return message.type === 'log-server-health';
}
