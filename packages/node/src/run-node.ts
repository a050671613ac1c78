import { existsSync, mkdtempSync, mkdirSync, renameSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

import { WORKER_KEYS, type WorkerConfig } from '@countersign/auth-worker';
import type { LogLayout, LogSignIn, Sealer } from '@countersign/cluster';
import { assertPortFree, makePrivateFolder } from '@countersign/engines';
import { deriveKeys, encodeKeyRing, handKeys, open, seal, type KeyRing } from '@countersign/keys';
import { AGENT_KEYS, type AgentConfig, type LogServerHealth } from '@countersign/replication-agent';

import { CertificateWatch, type Certificates } from './certificate-watch.ts';
import { checkExposure } from './check-exposure.ts';
import { chooseLayout } from './choose-layout.ts';
import { KeptKeyRing } from './key-ring.ts';
import { ownLogServer, readNodeConfig, type NodeConfig } from './config.ts';
import { findDemoOutbox } from './demo-outbox.ts';
import { examinedNode } from './examined-node.ts';
import { findNats } from './find-nats.ts';
import { hasStoreGoneBack } from './has-store-gone-back.ts';
import { KeptRunning } from './keep-running.ts';
import {
  layoutFileIn,
  noteMove,
  readLayoutFile,
  writeLayoutFile,
  type NotedLayout,
} from './layout-file.ts';
import { lockFolder } from './lock-folder.ts';
import { readLogAccess } from './log-access.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { checkOperatorsNats, operatorsLayout, refuseOtherLog } from './operators-nats.ts';
import { startOwnProcess, type OwnProcess } from './own-process.ts';
import { isMemberMessage, NodeIdentity } from './node-identity.ts';
import { RunFile } from './run-file.ts';
import { SharedKeyRing } from './share-key-ring.ts';
import {
  connectionsFor,
  startEmbeddedEngines,
  type DatabaseAddress,
  type Engines,
} from './start-engines.ts';
import { listenForStop } from './stop-signals.ts';
import { openSupervisorEvents, type SupervisorEvents } from './supervisor-events.ts';
import type { NodeError } from './node-error.ts';
import { refuseUnfinishedRestore } from './unfinished-restore.ts';
import { watchIdentity } from './watch-identity.ts';
import { readVersion } from './read-version.ts';
import { watchStorage } from './watch-storage.ts';

const stopDeadlineMs = 19_000;
// A server of the operator's may be starting too.
const databasePatienceMs = 60_000;
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
  checkExposure(config, configFile);
  makeDataFolder(config.dataDirectory);
  const lock = await lockFolder({ folder: config.dataDirectory, kind: 'supervisor' });
  try {
    refuseUnfinishedRestore(config.dataDirectory);
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
  const identity = NodeIdentity.open(config, events);
  const keyRing = await KeptKeyRing.prepare(config);
  const certificates = await CertificateWatch.open(config, { events });
  await assertPortsFree(config);
  const natsBinary = ownLogServer(config) ? await findNats() : undefined;
  const { name: nodeName, dataDirectory } = config;
  const { nats } = config;
  const readLog = () => readLogAccess({ dataDirectory, nodeName, clusterKey: keyRing.ring, nats });
  const log = readLog();
  const before = readLayoutFile(layoutFileIn(config.dataDirectory));
  if (before) refuseOtherLog(config, before.layout);
  if (nats && !(await checkOperatorsNats(config, log))) events.natsAway();

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

  const noted = await findLayout({ config, clusterKey: keyRing.ring, signIn: log.agent, events });
  const layout = noted.runsLogServer ? noted.layout : null;
  const engines = startEmbeddedEngines({
    config,
    log,
    readLog,
    natsBinary,
    layout,
    runFile,
    events,
  });
  const processes = startProcesses({
    config,
    identity,
    keyRing,
    engines,
    noted,
    certificates,
    runFile,
    events,
    // Rejected: whoever keeps the node running sees that it failed, and why.
    onRemoved: (why) => stopRequested.reject(why),
  });
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
    certificates.close();
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
  identity: NodeIdentity | null;
  keyRing: KeptKeyRing;
  engines: Engines;
  noted: NotedLayout;
  certificates: CertificateWatch;
  runFile: RunFile;
  events: SupervisorEvents;
  /** The cluster has removed this node. May be called more than once. */
  onRemoved(why: NodeError): void;
}): NodeProcesses {
  const { config, identity, keyRing, engines, certificates, runFile, events } = options;
  let { noted } = options;
  const logs = join(config.dataDirectory, 'logs');
  const compileCache = join(config.dataDirectory, 'compile-cache');
  const agentFolder = agentFolderOf(config);
  mkdirSync(agentFolder, { recursive: true, mode: 0o700 });
  const socketPath = chooseSocketPath(config.dataDirectory);
  const database = prepareDatabase(engines, config);

  const sharedKeys = new SharedKeyRing(keyRing, events);
  let tellAgent: OwnProcess['tell'] = () => undefined;
  const storage = watchStorage({
    config,
    tellAgent: (message) => tellAgent(message),
    logServer: engines.logServer,
    events,
  });

  const identityWatch = watchIdentity({
    dataDirectory: config.dataDirectory,
    onChange: () => engines.logServer.reload(),
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
            identity,
            keyRing,
            engines,
            database: await database,
            agentFolder,
            socketPath,
            noted,
            certificates: certificates.current.notices,
          }),
        onPid: (agentPid) => {
          runFile.update({ agentPid });
          if (agentPid) events.partRuns('agent', agentPid);
        },
        onMessage: (message) => {
          if (sharedKeys.hear(message)) return;
          if (isFirstApiKey(message)) events.firstApiKey(message.key);
          if (isFirstInvitation(message)) events.firstInvitation(message.code);
          if (message.type === 'log-server-mute') {
            events.logServerMute();
            engines.logServer.restart('the other log servers do not hear it');
          }
          if (identity && isMemberMessage(message)) {
            identity.handle(message, {
              ring: keyRing.ring,
              answer: (answer) => tellAgent(answer),
            });
            if (identity.removal) options.onRemoved(identity.removal);
          }
          if (message.type === 'whole-keys-wanted') {
            tellAgent({ type: 'whole-keys', text: encodeKeyRing(keyRing.ring) });
          }
          if (isLayout(message)) moveTo(message.layout).catch(events.moveFailed);
          if (isLogServerHealth(message)) storage.noteHealth(message.health);
        },
        onHung: (silentMs) => events.partHung('agent', silentMs),
        onExit,
        stopping,
      });
      tellAgent = part.tell;
      tellNotices();
      sharedKeys.agentRuns(part.tell);
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
  const tellWorkers: OwnProcess['tell'][] = [];
  // None is told while it starts, so each is told again when it has.
  const tellNotices = () => {
    const message = { type: 'certificates', notices: certificates.current.notices };
    tellAgent(message);
  };
  const tellCertificates = (index: number) =>
    tellWorkers[index]?.({ type: 'certificates', ...certificates.current });
  certificates.follow(() => {
    tellNotices();
    tellWorkers.forEach((_, index) => tellCertificates(index));
  });
  const startWorker = (index: number) =>
    new KeptRunning({
      start: async (onExit, stopping) => {
        const part = await startOwnProcess({
          packageName: '@countersign/auth-worker',
          logFile: join(logs, `worker-${index}.log`),
          compileCache,
          config: async () =>
            workerConfig({
              config,
              keyRing,
              engines,
              database: await database,
              certificates: certificates.current,
              index,
            }),
          onPid: (pid) => {
            workerPids[index] = pid;
            runFile.update({ workerPids: workerPids.filter((known) => known !== null) });
            if (pid) events.partRuns(`worker ${index}`, pid);
          },
          onHung: (silentMs) => events.partHung(`worker ${index}`, silentMs),
          onExit,
          stopping,
        });
        tellWorkers[index] = part.tell;
        tellCertificates(index);
        sharedKeys.workerRuns(index, part.tell);
        return part;
      },
      onEnd: (how, backOffMs) => events.partEnded(`worker ${index}`, how, backOffMs),
    });
  const parts = [agent, ...Array.from({ length: config.workers }, (_, i) => startWorker(i))];

  return {
    firstStart: Promise.all([database, ...parts.map((part) => part.firstStart)]),
    socketPath,
    stop: async () => {
      storage.close();
      identityWatch.close();
      await Promise.all(parts.map((part) => part.stop()));
      rmSync(socketPath, { force: true });
      if (dirname(socketPath) !== config.dataDirectory) {
        rmSync(dirname(socketPath), { recursive: true, force: true });
      }
    },
  };
}

