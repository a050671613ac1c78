import { setTimeout as sleep } from 'node:timers/promises';
import { isDeepStrictEqual } from 'node:util';
import {
  buildApi,
  ProblemError,
  serveCertificate,
  type ApiPorts,
  type ApiTls,
  type RadiusPorts,
  type Readiness,
} from '@countersign/api';
import {
  Asks,
  clientAddresses,
  Membership,
  NatsLink,
  ParkedEntries,
  reachableServers,
  StopFacts,
  UserStates,
  type LogLayout,
} from '@countersign/cluster';
import {
  listDocumentsOfKind,
  openDatabase,
  outboxSize,
  readApplied,
  readCircuit,
  readLogLayout,
  readSettings,
  type Applied,
  type Database,
} from '@countersign/database';
import { createOutbox } from '@countersign/delivery';
import { renewKeys, takeKeys } from '@countersign/keys';
import {
  askExamination,
  backupAgeSeconds,
  OpenDirectories,
  readBackupStatus,
  replicaPorts,
  runCommand,
  sealerOf,
  witnessesHeard,
  type ReplicaPorts,
} from '@countersign/operations';
import { takeStopFact } from '@countersign/verification';
import type { Logger } from 'pino';
import { answerAsk, noteSettled } from './answer-asks.ts';
import { Circuit } from './circuit.ts';
import { changePinOf } from './change-pin-of.ts';
import type { CertificatesMessage, WorkerConfig } from './config.ts';
import { DatabaseGate } from './database-gate.ts';
import { WorkerEvents } from './events.ts';
import { FirstFactor } from './first-factor.ts';
import { KeyCallers } from './key-callers.ts';
import { mergeDegradedClaims } from './merge-degraded-claims.ts';
import { WorkerMetrics } from './metrics.ts';
import { RadiusFront } from './radius/radius-front.ts';
import { SessionCallers } from './session-callers.ts';
import { shareInFlight } from './share-in-flight.ts';
import { TextSending } from './send-text.ts';
import { TextCallbacks } from './text-callbacks.ts';
import { hearStopFacts, tellStopFacts } from './tell-stop-facts.ts';
import { CLOCK_LIMIT_MS, Verifier } from './verifier.ts';

export type RunningWorker = { stop(): Promise<void> };

const READY_PING_MS = 500;
const PLACE_EVERY_MS = 300;
/** A new life's connections get this long to come up before verifications move there. */
const WARM_UP_MS = 1500;
/** What an old life has begun ends by itself within this. */
const OLD_LIFE_MS = 5000;

/** Where this node lives: its agent decides, its workers follow. */
type Place = { layout: LogLayout; applied: Applied };

/** Everything that talks to the log servers of one place. */
type Life = {
  place: Place;
  link: NatsLink;
  membership: Membership;
  asks: Asks;
  verifier: Verifier;
  parked: ParkedEntries;
  ports: ReplicaPorts & Pick<ApiPorts, 'runCommand' | 'examineNode'>;
  /** Claims are merged where the next life is. */
  stopMerging(): void;
  end(): Promise<void>;
};

