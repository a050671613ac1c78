import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHANGE_FORMAT,
  ChangeLog,
  clientAddresses,
  ensureStreams,
  EventStream,
  FIRST_LAYOUT_TAG,
  HEARTBEAT_MS,
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
  type AgentAnswer,
  type AgentVerb,
  type Command,
  type Hello,
  type LogLayout,
  type MasterReply,
} from '@countersign/cluster';
import {
  holdCircuitOpen,
  listNodes,
  readApplied,
  readSettings,
  releaseCircuit,
  type Applied,
  type Database,
} from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { sealerOf } from '@countersign/operations';
import { parseStopFact } from '@countersign/verification';
import type { Logger } from 'pino';
import { authoriseCommand, proveSocket } from './authorise.ts';
import type { AGENT_KEYS, AgentConfig, DiskReport, LogServerHealth } from './config.ts';
import { describeResult } from './describe-result.ts';
import { Disaster } from './disaster.ts';
import type { AgentEvents } from './events.ts';
import { examineNode } from './examine-node.ts';
import { followEvents, followStates } from './follow-states.ts';
import { followStopFacts, tendStopFacts } from './follow-stop-facts.ts';
import { ForeignLogs } from './foreign-logs.ts';
import { findPlace, untilWorks } from './find-place.ts';
import { bestTarget, handOver, type HandOverOptions } from './hand-over.ts';
import { runClusterCommand } from './cluster-commands.ts';
import { tendCluster } from './tend-cluster.ts';
import { leaveLog } from './leave-log.ts';
import { LimitKeeper } from './limit-keeper.ts';
import { Mastership } from './mastership.ts';
import { holdCircuits } from './hold-circuits.ts';
import { HOLD_MS, moveLog } from './move-log.ts';
import { nextLayout } from './plan-move.ts';
import { publishEvents } from './publish-events.ts';
import { publishStates, rebuild } from './rebuild.ts';
import { RebuildWatch } from './rebuild-watch.ts';
import { mayDropFor, forgetRejoin } from './rejoin-wish.ts';
import { Replica } from './replica.ts';
import { describeSavedChanges, saveChanges } from './save-changes.ts';
import { serveSocket } from './serve-socket.ts';
import { TablesWatch } from './tables-watch.ts';
import { Storage } from './storage.ts';
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
  restartLogServer(): void;
  tellSupervisor(message: { type: 'log-server-health'; health: LogServerHealth }): void;
  /** As the supervisor has measured them last. */
  disks(): DiskReport[];
  known: {
    /** Of any incarnation heard of. */
    highestNumber: number;
    runsLogServer: boolean;
    storeMarks: StoreMarks;
  };
};

