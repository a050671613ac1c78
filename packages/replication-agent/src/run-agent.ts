import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHANGE_FORMAT,
  ChangeLog,
  ensureStreams,
  EventStream,
  findOrBeginIncarnation,
  HEARTBEAT_MS,
  Lease,
  Membership,
  namesOf,
  NatsLink,
  serveAgentRequests,
  serveCommands,
  UserStates,
  type AgentAnswer,
  type AgentVerb,
  type Command,
  type Incarnation,
  type MasterReply,
} from '@countersign/cluster';
import { listNodes, openDatabase, readSettings } from '@countersign/database';
import { takeKeys } from '@countersign/keys';
import { sealerOf } from '@countersign/operations';
import type { Logger } from 'pino';
import { authoriseCommand } from './authorise.ts';
import type { AgentConfig } from './config.ts';
import { describeResult } from './describe-result.ts';
import { AgentEvents } from './events.ts';
import { ensureFirstApiKey } from './first-api-key.ts';
import { followEvents, followStates } from './follow-states.ts';
import { bestTarget, handOver, type HandOverOptions } from './hand-over.ts';
import { Mastership } from './mastership.ts';
import { publishEvents } from './publish-events.ts';
import { Replica } from './replica.ts';
import { serveSocket } from './serve-socket.ts';
import { DatabaseWatch } from './watch-database.ts';

export type RunningAgent = { stop(): Promise<void> };

const PROBE_EVERY_MS = 2000;
/** An idle master writes a change of no consequence this often: only a write proves that the log takes writes. */
const IDLE_WRITE_MS = 15_000;
const SAY_AGAIN_MS = 10_000;