/** Starts an auth worker: everything it needs is this node's PostgreSQL; the log servers may be away. */
export async function runWorker(
  config: WorkerConfig,
  options: {
    log: Logger;
    signal: AbortSignal;
    onCertificates(listener: (message: CertificatesMessage) => void): void;
    onKeys(listener: (keys: WorkerConfig['keys']) => void): void;
  },
): Promise<RunningWorker> {
  const { log, signal } = options;
  const name = `${config.node} worker ${config.index}`;
  const keys = takeKeys(config.keys);
  options.onKeys((handed) => renewKeys(keys, handed));
  const db = openDatabase({
    ...config.database,
    max: 6,
    applicationName: `countersign ${name}`,
    asyncCommit: true,
  });
  const pingDb = openDatabase({
    ...config.database,
    max: 1,
    applicationName: `countersign ${name} ping`,
  });
  await Promise.all([db.fill(), pingDb.fill()]);
  const gate = new DatabaseGate(() => pingDb.sql`select 1`);
  const events = new WorkerEvents(db, config.node);
  const circuit = new Circuit({ db, gate, events, log });
  const metrics = new WorkerMetrics(
    { node: config.node, worker: String(config.index) },
    readGauges,
  );
  let { tls } = config.http;
  let { certificates } = config;
  let showCertificate: (tls: ApiTls) => void = () => undefined;
  options.onCertificates(({ pair, notices }) => {
    certificates = notices;
    if (!tls || !pair || isDeepStrictEqual(pair, tls.pair)) return;
    tls = { ...tls, pair };
    showCertificate(tls);
  });
  metrics.watchCertificates(() => certificates);
  metrics.watchWitnesses(() => witnessesHeard(life.membership, config.node));
  const outbox = config.outboxFile === null ? null : createOutbox(config.outboxFile);
  const texts = new TextSending({
    seedKey: keys.seed,
    workers: config.texts.workers,
    policy: {
      clusterAddresses: config.logServers.map(({ host }) => host),
      allowedHosts: config.texts.gateways,
    },
    outbox: outbox?.texts ?? null,
    events,
    metrics,
    log,
  });
  const textCallbacks = new TextCallbacks({
    readSettings: () => gate.pass(async () => (await readSettings(db)).settings),
    providersOf: (settings) => texts.providersOf(settings),
    events,
  });
  const directories = new OpenDirectories({ db, node: config.node, seedKey: keys.seed, log });
  const firstFactor = new FirstFactor(directories);
  const work = new AbortController();
  let life = beginLife(await waitForPlace(db, signal));

  function beginLife(place: Place): Life {
    const { layout } = place;
    const { incarnation } = place.applied;
    const servers = clientAddresses(reachableServers(layout, config.logServers), config.node);
    const connection = { ...config.nats, servers, tag: layout.tag, log };
    const link = new NatsLink({ ...connection, name });
    // Peers are asked on connections of their own: a slow log must not silence them, nor one server that is gone.
    const askLink = new NatsLink({ ...connection, name: `${name} asks` });
    const askStates = new UserStates(askLink, incarnation.number);
    const ways = servers.map(
      (server) => new NatsLink({ ...connection, servers: [server], name: `${name} asks` }),
    );
    const membership = new Membership(link);
    const states = new UserStates(link, incarnation.number);
    const asks = new Asks({
      links: ways,
      node: config.node,
      sealer: sealerOf(keys.command),
      answer: (ask) => answerAsk({ db, states: askStates }, ask),
      onSettled: (settled) => noteSettled({ db }, settled),
    });
    const stopFacts = new StopFacts({
      link: askLink,
      incarnationNumber: incarnation.number,
      sealer: sealerOf(keys.command),
      parse: (value) => takeStopFact(value),
    });
    const telling = { db, stopFacts, node: config.node, log };
    hearStopFacts({ ...telling, onMalformed: () => metrics.countMalformedStopFact() });
    const verifier = new Verifier({
      node: config.node,
      // Calls and the mobile app are not among the methods yet.
      elsewhere: null,
      db,
      gate,
      states,
      asks,
      circuit,
      keys,
      incarnation,
      changePin: (change) => changePinOf(change, (request) => life.ports.runCommand(request)),
      sendText: (text) => texts.send(text),
      canSendTexts: (settings) => texts.canSend(settings),
      firstFactor,
      metrics,
      log,
    });
    const path = {
      db,
      node: config.node,
      stopFacts,
      link,
      membership,
      sealer: sealerOf(keys.command),
      attemptKey: keys['attempt-id'],
      commandIdKey: keys['command-id'],
    };
    const ending = new AbortController();
    const tellingStops = tellStopFacts({
      ...telling,
      signal: AbortSignal.any([work.signal, ending.signal]),
    });
    const merging = mergeDegradedClaims({
      node: config.node,
      db,
      states,
      worker: `${config.node}-${config.index}`,
      events,
      log,
      signal: AbortSignal.any([work.signal, ending.signal]),
    });
    return {
      place,
      link,
      membership,
      asks,
      verifier,
      parked: new ParkedEntries(link, incarnation.number),
      ports: {
        ...replicaPorts({
          db,
          link,
          membership,
          incarnation,
          node: config.node,
          version: config.version,
        }),
        runCommand: (request) => runCommand(path, request, () => ({ ...request.caller.proof })),
        examineNode: (node) => askExamination(path, node),
      },
      stopMerging: () => ending.abort(),
      async end() {
        ending.abort();
        await Promise.race([Promise.all([merging, tellingStops]), sleep(1000)]);
        await asks[Symbol.asyncDispose]();
        await Promise.all([link, askLink, ...ways].map((one) => one.close()));
      },
    };
  }

  /** Moves to the place the agent has noted, without refusing anybody meanwhile. */
  async function followPlace(): Promise<void> {
    while (!work.signal.aborted) {
      await sleep(PLACE_EVERY_MS, undefined, { signal: work.signal }).catch(() => undefined);
      const place = await findPlace(db).catch(() => null);
      if (!place || work.signal.aborted || isSamePlace(place, life.place)) continue;
      const { number } = place.applied.incarnation;
      log.info({ incarnation: number, log: place.layout.tag }, 'moving to another log');
      const old = life;
      const next = beginLife(place);
      await next.link.waitUntilUp(WARM_UP_MS);
      life = next;
      old.stopMerging();
      setTimeout(() => void old.end().catch(() => undefined), OLD_LIFE_MS);
    }
  }

  async function readGauges() {
    const [applied, open, size] = await Promise.all([
      readApplied(db),
      readCircuit(db),
      outboxSize(db),
    ]);
    return {
      revision: applied?.revision ?? 0,
      epoch: applied?.epoch ?? 0,
      isCircuitOpen: open.open,
      outboxSize: size,
      clockOffsetMs: life.asks.medianClockOffsetMs(),
      isMaster: life.ports.isMaster(),
      isConnected: life.link.isUp,
      backupAgeSeconds:
        config.backupStatusFile === null
          ? null
          : backupAgeSeconds(readBackupStatus(config.backupStatusFile), Date.now()),
    };
  }

  // Anybody may ask for these, without a key.
  const checkReady = shareInFlight(lookWhetherReady);
  const readJoinTokens = shareInFlight(async () => {
    const stored = await gate.pass(() => listDocumentsOfKind(db, 'join-token'));
    return new Set(stored.map(({ id }) => id));
  });

  async function lookWhetherReady(): Promise<Readiness> {
    const problems: string[] = [];
    const isAnswering = !gate.isShut && (await gate.isAnswering(READY_PING_MS));
    if (!isAnswering) problems.push('PostgreSQL does not answer');
    const offsetMs = life.asks.medianClockOffsetMs();
    if (Math.abs(offsetMs) > CLOCK_LIMIT_MS) {
      problems.push(`the clock is ${Math.round(offsetMs / 1000)} s off the cluster's median`);
    }
    const applied = isAnswering ? await gate.pass(() => readApplied(db)).catch(() => null) : null;
    if (isAnswering && !applied) problems.push('its tables cannot be read');
    if (applied && !applied.isFilled) {
      const { revision, horizon } = applied;
      problems.push(`its tables are being filled: revision ${revision} of ${horizon}`);
    }
    const open = applied && (await gate.pass(() => readCircuit(db)).catch(() => null));
    return { ready: problems.length === 0, degraded: open?.open ?? true, problems };
  }

  // It listens after HTTP does.
  let radius: RadiusFront | null = null;
  const radiusPorts: RadiusPorts = {
    test: (test) => servingRadius().test(test),
    watch: (watch) => servingRadius().watch(watch),
  };
  function servingRadius(): RadiusFront {
    if (radius) return radius;
    throw new ProblemError(503, 'not_ready', 'This worker is just starting.');
  }

  const keyCallers = new KeyCallers(db, gate);
  const sealer = sealerOf(keys.command);
  const sessions = new SessionCallers({
    db,
    gate,
    key: keys.session,
    path: () => ({ link: life.link, sealer, node: config.node }),
  });
  const ports: ApiPorts = {
    node: config.node,
    version: config.version,
    readCluster: () => life.ports.readCluster(),
    findUser: (username) => life.ports.findUser(username),
    readPerson: (username) => life.ports.readPerson(username),
    listUsers: (page) => life.ports.listUsers(page),
    listAdministrators: () => life.ports.listAdministrators(),
    listApiKeys: () => life.ports.listApiKeys(),
    readSettings: () => life.ports.readSettings(),
    listEvents: (filter) => life.ports.listEvents(filter),
    eventsAfter: (filter) => life.ports.eventsAfter(filter),
    isMaster: () => life.ports.isMaster(),
    authenticate: (credentials) =>
      (SessionCallers.isSession(credentials) ? sessions : keyCallers).authenticate(credentials),
    sessions,
    verify: (attempt) => life.verifier.verify(attempt),
    pollVerification: (poll) => life.verifier.poll(poll),
    runCommand: (request) => life.ports.runCommand(request),
    examineNode: (node) => life.ports.examineNode(node),
    checkReady,
    metrics: () => metrics.render(),
    knowsJoinToken: async (id) => (await readJoinTokens()).has(id),
    takeTextCallback: (callback) => textCallbacks.take(callback),
    directories,
    ...(config.radius && { radiusFront: radiusPorts }),
    ...(outbox && { readDemoOutbox: () => outbox.list() }),
  };
  const server = buildApi(ports, {
    logger: log,
    trustedProxies: config.http.trustedProxies,
    monitoringFrom: config.http.monitoringFrom,
    ...(tls && { tls }),
  });
  showCertificate = (next) => {
    serveCertificate(server, next);
    log.info('shows another certificate from now on');
  };
  // Every worker of the node listens on the same port; the kernel spreads connections over them.
  const address = { host: config.http.host, port: config.http.port, reusePort: true };
  await server.listen(address);
  radius =
    config.radius &&
    (await RadiusFront.start({
      node: config.node,
      worker: config.index,
      workers: config.texts.workers,
      listen: config.radius,
      db,
      gate,
      keys,
      verify: (attempt) => life.verifier.verify(attempt),
      awaitAnswer: (...args) => life.verifier.awaitAnswer(...args),
      refuse: (attempt, reason) => life.verifier.refuse(attempt, reason),
      whoIs: (name) => life.verifier.whoIs(name),
      parkedEntries: () => life.parked,
      isReady: async () => (await checkReady()).ready,
      events,
      metrics,
      log,
    }));
  const following = followPlace();
  log.info({ port: config.http.port }, 'listening');
  return {
    /** Finishes requests under way (bounded by 5 s), then lets everything go. */
    async stop() {
      await Promise.race([
        Promise.all([server.close(), radius?.[Symbol.asyncDispose]()]),
        sleep(5000),
      ]);
      work.abort();
      await following;
      await Promise.all([life.end(), directories[Symbol.asyncDispose]()]);
      await Promise.all([db.close(), pingDb.close()]);
    },
  };
}

async function findPlace(db: Database): Promise<Place | null> {
  const [layout, applied] = await Promise.all([readLogLayout<LogLayout>(db), readApplied(db)]);
  return layout && applied ? { layout, applied } : null;
}

function isSamePlace(a: Place, b: Place): boolean {
  return a.layout.tag === b.layout.tag && a.applied.incarnation.id === b.applied.incarnation.id;
}

/** A fresh node has nothing to verify with until its agent has reached the log once. */
async function waitForPlace(db: Database, signal: AbortSignal): Promise<Place> {
  for (;;) {
    const place = await findPlace(db).catch(() => null);
    if (place) return place;
    await sleep(200, undefined, { signal });
  }
}
