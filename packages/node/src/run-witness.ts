import { randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

import {
  readStoreMark,
  WitnessLine,
  writeStoreMark,
  type LogLayout,
  type LogServerAddress,
} from '@countersign/cluster';
import { assertPortFree, makePrivateFolder } from '@countersign/engines';
import {
  createCertificateRequest,
  isDueForRenewal,
  readIdentity,
  readNodeCertificate,
  replaceCertificate,
  replaceMembers,
  type Identity,
  type NodeCertificate,
} from '@countersign/identity';
import { watchLogServer, type DiskReport } from '@countersign/replication-agent';
import { describeExpiry } from '@countersign/tls';

import { checkExposure } from './check-exposure.ts';
import { chooseLog, joinLog, type Told } from './choose-log.ts';
import { ownLogServer, readNodeConfig, type LogServer, type NodeConfig } from './config.ts';
import { findNats } from './find-nats.ts';
import { KeptLogServer } from './keep-log-server.ts';
import { layoutFileIn, readLayoutFile, writeLayoutFile, type NotedLayout } from './layout-file.ts';
import { lockFolder } from './lock-folder.ts';
import { identityFolderOf, readWitnessAccess } from './log-access.ts';
import { makeDataFolder } from './make-data-folder.ts';
import { NodeError } from './node-error.ts';
import { refuseHalfDone } from './prepare-membership.ts';
import { readVersion } from './read-version.ts';
import { roleOf } from './role-of.ts';
import { RunFile } from './run-file.ts';
import { listenForStop } from './stop-signals.ts';
import { openSupervisorEvents, type SupervisorEvents } from './supervisor-events.ts';
import { watchIdentity } from './watch-identity.ts';
import { watchStorage } from './watch-storage.ts';
import { explainDisbelief, readWord } from './witness-word.ts';

const stopDeadlineMs = 19_000;
const portPatienceMs = 3_000;
const everyMs = 1_000;
const markEveryMs = 2_000;
/** How long nodes are waited for before the log server starts: they know whether its store is an older copy. */
const firstWordMs = 3_000;
const noncesKept = 16;
const saidAloneEveryMs = 60_000;
const toldMax = 64;

/**
 * Runs a witness until SIGTERM, SIGINT or SIGHUP: a nats-server, and nothing that could read or write what is in it.
 * Resolves when it has stopped, within 20 s; a second signal kills it at once.
 * Throws NodeError, EngineError or IdentityError, one line each, when it cannot start.
 */
export async function runWitness({ configFile }: { configFile: string }): Promise<void> {
  const config = readNodeConfig(configFile);
  checkExposure(config, configFile);
  makeDataFolder(config.dataDirectory);
  const lock = await lockFolder({ folder: config.dataDirectory, kind: 'supervisor' });
  try {
    mkdirSync(join(config.dataDirectory, 'logs'), { recursive: true, mode: 0o700 });
    const events = openSupervisorEvents(config);
    events.witnessStarts();
    await supervise(config, events).catch((error: unknown) => {
      events.witnessFailed(error);
      throw error;
    });
  } finally {
    lock.release();
  }
}

async function supervise(config: NodeConfig, events: SupervisorEvents): Promise<void> {
  const identity = readWitnessIdentity(config);
  const own = readOwnServer(config, identity);
  await assertPortsFree(own);
  const natsBinary = await findNats();
  const noted = readLayoutFile(layoutFileIn(config.dataDirectory));
  if (!noted) {
    throw new NodeError(
      `${layoutFileIn(config.dataDirectory)} is missing: remove ${config.name} from the cluster and let it join again`,
    );
  }
  const runFile = new RunFile(join(config.dataDirectory, 'run.json'));
  const stopping = new AbortController();
  const killAtOnce = (why: string) => {
    events.nodeKilled(why);
    runFile.remove();
    // What we started has asked the kernel to be told of our end.
    process.exit(1);
  };
  const stopListening = listenForStop({
    onStop: (signal) => {
      events.nodeStops(signal);
      stopping.abort();
    },
    onKill: () => killAtOnce('a second signal came'),
  });
  const witness = new Witness({ config, identity, own, natsBinary, noted, runFile, events });
  try {
    await witness.run(stopping.signal);
  } finally {
    const stopsAt = performance.now();
    const deadline = setTimeout(
      () => killAtOnce(`it did not stop in ${stopDeadlineMs / 1000} s`),
      stopDeadlineMs,
    );
    await witness.stop();
    clearTimeout(deadline);
    stopListening();
    runFile.remove();
    events.nodeStopped(performance.now() - stopsAt);
  }
}

/** One running witness: its log server, and its line to the nodes. */
class Witness {
  readonly #config: NodeConfig;
  readonly #own: LogServer;
  readonly #events: SupervisorEvents;
  readonly #logServer: KeptLogServer;
  readonly #line: WitnessLine;
  readonly #closing: (() => void)[] = [];
  readonly #told = new Map<string, Told>();
  readonly #startedAt = performance.now();
  readonly #version = readVersion();
  #identity: Identity;
  #noted: NotedLayout;
  #nonces: string[] = [];
  #knownServers: LogServerAddress[] = [];
  #heardMark = 0;
  #firstWord = Promise.withResolvers<void>();
  #disks: DiskReport[] = [];
  #request: { serial: string; pem: string } | null = null;
  #disbelieved = '';
  /** Monotonic ms. */
  #connectedAt = performance.now();
  #saidAloneAt = performance.now();
  #watching: AbortController | null = null;
  #hasBegun = false;
  #isServing = false;
  #isStopped = false;

  constructor(options: {
    config: NodeConfig;
    identity: Identity;
    own: LogServer;
    natsBinary: string;
    noted: NotedLayout;
    runFile: RunFile;
    events: SupervisorEvents;
  }) {
    const { config, own, events } = options;
    this.#config = config;
    this.#own = own;
    this.#events = events;
    this.#noted = options.noted;
    this.#identity = options.identity;
    const { dataDirectory, name } = config;
    this.#logServer = new KeptLogServer({
      ...options,
      readAccess: () => readWitnessAccess(dataDirectory).server,
      layout: null,
    });
    this.#line = new WitnessLine({
      name,
      signIn: readWitnessAccess(dataDirectory).own,
      log: events.log,
      onWord: (value) => this.#hear(value),
    });
    const identityWatch = watchIdentity({
      dataDirectory,
      onChange: () => this.#logServer.reload(),
    });
    const storage = watchStorage({
      config,
      tellAgent: ({ disks }) => (this.#disks = disks),
      logServer: this.#logServer,
      events,
    });
    this.#closing.push(
      () => identityWatch.close(),
      () => storage.close(),
    );
  }

  /** Ends with the signal. */
  async run(signal: AbortSignal): Promise<void> {
    const marking = this.#countMarks(signal);
    const telling = this.#tellForEver(signal);
    const waited = sleep(firstWordMs, undefined, { signal }).catch(() => undefined);
    await Promise.race([this.#firstWord.promise, waited]);
    if (!signal.aborted) await this.#begin();
    await Promise.all([marking, telling]);
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    for (const close of this.#closing) close();
    this.#watching?.abort();
    await this.#line[Symbol.asyncDispose]();
    await this.#logServer.stop();
  }

  /** Not with a store that is gone, or an older copy: it has agreed to things it knows nothing of any more. */
  async #begin(): Promise<void> {
    const { layout, runsLogServer } = this.#noted;
    if (runsLogServer) {
      const store = this.#storeOf(layout);
      const isThere = existsSync(store);
      if (!isThere) this.#events.storeLost(layout.tag);
      const isOlder = isThere && this.#heardMark > readStoreMark(store);
      if (isOlder) {
        this.#events.storeOlder(layout.tag);
        renameSync(store, `${store}.older`);
      }
      if (!isThere || isOlder) {
        const leftTags = [...this.#noted.leftTags, layout.tag];
        this.#note({ ...this.#noted, runsLogServer: false, leftTags });
      }
    }
    this.#hasBegun = true;
    if (!this.#follow()) await this.#serve();
  }

  /** Runs the log server of the noted layout, if it is one of its own. */
  async #serve(): Promise<void> {
    const { layout, runsLogServer } = this.#noted;
    this.#watching?.abort();
    if (!runsLogServer) {
      // What an operator may still want to look at stays where nothing has run.
      if (this.#isServing) await this.#logServer.moveTo(null);
      return this.#events.witnessWaits(layout);
    }
    this.#isServing = true;
    await makePrivateFolder(this.#storeOf(layout));
    await this.#logServer.moveTo(layout);
    if (this.#isStopped || this.#noted.layout !== layout) return;
    this.#events.witnessRuns(layout, this.#own);
    this.#watching = new AbortController();
    const { name: node, logServers } = this.#config;
    void watchLogServer({
      config: { node, nats: readWitnessAccess(this.#config.dataDirectory).own, logServers },
      layout,
      log: this.#events.log,
      signal: this.#watching.signal,
      mayCreate: false,
      restartLogServer: () => {
        this.#events.logServerMute();
        this.#logServer.restart('the other log servers do not hear it');
      },
    });
  }

  async #tellForEver(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      this.#line.connect(this.#otherServers());
      try {
        await this.#tell();
      } catch (error) {
        this.#events.refusedByWitness(explainDisbelief(error));
      }
      await sleep(everyMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #tell(): Promise<void> {
    this.#sayWhenAlone(performance.now());
    const { certificatePem, members } = this.#identity;
    const certificate = readNodeCertificate(certificatePem, this.#identity);
    const nonce = randomUUID();
    this.#nonces = [nonce, ...this.#nonces].slice(0, noncesKept);
    const { layout, runsLogServer } = this.#noted;
    this.#line.send({
      name: this.#config.name,
      version: this.#version,
      nonce,
      logServer: this.#own,
      tag: layout.tag,
      runsLogServer,
      storeMark: runsLogServer ? readStoreMark(this.#storeOf(layout)) : 0,
      membersSignature: members.signature,
      certificateSerial: certificate.serial,
      certificateExpiresAt: new Date(certificate.endsAtMs).toISOString(),
      certificateRequest: isDueForRenewal(certificate, Date.now())
        ? await this.#requestFor(certificate.serial)
        : null,
      problems: this.#problems(certificate),
    });
  }

  #sayWhenAlone(now: number): void {
    if (this.#line.connected > 0) this.#connectedAt = now;
    if (now - Math.max(this.#connectedAt, this.#saidAloneAt) < saidAloneEveryMs) return;
    this.#saidAloneAt = now;
    this.#events.witnessAlone(now - this.#connectedAt);
  }

  /** One for each certificate: every request is signed anew, and looks like another. */
  async #requestFor(serial: string): Promise<string> {
    if (this.#request?.serial !== serial) {
      const { nodeName: name, keyPem } = this.#identity;
      this.#request = { serial, pem: await createCertificateRequest({ name, keyPem }) };
    }
    return this.#request.pem;
  }

  #problems({ startsAtMs, endsAtMs }: NodeCertificate): string[] {
    const life = { validFromDate: new Date(startsAtMs), validToDate: new Date(endsAtMs) };
    const expiry = describeExpiry(life, 'renewed', new Date());
    return [
      ...(expiry === null ? [] : [`its certificate in the cluster ${expiry}`]),
      ...this.#disks
        .filter(({ state }) => state !== 'ok')
        .map(
          ({ state }) => `the disk under its log is ${state === 'full' ? 'full' : 'nearly full'}`,
        ),
    ];
  }

  #hear(value: Record<string, unknown>): void {
    try {
      const { word, newer } = readWord(value, { identity: this.#identity, nonces: this.#nonces });
      this.#disbelieved = '';
      if (newer) this.#takeMembers(newer);
      if (word.certificatePem !== null) this.#takeCertificate(word.certificatePem);
      this.#knownServers = word.logServers;
      if (word.layout.tag === this.#noted.layout.tag) this.#noteOwnLog(word);
      const { node, layout, incarnation, left, storeMark } = word;
      if (this.#told.size < toldMax || this.#told.has(node)) {
        this.#told.set(node, {
          ...{ node, layout, incarnation, left, storeMark },
          at: performance.now(),
        });
      }
      this.#firstWord.resolve();
      this.#follow();
    } catch (error) {
      const why = explainDisbelief(error);
      if (why !== this.#disbelieved) this.#events.refusedByWitness(why);
      this.#disbelieved = why;
    }
  }

  #takeMembers(list: Identity['members']): void {
    if (!replaceMembers(this.#folder, list)) return;
    this.#identity = readIdentity(this.#folder)!;
    this.#events.membersChanged(list);
  }

  #takeCertificate(certificatePem: string): void {
    const now = readNodeCertificate(this.#identity.certificatePem, this.#identity);
    const told = readNodeCertificate(certificatePem, this.#identity);
    if (told.serial === now.serial || told.endsAtMs <= now.endsAtMs) return;
    replaceCertificate(this.#folder, certificatePem);
    this.#identity = readIdentity(this.#folder)!;
    this.#events.certificateRenewed();
  }

  #noteOwnLog({ incarnation, storeMark }: { incarnation: number; storeMark: number }): void {
    this.#heardMark = Math.max(this.#heardMark, storeMark);
    if (incarnation <= (this.#noted.incarnation ?? 0)) return;
    this.#note({ ...this.#noted, incarnation });
  }

  /** Noted before anything moves: a witness that dies half way goes on there. False: it stays where it is. */
  #follow(): boolean {
    if (!this.#hasBegun || this.#isStopped) return false;
    const times = { startedAt: this.#startedAt, now: performance.now() };
    const next = chooseLog(this.#noted, [...this.#told.values()], times);
    if (!next) return false;
    const { layout } = next;
    const hasStore = existsSync(this.#storeOf(layout));
    const about = { name: this.#config.name, hasStore };
    const { isOlderCopy, ...moved } = joinLog(this.#noted, next, about);
    this.#events.logMoves(layout);
    if (isOlderCopy) this.#events.storeOlder(layout.tag);
    if (moved.runsLogServer) mkdirSync(this.#storeOf(layout), { recursive: true, mode: 0o700 });
    this.#note(moved);
    this.#heardMark = 0;
    this.#serve().catch(this.#events.moveFailed);
    return true;
  }

  #note(noted: NotedLayout): void {
    this.#noted = noted;
    writeLayoutFile(layoutFileIn(this.#config.dataDirectory), noted);
  }

  /** The other nodes hear how far it is; who comes back with less has an older store. */
  async #countMarks(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const { layout, runsLogServer } = this.#noted;
      const store = this.#storeOf(layout);
      if (runsLogServer && existsSync(store) && this.#watching) {
        const mark = Math.max(readStoreMark(store), this.#heardMark) + 1;
        // On a full disk it stands still, and counts on when there is room.
        await writeStoreMark(store, mark).catch(() => undefined);
      }
      await sleep(markEveryMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** Never its own: what its own log server carries it need not ask for. */
  #otherServers(): LogServerAddress[] {
    const byName = new Map<string, LogServerAddress>();
    const { logServers, name } = this.#config;
    for (const server of [...logServers, ...this.#noted.layout.servers, ...this.#knownServers]) {
      if (server.name !== name && !byName.has(server.name)) byName.set(server.name, server);
    }
    return [...byName.values()];
  }

  #storeOf({ tag }: Pick<LogLayout, 'tag'>): string {
    return join(this.#config.dataDirectory, 'nats', tag);
  }

  get #folder(): string {
    return identityFolderOf(this.#config.dataDirectory);
  }
}

/** Throws NodeError where there is none, or another's, or a node's. */
function readWitnessIdentity({ name, dataDirectory, file }: NodeConfig): Identity {
  const folder = identityFolderOf(dataDirectory);
  const identity = readIdentity(folder);
  if (!identity) {
    refuseHalfDone(dataDirectory);
    throw new NodeError(
      `${folder} is missing: make this machine a witness with countersign join --witness`,
    );
  }
  if (identity.nodeName !== name) {
    throw new NodeError(
      `${folder} is the identity of ${identity.nodeName}, and ${file.path} is of ${name}`,
    );
  }
  const role = roleOf(identity);
  if (role === 'witness') return identity;
  throw new NodeError(
    role === 'node'
      ? `${folder} is the identity of a node: start it with countersign node`
      : `${name} is no member of the cluster any more: let it join again, under a new name`,
  );
}

/** Its certificate is for certain hosts, and no node believes it to be at another. */
function readOwnServer(config: NodeConfig, { nodeName, members }: Identity): LogServer {
  const own = ownLogServer(config);
  const key = `${config.file.path}: logServers`;
  if (!own) throw new NodeError(`${key}: does not name ${config.name} itself`);
  const hosts = members.members.find(({ name }) => name === nodeName)?.hosts ?? [];
  if (hosts.includes(own.host) || own.host === nodeName) return own;
  throw new NodeError(
    `${key}: ${config.name} joined as ${hosts.join(', ')}, and its certificate is not for ${own.host}`,
  );
}

async function assertPortsFree({ name, host, clientPort, routePort }: LogServer): Promise<void> {
  const what = `nats-server of ${name}`;
  await assertPortFree({ host, port: clientPort, what, patienceMs: portPatienceMs });
  const routes = `nats-server routes of ${name}`;
  await assertPortFree({ host, port: routePort, what: routes, patienceMs: portPatienceMs });
}