/** Starts everything an agent does. Resolves once it follows the cluster; waits for ever for the log servers. */
export async function runAgent(
  config: AgentConfig,
  options: { log: Logger; signal: AbortSignal; showApiKey(key: string): void },
): Promise<RunningAgent> {
  const { log, signal } = options;
  const keys = takeKeys(config.keys);
  const instance = randomUUID();
  const db = openDatabase({ ...config.database, max: 6, applicationName: 'countersign agent' });
  const lazyDb = openDatabase({
    ...config.database,
    max: 4,
    applicationName: 'countersign agent events',
    asyncCommit: true,
  });
  const link = new NatsLink({ ...config.nats, name: `${config.node} agent`, log });
  const incarnation = await joinLog(link, config, { log, signal });
  const { number } = incarnation;
  const commandSealer = sealerOf(keys.command);

  let policy = { mode: 'automatic' as 'automatic' | 'manual', afterMs: 6000 };
  let isStatesWritable = true;
  const membership = new Membership(link, number);
  const events = new AgentEvents(lazyDb, config.node, (error) => {
    log.warn({ error: String(error) }, 'an event could not be written');
  });
  const databaseWatch = new DatabaseWatch();
  const replica = await untilWorks(
    () =>
      Replica.open({
        db,
        link,
        incarnation,
        sealer: sealerOf(keys.document),
        onApplied: () => refreshPolicy(),
        log,
      }),
    { log, signal },
  );
  const lease: Lease = new Lease({
    link,
    incarnationNumber: number,
    node: config.node,
    instance,
    isPromotable: config.isPromotable,
    policy: () => policy,
    isFit: () => defects().length === 0,
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
    changeLog: new ChangeLog(link, incarnation, sealerOf(keys.document)),
    lease,
    replica,
    seedKey: keys.seed,
    events,
    onRoleChange: () => beat(),
    authorise: (command) => authoriseCommand({ db, socketKey: keys['socket-proof'] }, command),
    describeResult: (command, result) =>
      describeResult({ db, seedKey: keys.seed }, command, result),
  });
  const handOverOptions: HandOverOptions = {
    node: config.node,
    link,
    sealer: commandSealer,
    incarnationNumber: number,
    membership,
    lease,
    mastership,
    replica,
    events,
    log,
  };

  function beat(): void {
    const { revision, epoch, digest } = replica.applied;
    membership.send({
      node: config.node,
      instance,
      role: mastership.isActive ? 'master' : 'subordinate',
      isHandingOver: mastership.isHandingOver || mastership.isBetweenEpochs,
      masterSince: mastership.term?.since ?? null,
      leaseHolder: lease.record?.holder ?? lease.record?.previous ?? null,
      epoch: mastership.term?.epoch ?? epoch,
      revision,
      digest,
      isDigestComparable: replica.isComparable,
      isPromotable: config.isPromotable,
      version: config.version,
      format: CHANGE_FORMAT,
      url: config.url,
      isLogWritable: isStatesWritable,
      problems: problems(),
      wallMs: Date.now(),
    });
  }

  /** What keeps this node from being master. */
  function defects(): string[] {
    const found: string[] = [];
    if (replica.problem) found.push(replica.problem);
    if (databaseWatch.isSilent) {
      found.push(`its PostgreSQL is silent for ${Math.round(databaseWatch.silentForMs / 1000)} s`);
    }
    return found;
  }

  function problems(): string[] {
    const found = defects();
    if (!isStatesWritable) found.push('its writes to the log servers are not answered');
    return found;
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

  async function handleCommand(command: Command): Promise<MasterReply> {
    if (command.name !== 'cluster.promote' && command.name !== 'cluster.demote') {
      return mastership.handle(command);
    }
    if (!mastership.isActive) return { kind: 'not_master' };
    const refused = await authoriseCommand({ db, socketKey: keys['socket-proof'] }, command);
    if (refused) return refused;
    const target =
      command.name === 'cluster.promote' ? String(command.args.node) : bestTarget(handOverOptions);
    if (target === null) {
      const detail = 'no other node is online and promotable';
      return { kind: 'refused', status: 409, code: 'no_target', detail };
    }
    if (target === config.node) {
      const { revision } = replica.applied;
      return { kind: 'done', revision, result: { master: config.node } };
    }
    return handOver(handOverOptions, target, command.actor);
  }

  async function handleAgentRequest(
    verb: AgentVerb,
    body: Record<string, unknown>,
  ): Promise<AgentAnswer> {
    if (verb === 'applied') {
      return { ok: await replica.waitFor(Number(body.revision), 1000) };
    }
    if (verb === 'claim') {
      await lease.claimOffer();
      const ok = await mastership.waitUntilActive(2500);
      return { ok, revision: replica.applied.revision };
    }
    return takeOver(body);
  }

  async function takeOver(body: Record<string, unknown>): Promise<AgentAnswer> {
    const command = {
      name: 'cluster.promote',
      args: { node: config.node },
      commandId: String(body.commandId),
      proof: body.proof as Record<string, unknown>,
    };
    const refused = await authoriseCommand({ db, socketKey: keys['socket-proof'] }, command);
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
  }

  serveCommands({
    link,
    sealer: commandSealer,
    incarnationNumber: number,
    instance,
    handle: handleCommand,
  });
  serveAgentRequests({
    link,
    sealer: commandSealer,
    incarnationNumber: number,
    node: config.node,
    handle: handleAgentRequest,
  });

  const work = new AbortController();
  const states = new UserStates(link, number);
  const stream = new EventStream(link, number, sealerOf(keys.event));
  const leaseWork = new AbortController();
  const running = [
    databaseWatch.run(db, work.signal, () => void lease.resign('PostgreSQL is silent')),
    replica.follow(work.signal),
    keepGoing('states', () => followStates({ db: lazyDb, states, signal: work.signal, log })),
    keepGoing('events', () =>
      followEvents({ db: lazyDb, events: stream, signal: work.signal, log }),
    ),
    publishEvents({ db: lazyDb, stream, node: config.node, signal: work.signal, log }),
    probeForEver(),
    beatForEver(),
    tendCluster(),
  ];
  const leaseRun = lease.run(leaseWork.signal);
  const socket = await serveSocket({
    config,
    keys,
    db,
    link,
    membership,
    incarnation,
    log,
  });
  refreshPolicy();
  events.agentStarted({ version: config.version });

  async function keepGoing(what: string, run: () => Promise<void>): Promise<void> {
    while (!work.signal.aborted) {
      try {
        await run();
      } catch (error) {
        log.warn({ what, error: String(error) }, 'starting again');
      }
      if (!work.signal.aborted) await sleep(1000);
    }
  }

  async function probeForEver(): Promise<void> {
    while (!work.signal.aborted) {
      isStatesWritable = await states.probe(config.node, 1000);
      await sleep(PROBE_EVERY_MS);
    }
  }

  async function beatForEver(): Promise<void> {
    while (!work.signal.aborted) {
      beat();
      await sleep(HEARTBEAT_MS);
    }
  }

  /** The master's own small duties: the first key, nodes not seen before, a sign of life in an idle log. */
  async function tendCluster(): Promise<void> {
    while (!work.signal.aborted) {
      try {
        if (mastership.isActive) {
          await ensureFirstApiKey({
            db,
            mastership,
            dataDirectory: config.dataDirectory,
            show: options.showApiKey,
          });
          await rememberNodes();
          if (performance.now() - mastership.lastWriteAt > IDLE_WRITE_MS) {
            const document = { at: new Date().toISOString() };
            await mastership.write({ kind: 'probe', id: config.node, document });
          }
        }
      } catch (error) {
        log.warn({ error: String(error) }, 'a duty of the master failed');
      }
      await sleep(500);
    }
  }

  async function rememberNodes(): Promise<void> {
    const known = new Map((await listNodes(db)).map((node) => [node.name, node]));
    for (const seen of membership.online()) {
      const before = known.get(seen.node);
      if (before?.version === seen.version) continue;
      const addedAt = before?.addedAt ?? new Date().toISOString();
      await mastership.write({
        kind: 'node',
        id: seen.node,
        document: { id: seen.node, name: seen.node, addedAt, version: seen.version },
      });
    }
  }

  return {
    /** Hands over if this node is master, then lets everything go; bounded by about 8 s. */
    async stop() {
      if (mastership.isActive) {
        const target = bestTarget(handOverOptions);
        if (target) await handOver(handOverOptions, target, 'shutdown');
      }
      leaseWork.abort();
      await Promise.race([leaseRun, sleep(2000)]);
      work.abort();
      await socket.close();
      await Promise.race([Promise.allSettled(running), sleep(1500)]);
      await link.close();
      await Promise.all([db.close(), lazyDb.close()]);
    },
  };
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

async function joinLog(
  link: NatsLink,
  config: AgentConfig,
  options: { log: Logger; signal: AbortSignal },
): Promise<Incarnation> {
  return untilWorks(async () => {
    const incarnation = await findOrBeginIncarnation(link, config);
    await ensureStreams(link, namesOf(incarnation.number), config);
    return incarnation;
  }, options);
}

/** Again and again, with what is wrong in the log every 10 s. Throws only when stopped. */
async function untilWorks<T>(
  work: () => Promise<T>,
  options: { log: Logger; signal: AbortSignal },
): Promise<T> {
  let toldAt = -Infinity;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      if (options.signal.aborted) throw error;
      if (performance.now() - toldAt > SAY_AGAIN_MS) {
        toldAt = performance.now();
        options.log.info({ why: String(error) }, 'waiting for the log servers');
      }
      await sleep(150);
    }
  }
}
