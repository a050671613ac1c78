import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  ChangeLog,
  clientAddresses,
  ensureStreams,
  EventStream,
  Lease,
  Membership,
  namesOf,
  NatsLink,
  reachableServers,
  replicasOf,
  serveAgentRequests,
  serveCommands,
  serveHello,
  StopFacts,
  UserStates,
  type LogLayout,
} from '@countersign/cluster';
import { listNodes, type Database } from '@countersign/database';
import { examineMachine } from '@countersign/doctor';
import { createOutbox } from '@countersign/delivery';
import type { PurposeKey } from '@countersign/keys';
import { sealerOf } from '@countersign/operations';
import type { CertificateNotice } from '@countersign/tls';
import { takeStopFact } from '@countersign/verification';
import type { Logger } from 'pino';
import { AdministratorSignIn } from './administrator-sign-in.ts';
import type { Backups } from './backup/backups.ts';
import { answerAgent } from './answer-agents.ts';
import { authoriseCommand, proveSocket } from './authorise.ts';
import type {
  AGENT_KEYS,
  AgentConfig,
  DiskReport,
  KeyRingMessage,
  KeyRingReport,
  LogServerHealth,
  SealedGeneration,
} from './config.ts';
import { describeHello } from './describe-hello.ts';
import { describeResult } from './describe-result.ts';
import { Disaster } from './disaster.ts';
import type { AgentEvents } from './events.ts';
import { examineNode } from './examine-node.ts';
import { followOthers } from './follow-others.ts';
import { FailoverPolicy } from './failover-policy.ts';
import { ForeignLogs } from './foreign-logs.ts';
import { findPlace, untilWorks } from './find-place.ts';
import { bestTarget, handOver, type HandOverOptions } from './hand-over.ts';
import { runClusterCommand } from './cluster-commands.ts';
import { tendCluster } from './tend-cluster.ts';
import { leaveLog } from './leave-log.ts';
import { LimitKeeper } from './limit-keeper.ts';
import { Directory } from '@countersign/directory';
import { answerDirectoryCommand } from './directory/answer-directory-command.ts';
import { runDirectorySync } from './directory/run-directory-sync.ts';
import { SyncEngine } from './directory/sync-engine.ts';
import { isDirectoryCommand } from './plan-command.ts';
import { followKeyRing } from './keys/follow-key-ring.ts';
import { KeyRotation } from './keys/key-rotation.ts';
import { runMailJob } from './mail/run-mail-job.ts';
import { answerJoinTokens } from './members/answer-join-tokens.ts';
import type { Joining } from './members/describe-join.ts';
import { handleJoin, knownLogServers } from './members/handle-join.ts';
import { askForCertificate, runMemberDuties } from './members/run-member-duties.ts';
import { readMembers } from './members/member-documents.ts';
import type { MemberMessage } from './members/supervisor-line.ts';
import { Witnesses } from './members/witnesses.ts';
import { Mastership } from './mastership.ts';
import { Heartbeats } from './heartbeats.ts';
import { holdCircuits } from './hold-circuits.ts';
import { moveLog } from './move-log.ts';
import { NodeHealth } from './node-health.ts';
import { nextLayout } from './plan-move.ts';
import { publishEvents } from './publish-events.ts';
import { rebuild } from './rebuild.ts';
import { RebuildWatch } from './rebuild-watch.ts';
import { mayDropFor } from './rejoin-wish.ts';
import { Replica } from './replica.ts';
import { keepDiverged } from './save-changes.ts';
import { serveSocket } from './serve-socket.ts';
import { TablesWatch } from './tables-watch.ts';
import { Storage } from './storage.ts';
import { StatesProbe } from './states-probe.ts';
import type { StoreMarks } from './store-marks.ts';
import type { DatabaseWatch } from './watch-database.ts';
import { watchLogServer } from './watch-log-server.ts';