/** Brings the schema up to date, once and before anything uses it. */
async function prepareDatabase(engines: Engines, config: NodeConfig): Promise<DatabaseAddress> {
  const [{ claimDatabase, migrate, openDatabase, untilAnswering }, address] = await Promise.all([
    // A big import: while PostgreSQL starts it costs no time.
    import('@countersign/database'),
    engines.database,
  ]);
  const applicationName = 'countersign supervisor';
  await using database = openDatabase({ ...address, max: 1, applicationName });
  if (config.database) {
    await untilAnswering(database, { timeoutMs: databasePatienceMs });
    await claimDatabase(database, {
      node: config.name,
      clusterId: engines.log.clusterId,
      connections: connectionsFor(config.workers),
    });
  }
  await migrate(database);
  return address;
}

function agentConfig(about: {
  config: NodeConfig;
  identity: NodeIdentity | null;
  keyRing: KeptKeyRing;
  engines: Engines;
  database: DatabaseAddress;
  agentFolder: string;
  socketPath: string;
  noted: NotedLayout;
  certificates: Certificates['notices'];
}): AgentConfig {
  const { config } = about;
  return {
    node: config.name,
    version: readVersion(),
    dataDirectory: about.agentFolder,
    database: about.database,
    nats: about.engines.log.agent,
    identity: about.identity?.handOver() ?? null,
    layout: about.noted.layout,
    examined: examinedNode(config),
    logServers: config.logServers,
    logServer: ownLogServer(config) ?? null,
    runsLogServer: about.noted.runsLogServer,
    leftLogs: about.noted.leftTags,
    storesDirectory: join(config.dataDirectory, 'nats'),
    limits: config.limits,
    keys: handKeys(deriveKeys(about.keyRing.ring, AGENT_KEYS)),
    keyRing: about.keyRing.report,
    isPromotable: config.promotable,
    backupStatusFile: backupStatusFileOf(config),
    backup: config.backup && { ...config.backup, withEvents: config.backup.events },
    url: config.url,
    socketPath: about.socketPath,
    textGateways: config.texts.gateways,
    certificates: about.certificates,
    outboxFile: findDemoOutbox(config),
    logLevel: config.log.level,
  };
}