const PROBE_EVERY_MS = 2000;
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
    const { signal } = this.#stopping;
    const instance = randomUUID();
    const commandSealer = sealerOf(keys.command);
    const servers = reachableServers(layout, config.logServers);
    const credentials = { user: config.nats.user, password: config.nats.password };
    const logReplicas = replicasOf(layout);
    const link = new NatsLink({
      ...credentials,
      servers: clientAddresses(servers, config.node),
      name: `${config.node} agent`,
      tag: layout.tag,
      log,
    });
    this.#stopWork = () => link.close();
    void watchLogServer({ ...shared, layout, signal });
    const membership = new Membership(link);
    let isStatesWritable = true;
    let wasWritableAt = -Infinity;
    const foreign = new ForeignLogs({ shared, layout, link, credentials });
    const lookingAround = foreign.run(signal, (next) => this.end(next));
    serveHello({ link, sealer: commandSealer, describe: describeHello });
    const incarnation = await findPlace(shared, layout, link, signal);
    if (!incarnation) return;
    known.highestNumber = Math.max(known.highestNumber, incarnation.number);
    const { number } = incarnation;

    const { limits } = config;
    const storage = new Storage({
      node: config.node,
      link,
      membership,
      incarnationNumber: number,
      limits,
      disks: shared.disks,
      isLogWritable: () => isStatesWritable,
      tellSupervisor: shared.tellSupervisor,
    });
    const limitKeeper = new LimitKeeper({ link, limits, log });

    const authorise = (command: Parameters<typeof authoriseCommand>[1]) =>
      authoriseCommand({ db, socketKey: keys['socket-proof'] }, command);
    let policy = { mode: 'automatic' as 'automatic' | 'manual', afterMs: 6000 };
    const documentSealer = sealerOf(keys.document);
    const replica = await untilWorks(
      () =>
        Replica.open({
          db,
          link,
          incarnation,
          sealer: documentSealer,
          onApplied: () => refreshPolicy(),
          onDiverged: keepDiverged,
          mayDrop: mayDropFor(config.dataDirectory, incarnation),
          log,
        }),
      { log, signal },
    );
    const rebuildWatch = new RebuildWatch({
      node: config.node,
      layout,
      link,
      incarnation,
      replica,
      membership,
      knownNodes: (await untilWorks(() => listNodes(db), { log, signal })).map(({ name }) => name),
    });
    const lease: Lease = new Lease({
      link,
      incarnationNumber: number,
      baseEpoch: incarnation.baseEpoch,
      node: config.node,
      instance,
      isPromotable: config.isPromotable,
      policy: () => policy,
      isFit: () => defects().length === 0 && rebuildWatch.hasHeardOthers(),
      onGain: (term) => mastership.begin(term),
      onLoss(why) {
        if (mastership.isActive || mastership.term) {
          log.warn({ why }, 'no longer master');
          events.resigned({ why });
        }
        mastership.end();
        beat();
      },
      log,
    });
    const mastership: Mastership = new Mastership({
      node: config.node,
      instance,
      baseRevision: incarnation.baseRevision,
      db,
      log,
      changeLog: new ChangeLog(link, incarnation, documentSealer),
      lease,
      replica,
      seedKey: keys.seed,
      events,
      newestRevision: () => rebuildWatch.newestRevision(),
      refuseChange: (command, plan) => storage.refusalOf(command.name, plan),
      onRoleChange: () => beat(),
      authorise,
      describeResult: (command, result) =>
        describeResult({ db, seedKey: keys.seed }, command, result),
    });
    this.#resign = (why) => void lease.resign(why);
    const handOverOptions: HandOverOptions = {
      node: config.node,
      link,
      sealer: commandSealer,
      membership,
      lease,
      mastership,
      replica,
      events,
      log,
    };
    const moveOptions = { ...handOverOptions, db, incarnationNumber: number };
    const states = new UserStates(link, number);
    const stream = new EventStream(link, number, sealerOf(keys.event));
    const stopFacts = new StopFacts({
      link,
      incarnationNumber: number,
      sealer: commandSealer,
      parse: parseStopFact,
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
    const { node, dataDirectory } = config;
    const examine = () => examineNode({ node, db: lazyDb, membership, dataDirectory, tables });
    const disaster = new Disaster({ shared, layout, link, incarnation, replica, membership });

    function describeProblems(): string[] {
      const found = faults();
      if (!isStatesWritable) found.push('its writes to the log servers are not answered');
      return [
        ...found,
        ...storage.problems(),
        ...limitKeeper.problems,
        ...foreign.problems,
        ...describeSavedChanges(config.dataDirectory),
        ...(rebuildWatch.problem ? [rebuildWatch.problem] : []),
      ];
    }

    /** What keeps this node from being master. */
    function defects(): string[] {
      const found = faults();
      if (tables.damage) found.push(`its tables do not match its digest: ${tables.damage}`);
      return found;
    }

    function faults(): string[] {
      const found: string[] = [];
      if (replica.problem) found.push(replica.problem);
      else if (replica.mode !== 'live') {
        found.push(`it fills its tables for incarnation ${number}`);
      }
      if (storage.defect) found.push(storage.defect);
      if (databaseWatch.isSilent) {
        found.push(
          `its PostgreSQL is silent for ${Math.round(databaseWatch.silentForMs / 1000)} s`,
        );
      }
      return found;
    }

    function beat(): void {
      const { applied, filling } = replica;
      known.storeMarks.note(membership.nodes());
      membership.send({
        node: config.node,
        instance,
        role: mastership.isActive ? 'master' : 'subordinate',
        isHandingOver: mastership.isHandingOver || mastership.isBetweenEpochs,
        masterSince: mastership.term?.since ?? null,
        leaseHolder: lease.record?.holder ?? lease.record?.previous ?? null,
        epoch: mastership.term?.epoch ?? applied.epoch,
        incarnation: { number: applied.incarnation.number, id: applied.incarnation.id },
        filling: filling && { number, revision: filling.revision },
        logServer: config.logServer,
        logServerTag: known.runsLogServer ? layout.tag : null,
        storeMark: known.runsLogServer ? known.storeMarks.own(layout.tag) : null,
        revision: applied.revision,
        digest: applied.digest,
        isDigestComparable: replica.isComparable,
        isPromotable: config.isPromotable && !signal.aborted,
        version: config.version,
        format: CHANGE_FORMAT,
        url: config.url,
        isLogWritable: isStatesWritable,
        verifies: !databaseWatch.isSilent,
        damage: tables.damage,
        problems: describeProblems(),
        disks: storage.disks,
        wallMs: Date.now(),
      });
    }

    async function describeHello(): Promise<Hello> {
      const applied = await readApplied(db).catch(() => null);
      const names = await listNodes(db).catch(() => []);
      return {
        node: config.node,
        layout,
        place: applied && applied.revision > 0 ? placeOf(applied) : null,
        highestNumber: known.highestNumber,
        storeMarks: known.storeMarks.heard(layout.tag),
        master: membership.master()?.node ?? null,
        isLogWritable: performance.now() - wasWritableAt < 3 * PROBE_EVERY_MS,
        knownNodes: names.map(({ name }) => name),
      };
    }

    /** What leaves this replica is kept in a file, and named by status until somebody moves that away. */
    async function keepDiverged(fromRevision: number, applied: Applied): Promise<void> {
      const { changes, file } = await saveChanges({
        db,
        sealer: documentSealer,
        dataDirectory: config.dataDirectory,
        incarnationNumber: applied.incarnation.number,
        fromRevision,
      });
      const { revision } = applied;
      log.warn({ fromRevision, revision, changes: changes.length, file }, 'changes are dropped');
      events.diverged({ fromRevision, revision, changes: changes.length, file });
    }

    let settingsRevision = -1;
    function refreshPolicy(): void {
      if (replica.applied.settingsRevision === settingsRevision) return;
      settingsRevision = replica.applied.settingsRevision;
      readSettings(db).then(
        ({ settings }) => {
          policy = { mode: settings.failover.mode, afterMs: settings.failover.afterSeconds * 1000 };
        },
        (error: unknown) => {
          settingsRevision = -1;
          log.warn({ error: String(error) }, 'settings could not be read');
        },
      );
    }

    const handleCommand = async (command: Command): Promise<MasterReply> => {
      if (!command.name.startsWith('cluster.')) return mastership.handle(command);
      return runClusterCommand({ ...handOverOptions, db, layout, tryMove, authorise }, command);
    };

    const tryMove = async (next: LogLayout['servers']): Promise<boolean> => {
      const layoutNext = nextLayout({ servers: next, by: config.node, disasterAt: null });
      if (!(await moveLog(layoutNext, moveOptions))) return false;
      events.logMoved({ servers: next.map(({ name }) => name).join(', ') });
      setTimeout(() => this.end(layoutNext), ANSWER_FIRST_MS);
      return true;
    };

    const handleAgentRequest = async (
      verb: AgentVerb,
      body: Record<string, unknown>,
    ): Promise<AgentAnswer> => {
      if (verb === 'applied') {
        return { ok: await replica.waitFor(Number(body.revision), Number(body.timeoutMs ?? 1000)) };
      }
      if (verb === 'examine') return { ok: true, result: await examine() };
      if (verb === 'claim') {
        await lease.claimOffer();
        const ok = await mastership.waitUntilActive(2500);
        return { ok, revision: replica.applied.revision };
      }
      if (verb === 'hold') {
        await holdCircuitOpen(db, 'the log moves', HOLD_MS);
        return { ok: true };
      }
      if (verb === 'release') {
        await releaseCircuit(db);
        return { ok: true };
      }
      if (verb === 'move') {
        const next = body.layout as LogLayout;
        setTimeout(() => this.end(next), ANSWER_FIRST_MS);
        return { ok: true };
      }
      return takeOver(body);
    };

    const takeOver = async (body: Record<string, unknown>): Promise<AgentAnswer> => {
      const command = {
        name: 'cluster.promote',
        args: { node: config.node },
        commandId: String(body.commandId),
        proof: body.proof as Record<string, unknown>,
      };
      const refused = await authorise(command);
      if (refused) return { ok: false, code: refused.code, detail: refused.detail };
      if (!config.isPromotable) {
        const detail = `${config.node} is configured with promotable: false`;
        return { ok: false, code: 'not_promotable', detail };
      }
      const unfit = defects()[0];
      if (unfit) return { ok: false, code: 'not_fit', detail: `${config.node}: ${unfit}` };
      const outcome = await lease.takeOver(TAKE_OVER_MS);
      if (outcome === 'taken' && (await mastership.waitUntilActive(ACTIVE_WITHIN_MS))) {
        return { ok: true, revision: replica.applied.revision };
      }
      if (outcome === 'taken') return NOT_YET;
      return outcome === 'no_quorum' ? NO_QUORUM : STILL_HELD;
    };

    serveCommands({
      link,
      sealer: commandSealer,
      instance,
      handle: handleCommand,
    });
    serveAgentRequests({
      link,
      sealer: commandSealer,
      node: config.node,
      handle: handleAgentRequest,
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
      disaster,
      stopFacts,
      stopApplying,
      examine,
      onMove: (next) => setTimeout(() => this.end(next), ANSWER_FIRST_MS),
      log,
    });

    const running = [
      following,
      known.runsLogServer &&
        known.storeMarks.countOn({
          storeDirectory: join(config.storesDirectory, layout.tag),
          tag: layout.tag,
          signal: work.signal,
          log,
        }),
      incarnation.parent === null && layout.tag === FIRST_LAYOUT_TAG && ensureFirstStreams(),
      followOthers(),
      publishEvents({ db: lazyDb, stream, node: config.node, signal: work.signal, log }),
      tables.run(),
      storage.run(work.signal),
      probeForEver(),
      beatForEver(),
      tendCluster({
        config,
        db,
        link,
        layout,
        incarnationNumber: number,
        membership,
        mastership,
        lease,
        storage,
        limitKeeper,
        showApiKey: shared.showApiKey,
        tryMove,
        log,
        signal: work.signal,
      }),
      this.#watchLog(rebuildWatch, layout, async () => {
        // Nothing is applied while the tables are what the next incarnation is made of.
        await Promise.all([stopApplying(), holdCircuits(moveOptions, 'the log is rebuilt')]);
        await rebuild(replica.applied, {
          db,
          link,
          sealer: documentSealer,
          node: config.node,
          logReplicas,
          limits: config.limits,
          highestNumber: known.highestNumber,
          disasterAt: layout.disasterAt,
          log,
          signal,
        }).catch((error: unknown) => {
          log.warn({ error: String(error) }, 'the log was not rebuilt');
          throw error;
        });
      }),
    ];
    const leaseRun = lease.run(leaseWork.signal);
    refreshPolicy();

    /** User states and events of this incarnation, once the tables belong to it. */
    async function followOthers(): Promise<void> {
      while (replica.mode !== 'live' && !work.signal.aborted) await sleep(100);
      const isRejoining = mayDropFor(config.dataDirectory, incarnation!);
      if (isRejoining && !work.signal.aborted) {
        // What was accepted here must not be accepted once more there.
        const bring = () => publishStates(db, states, work.signal);
        await untilWorks(bring, { log, signal: work.signal }).catch(() => undefined);
      }
      if ((incarnation!.parent !== null || isRejoining) && !work.signal.aborted) {
        await releaseCircuit(db).catch(() => undefined);
        forgetRejoin(config.dataDirectory);
      }
      await Promise.all([
        keepGoing('states', () => followStates({ db: lazyDb, states, signal: work.signal, log })),
        keepGoing('events', () =>
          followEvents({ db: lazyDb, events: stream, signal: work.signal, log }),
        ),
        keepGoing('stop facts', () => followStopFacts({ db, stopFacts, signal: work.signal, log })),
        tendStopFacts({
          db,
          stopFacts,
          isMaster: () => mastership.isActive,
          run: (wish) =>
            mastership.handle({
              ...wish,
              proof: proveSocket(keys['socket-proof'], config.node, wish),
            }),
          signal: work.signal,
          log,
        }),
      ]);
    }

    /** A first start that was interrupted may have left some out. */
    async function ensureFirstStreams(): Promise<void> {
      const limits = { logReplicas, limits: config.limits };
      await untilWorks(() => ensureStreams(link, namesOf(number), limits), { log, signal }).catch(
        () => undefined,
      );
    }

    async function keepGoing(what: string, run: () => Promise<void>): Promise<void> {
      while (!work.signal.aborted) {
        try {
          await run();
        } catch (error) {
          log.warn({ what, error: String(error) }, 'starting again');
        }
        await rest(1000);
      }
    }

    /** Nobody who stops waits for it. */
    async function rest(ms: number): Promise<void> {
      await sleep(ms, undefined, { signal: work.signal }).catch(() => undefined);
    }

    async function probeForEver(): Promise<void> {
      while (!work.signal.aborted) {
        isStatesWritable = await states.probe(config.node, 1000);
        if (isStatesWritable) {
          wasWritableAt = performance.now();
          foreign.noteOwnLogAlive();
        }
        await rest(PROBE_EVERY_MS);
      }
    }

    async function beatForEver(): Promise<void> {
      while (!work.signal.aborted) {
        beat();
        await rest(HEARTBEAT_MS);
      }
    }

    this.#stopWork = async (options) => {
      // Told before anything else: another master that stops at the same time looks for somebody who stays.
      beat();
      const leaving = leaveLog({ node: config.node, link, incarnationNumber: number, log });
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
    layout: LogLayout,
    rebuildHere: () => Promise<void>,
  ): Promise<void> {
    const { signal } = this.#stopping;
    while (!signal.aborted) {
      const step = await watch.look().catch(() => 'wait' as const);
      if (signal.aborted) return;
      if (step === 'begin-again') return this.end(layout);
      if (step === 'rebuild') {
        await rebuildHere().catch((error: unknown) => watch.noteFailure(error));
        return this.end(layout);
      }
      await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
    }
  }
}

function placeOf(applied: Applied): Hello['place'] {
  const { incarnation, revision, epoch } = applied;
  return { incarnation, revision, epoch };
}

const TAKE_OVER_MS = 12_000;
const ACTIVE_WITHIN_MS = 5000;
const NO_QUORUM: AgentAnswer = {
  ok: false,
  code: 'no_quorum',
  detail: 'the log has no quorum: start more log servers',
};
const NOT_YET: AgentAnswer = {
  ok: false,
  code: 'not_active_yet',
  detail: 'it holds the lease but does not take commands yet: see countersign status',
};
const STILL_HELD: AgentAnswer = {
  ok: false,
  code: 'master_alive',
  detail: 'another node still renews its lease: promote through it',
};