/** What outlasts a life. */
export type AgentShared = {
  config: AgentConfig;
  keys: Record<(typeof AGENT_KEYS)[number], PurposeKey>;
  db: Database;
  /** For what may be lost in a power cut. */
  lazyDb: Database;
  events: AgentEvents;
  databaseWatch: DatabaseWatch;
  log: Logger;
  signal: AbortSignal;
  showApiKey(key: string): void;
  showInvitation(code: string): void;
  restartLogServer(): void;
  tellSupervisor(
    message:
      | { type: 'log-server-health'; health: LogServerHealth }
      | MemberMessage
      | KeyRingMessage,
  ): void;
  wrapClusterKey: Joining['wrapClusterKey'];
  /** As the supervisor has it on disk. */
  keyRing(): KeyRingReport;
  makeGeneration(): Promise<SealedGeneration>;
  /** As the supervisor has measured them last. */
  disks(): DiskReport[];
  certificates(): CertificateNotice[];
  backups: Backups;
  known: {
    /** Of any incarnation heard of. */
    highestNumber: number;
    runsLogServer: boolean;
    storeMarks: StoreMarks;
    /** Tags of the layouts this node has left. */
    leftTags: string[];
  };
};

const LOOK_EVERY_MS = 1000;
const LET_GO_MS = 1500;
/** A caller gets its answer before the life that answers ends. */
const ANSWER_FIRST_MS = 300;

/**
 * An agent in one incarnation of one set of log servers: follows it, competes for its lease, serves its commands.
 * Ends with the layout to live in next, or null when the agent stops.
 */
export class AgentLife {
  readonly ended: Promise<LogLayout | null>;
  readonly #finish: (next: LogLayout | null) => void;
  readonly #stopping = new AbortController();
  #stopWork: (options: { handOver: boolean }) => Promise<void> = async () => undefined;
  #resign: (why: string) => void = () => undefined;
  readonly #begun: Promise<void>;

  static begin(shared: AgentShared, layout: LogLayout): AgentLife {
    return new AgentLife(shared, layout);
  }