function workerConfig(about: {
  config: NodeConfig;
  keyRing: KeptKeyRing;
  engines: Engines;
  database: DatabaseAddress;
  certificates: Certificates;
  index: number;
}): WorkerConfig {
  const { config } = about;
  const { host, port, trustedProxies, monitoringFrom } = config.http;
  const { pair, notices } = about.certificates;
  return {
    node: config.name,
    version: readVersion(),
    index: about.index,
    database: about.database,
    nats: about.engines.log.worker,
    logServers: config.logServers,
    keys: handKeys(deriveKeys(about.keyRing.ring, WORKER_KEYS)),
    http: { host, port, trustedProxies, monitoringFrom, tls: pair && { terms: config.tls, pair } },
    certificates: notices,
    radius: config.radius && {
      hosts: config.radius.host,
      authenticationPort: config.radius.authenticationPort,
      accountingPort: config.radius.accountingPort,
    },
    texts: { workers: config.workers, gateways: config.texts.gateways },
    backupStatusFile: config.backup && backupStatusFileOf(config),
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

function agentFolderOf(config: NodeConfig): string {
  return join(config.dataDirectory, 'agent');
}

function backupStatusFileOf(config: NodeConfig): string {
  return join(agentFolderOf(config), 'backups.json');
}

const storeOf = (config: NodeConfig, tag: string) => join(config.dataDirectory, 'nats', tag);

/** Where this node follows the log: as noted, or chosen now and noted. */
async function findLayout(options: {
  config: NodeConfig;
  clusterKey: KeyRing;
  signIn: LogSignIn;
  events: SupervisorEvents;
}): Promise<NotedLayout> {
  const { config, clusterKey, signIn, events } = options;
  const key = deriveKeys(clusterKey, ['command']).command;
  const sealer: Sealer = {
    seal: (plain, context) => seal(key, plain, context),
    open: (sealed, context) => open(key, sealed, context),
  };
  const file = layoutFileIn(config.dataDirectory);
  const noted = readLayoutFile(file);
  if (config.nats) {
    const own = operatorsLayout(config, noted?.layout);
    await noteLayout(config, own);
    return own;
  }
  if (noted) {
    const { tag, servers } = noted.layout;
    // Alone there is nobody to contradict.
    if (!noted.runsLogServer || servers.length === 1) return noted;
    const storeDirectory = storeOf(config, tag);
    const about = { config, signIn, sealer, tag, storeDirectory };
    const isThere = existsSync(storeDirectory);
    if (isThere && !(await hasStoreGoneBack(about))) return noted;
    // It has agreed to things it knows nothing of any more.
    if (isThere) {
      events.storeOlder(tag);
      renameSync(storeDirectory, `${storeDirectory}.older`);
    } else events.storeLost(tag);
    return { ...noted, runsLogServer: false };
  }
  const chosen = await chooseLayout({ config, signIn, sealer });
  await noteLayout(config, chosen);
  return chosen;
}

/** The store's folder first: where it is missing later, it was lost. */
async function noteLayout(config: NodeConfig, noted: NotedLayout): Promise<void> {
  if (noted.runsLogServer) await makePrivateFolder(storeOf(config, noted.layout.tag));
  writeLayoutFile(layoutFileIn(config.dataDirectory), noted);
}

// The kernel cuts a socket's path at 107 bytes.
const longestSocketPathBytes = 100;

function chooseSocketPath(dataDirectory: string): string {
  const path = join(dataDirectory, 'countersign.sock');
  if (Buffer.byteLength(path) <= longestSocketPathBytes) return path;
  return join(mkdtempSync(join(tmpdir(), 'countersign-')), 'countersign.sock');
}

function isFirstApiKey(message: { type: string }): message is { type: string; key: string } {
  return message.type === 'first-api-key' && 'key' in message && typeof message.key === 'string';
}

function isFirstInvitation(message: { type: string }): message is { type: string; code: string } {
  return (
    message.type === 'first-invitation' && 'code' in message && typeof message.code === 'string'
  );
}

function isLayout(message: { type: string }): message is { type: string; layout: LogLayout } {
  return message.type === 'log-layout' && 'layout' in message;
}

function isLogServerHealth(message: {
  type: string;
}): message is { type: string; health: LogServerHealth } {
  return message.type === 'log-server-health';
}