  private constructor(shared: AgentShared, layout: LogLayout) {
    const { promise, resolve } = Promise.withResolvers<LogLayout | null>();
    this.ended = promise;
    this.#finish = resolve;
    this.#begun = this.#run(shared, layout).catch((error: unknown) => {
      if (this.#stopping.signal.aborted) return;
      shared.log.error({ error: String(error) }, 'this life of the agent failed, beginning again');
      setTimeout(() => resolve(layout), LOOK_EVERY_MS);
    });
  }

  /** Only the first call counts. */
  end(next: LogLayout | null): void {
    this.#stopping.abort();
    this.#finish(next);
  }

  resign(why: string): void {
    this.#resign(why);
  }

  async stop(options: { handOver: boolean }): Promise<void> {
    this.#stopping.abort();
    await this.#begun;
    await this.#stopWork(options);
  }

  async #run(shared: AgentShared, layout: LogLayout): Promise<void> {
    const { config, keys, db, lazyDb, events, databaseWatch, log, known } = shared;
    const { node, dataDirectory, limits } = config;
    const { signal } = this.#stopping;
    const instance = randomUUID();
    const commandSealer = sealerOf(keys.command);
    const documentSealer = sealerOf(keys.document);
    const logReplicas = replicasOf(layout);
    const link = new NatsLink({
      ...config.nats,
      servers: clientAddresses(reachableServers(layout, config.logServers), node),
      name: `${node} agent`,
      tag: layout.tag,
      log,
    });
    this.#stopWork = () => link.close();
    void watchLogServer({ ...shared, layout, signal });
    const membership = new Membership(link);
    const probe = new StatesProbe();
    const foreign = new ForeignLogs({ shared, layout, link });
    const lookingAround = foreign.run(signal, (next) => this.end(next));
    const hello = { node, db, layout, known, membership, probe };
    serveHello({ link, sealer: commandSealer, describe: () => describeHello(hello) });
    const incarnation = await findPlace(shared, layout, link, signal);
    if (!incarnation) return;
    const { number } = incarnation;
    const stopFacts = new StopFacts({
      link,
      incarnationNumber: number,
      sealer: commandSealer,
      parse: (value) => takeStopFact(value),
    });
    const witnesses: Witnesses = new Witnesses({
      node,
      identity:
        config.identity && 'seed' in config.nats
          ? { agentSeed: config.nats.seed, caPem: config.identity.caPem }
          : null,
      link,
      layout,
      incarnationNumber: number,
      left: () => known.leftTags,
      logServers: () => knownLogServers(layout, membership),
      storeMarks: known.storeMarks,
      isMaster: () => mastership.isActive,
      renew: (args) => askForCertificate({ shared, link, membership, stopFacts }, args),
      log,
    });
    // Before the log answers: it may be waiting for a witness.
    void untilWorks(() => readMembers({ db, keys }), { log, signal }).then(
      (stored) => stored && witnesses.noteMembers(stored.document.list),
      () => undefined,
    );
    known.highestNumber = Math.max(known.highestNumber, number);

    const storage = new Storage({
      node,
      link,
      membership,
      incarnationNumber: number,
      limits,
      disks: shared.disks,
      isLogWritable: () => probe.isWritable,
      tellSupervisor: shared.tellSupervisor,
    });
    const limitKeeper = new LimitKeeper({ link, limits, log });
    const policy = new FailoverPolicy(db, log);
    const authorise = (command: Parameters<typeof authoriseCommand>[1]) =>
      authoriseCommand({ db, keys }, command);
    const replica = await untilWorks(
      () =>
        Replica.open({
          db,
          link,
          incarnation,
          sealer: documentSealer,
          onApplied: (applied) => policy.refresh(applied),
          onDiverged: (from, applied) => keepDiverged({ ...shared, from, applied }),
          mayDrop: mayDropFor(dataDirectory, incarnation),
          log,
        }),
      { log, signal },
    );
    policy.refresh(replica.applied);
    const rebuildWatch = new RebuildWatch({
      node,
      layout,
      link,
      incarnation,
      replica,
      membership,
      knownNodes: (await untilWorks(() => listNodes(db), { log, signal })).map(({ name }) => name),
    });
    const leaseWork = new AbortController();
    const applying = new AbortController();
    const work = new AbortController();
    const tables = new TablesWatch({
      db: lazyDb,
      sealer: documentSealer,
      incarnationId: () => replica.applied.incarnation.id,
      isCaughtUp() {
        const end = membership.master()?.revision ?? Infinity;
        return replica.mode === 'live' && replica.isComparable && replica.applied.revision >= end;
      },
      events,
      log,
      signal: work.signal,
    });
    const health = new NodeHealth({
      dataDirectory,
      incarnationNumber: number,
      link,
      replica,
      tables,
      storage,
      databaseWatch,
      probe,
      limitKeeper,
      foreign,
      rebuildWatch,
      certificates: shared.certificates,
      backups: shared.backups,
      directoryProblems: () => (mastership.isActive ? directories.problems() : []),
    });
    const lease: Lease = new Lease({
      link,
      incarnationNumber: number,
      baseEpoch: incarnation.baseEpoch,
      node,
      instance,
      isPromotable: config.isPromotable,
      policy: () => policy.current,
      isFit: () => health.defects().length === 0 && rebuildWatch.hasHeardOthers(),
      onGain: (term) => mastership.begin(term),
      onLoss(why) {
        if (mastership.isActive || mastership.term) {
          log.warn({ why }, 'no longer master');
          events.resigned({ why });
        }
        mastership.end();
        heartbeats.send();
      },
      onMoved: (next) => {
        log.info({ to: next.tag }, 'this log is closed, following the one it was closed for');
        this.end(next);
      },
      log,
    });
    const joining: Joining = {
      layout,
      logServers: () => knownLogServers(layout, membership),
      wrapClusterKey: shared.wrapClusterKey,
    };
    const mastership: Mastership = new Mastership({
      node,
      instance,
      baseRevision: incarnation.baseRevision,
      db,
      log,
      changeLog: new ChangeLog(link, incarnation, documentSealer),
      lease,
      replica,
      keys,
      events,
      newestRevision: () => rebuildWatch.newestRevision(),
      refuseChange: (command, plan) => storage.refusalOf(command.name, plan),
      onRoleChange: () => heartbeats.send(),
      authorise,
      describeResult: (command, result) =>
        describeResult({ db, keys, ...(config.identity && { joining }) }, command, result),
    });
    this.#resign = (why) => void lease.resign(why);
    const keyRotation = new KeyRotation({
      node,
      db,
      sealer: documentSealer,
      keys,
      baseRevision: incarnation.baseRevision,
      mastership,
      membership,
      keyRing: shared.keyRing,
      makeGeneration: shared.makeGeneration,
      events,
      log,
    });
    const heartbeats = new Heartbeats({
      config,
      instance,
      layout,
      incarnationNumber: number,
      known,
      membership,
      mastership,
      lease,
      replica,
      health,
      storage,
      tables,
      databaseWatch,
      probe,
      keyRing: shared.keyRing,
      keyRotation,
      witnesses,
      stopping: signal,
    });
    const handOverOptions: HandOverOptions = {
      node,
      link,
      sealer: commandSealer,
      membership,
      lease,
      mastership,
      replica,
      events,
      log,
    };
    const moveOptions = { ...handOverOptions, db, incarnation, witnesses };
    const states = new UserStates(link, number);
    const stream = new EventStream(link, number, sealerOf(keys.event));
    const machine = () =>
      examineMachine(config.examined, {
        isRunning: true,
        logServers: reachableServers(layout, config.logServers),
      });
    const examine = () => examineNode({ node, db: lazyDb, membership, tables, config, machine });
    const moveSoon = (next: LogLayout) => setTimeout(() => this.end(next), ANSWER_FIRST_MS);
    const tryMove = async (servers: LogLayout['servers']): Promise<boolean> => {
      const next = nextLayout({ servers, by: node, disasterAt: null, after: layout.tag });
      if (!(await moveLog(next, moveOptions))) return false;
      events.logMoved({ servers: servers.map(({ name }) => name).join(', ') });
      moveSoon(next);
      return true;
    };

    const directories = new SyncEngine({
      db,
      seedKey: keys.seed,
      baseRevision: incarnation.baseRevision,
      mastership,
      refuseChanges: () => storage.refusalOf('directory.sync', { document: { removed: false } }),
      open: (directory) => new Directory(directory, { log }),
      texts: {
        policy: {
          clusterAddresses: config.logServers.map(({ host }) => host),
          allowedHosts: config.textGateways,
        },
        outbox: config.outboxFile === null ? null : createOutbox(config.outboxFile).texts,
      },
      events,
      log,
    });

    serveCommands({
      link,
      sealer: commandSealer,
      instance,
      handle(command) {
        if (isDirectoryCommand(command.name)) {
          const asked = { engine: directories, mastership, replica, authorise };
          return answerDirectoryCommand(command, asked);
        }
        if (command.name === 'join-token.list') {
          return answerJoinTokens(command, { db, keys, mastership, replica, authorise });
        }
        if (command.name === 'node.join') return handleJoin(command, { mastership, authorise });
        if (!command.name.startsWith('cluster.')) return mastership.handle(command);
        const cluster = { ...handOverOptions, db, keys, layout, tryMove, authorise, keyRotation };
        return runClusterCommand({ ...cluster, witnesses }, command);
      },
    });
    const signIn = new AdministratorSignIn({ db, keys, states, events });
    const parts = { config, db, lease, mastership, replica, health, authorise, examine, signIn };
    serveAgentRequests({
      link,
      sealer: commandSealer,
      node,
      handle: (verb, body) => answerAgent(verb, body, { ...parts, onMove: moveSoon }),
    });
    const following = replica.follow(applying.signal);
    const stopApplying = async (): Promise<void> => {
      applying.abort();
      leaseWork.abort();
      await following;
    };
    const socket = await serveSocket({
      config,
      keys,
      db,
      link,
      membership,
      incarnation,
      disaster: new Disaster({
        shared,
        layout,
        link,
        incarnation,
        replica,
        membership,
        isWitness: (name) => witnesses.isWitness(name),
        stopApplying,
        beginAgain: () => moveSoon(layout),
      }),
      stopFacts,
      backups: shared.backups,
      stopping: work.signal,
      examine,
      onMove: moveSoon,
      log,
    });

    const logSize = { logReplicas, limits };
    const running = [
      following,
      known.runsLogServer &&
        known.storeMarks.countOn({
          storeDirectory: join(config.storesDirectory, layout.tag),
          tag: layout.tag,
          signal: work.signal,
          log,
        }),
      // A first start that was interrupted may have left some out.
      incarnation.parent === null &&
        layout.by === null &&
        untilWorks(() => ensureStreams(link, namesOf(number), logSize), { log, signal }).catch(
          () => undefined,
        ),
      followOthers({
        db,
        lazyDb,
        dataDirectory,
        incarnation,
        replica,
        states,
        events: stream,
        stopFacts,
        isMaster: () => mastership.isActive,
        run(command) {
          const proof = proveSocket(keys['socket-proof'], node, command);
          return mastership.handle({ ...command, proof });
        },
        log,
        signal: work.signal,
      }),
      publishEvents({ db: lazyDb, stream, node, signal: work.signal, log }),
      tables.run(),
      shared.backups.run(work.signal),
      storage.run(work.signal),
      probe.run({ states, onAnswer: () => foreign.noteOwnLogAlive(), signal: work.signal }),
      heartbeats.run(work.signal),
      tendCluster({
        config,
        db,
        keys,
        link,
        layout,
        incarnationNumber: number,
        membership,
        mastership,
        lease,
        storage,
        limitKeeper,
        witnesses,
        showApiKey: shared.showApiKey,
        showInvitation: shared.showInvitation,
        tryMove,
        log,
        signal: work.signal,
      }),
      runMemberDuties({
        shared,
        link,
        membership,
        mastership,
        stopFacts,
        witnesses,
        signal: work.signal,
      }),
      followKeyRing({
        db,
        sealer: documentSealer,
        keyRing: shared.keyRing,
        tellSupervisor: (document) => shared.tellSupervisor({ type: 'key-ring', document }),
        log,
        signal: work.signal,
      }),
      keyRotation.run(work.signal),
      runMailJob({
        db,
        keys,
        outbox: config.outboxFile === null ? null : createOutbox(config.outboxFile).mails,
        mastership,
        sealer: documentSealer,
        events,
        log,
        signal: work.signal,
      }),
      runDirectorySync({ engine: directories, mastership, log, signal: work.signal }),
      this.#watchLog(rebuildWatch, { layout, log }, async () => {
        // Nothing is applied while the tables are what the next incarnation is made of.
        await Promise.all([stopApplying(), holdCircuits(moveOptions, 'the log is rebuilt')]);
        await rebuild(replica.applied, {
          db,
          link,
          sealer: documentSealer,
          node,
          ...logSize,
          highestNumber: known.highestNumber,
          disasterAt: layout.disasterAt,
          log,
          signal,
        });
      }),
    ];
    const leaseRun = lease.run(leaseWork.signal);

    this.#stopWork = async (options) => {
      // Told before anything else: another master that stops at the same time looks for somebody who stays.
      heartbeats.send();
      const leaving = leaveLog({ node, link, incarnationNumber: number, log });
      if (options.handOver && known.runsLogServer) await leaving.untilOthersAreCurrent();
      if (options.handOver && mastership.isActive) {
        const target = bestTarget(handOverOptions);
        if (target) await handOver(handOverOptions, target, 'shutdown');
      }
      if (options.handOver && known.runsLogServer) await leaving.moveLeadersAway();
      leaseWork.abort();
      await Promise.race([leaseRun, sleep(2000)]);
      applying.abort();
      work.abort();
      await socket.close();
      await Promise.race([Promise.allSettled([...running, lookingAround]), sleep(LET_GO_MS)]);
      await link.close();
    };
  }

  /** Ends this life when another incarnation stands in the log, and makes that incarnation if it is this node's turn. */
  async #watchLog(
    watch: RebuildWatch,
    { layout, log }: { layout: LogLayout; log: Logger },
    rebuildHere: () => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const step = await watch.look().catch(() => 'wait' as const);
      if (signal.aborted) return;
      if (step === 'begin-again') return this.end(layout);
      if (step === 'rebuild') {
        await rebuildHere().catch((error: unknown) => {
          log.warn({ error: String(error) }, 'the log was not rebuilt');
          watch.noteFailure(error);
        });
        return this.end(layout);
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}
