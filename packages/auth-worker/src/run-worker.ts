import { setTimeout as sleep } from 'node:timers/promises';
import { buildApi, type ApiPorts, type Readiness } from '@countersign/api';
import { Asks, Membership, NatsLink, UserStates, type Incarnation } from '@countersign/cluster';
import {
  openDatabase,
  outboxSize,
  pingDatabase,
  readApplied,
  readCircuit,
  type Applied,
  type Database,
} from '@countersign/database';
import { takeKeys } from '@countersign/keys';
import { replicaPorts, runCommand, sealerOf } from '@countersign/operations';
import type { Logger } from 'pino';
import { answerAsk, noteSettled } from './answer-asks.ts';
import { Circuit } from './circuit.ts';
import type { WorkerConfig } from './config.ts';
import { WorkerEvents } from './events.ts';
import { KeyCallers } from './key-callers.ts';
import { mergeDegradedClaims } from './merge-degraded-claims.ts';
import { WorkerMetrics } from './metrics.ts';
import { CLOCK_LIMIT_MS, Verifier } from './verifier.ts';

export type RunningWorker = { stop(): Promise<void> };

const READY_PING_MS = 500;

/** Starts an auth worker: everything it needs is this node's PostgreSQL; the log servers may be away. */
export async function runWorker(
  config: WorkerConfig,
  options: { log: Logger; signal: AbortSignal },
): Promise<RunningWorker> {
  const { log, signal } = options;
  const name = `${config.node} worker ${config.index}`;
  const keys = takeKeys(config.keys);
  const db = openDatabase({
    ...config.database,
    max: 6,
    applicationName: `countersign ${name}`,
    asyncCommit: true,
  });
  const incarnation = incarnationOf(await waitForReplica(db, signal));
  const link = new NatsLink({ ...config.nats, name, log });
  const askLink = new NatsLink({ ...config.nats, name: `${name} asks`, log });
  const membership = new Membership(link, incarnation.number);
  const states = new UserStates(link, incarnation.number);
  // Peers are asked on a connection of their own: a slow log must not silence them.
  const askStates = new UserStates(askLink, incarnation.number);
  const events = new WorkerEvents(db, config.node);
  const circuit = new Circuit(db, events, log);
  const asks = new Asks({
    link: askLink,
    node: config.node,
    incarnationNumber: incarnation.number,
    sealer: sealerOf(keys.command),
    answer: (ask) => answerAsk({ db, states: askStates }, ask),
    onSettled: (settled) => noteSettled({ db }, settled),
  });
  const metrics = new WorkerMetrics(
    { node: config.node, worker: String(config.index) },
    readGauges,
  );
  const verifier = new Verifier({
    node: config.node,
    db,
    states,
    asks,
    circuit,
    keys,
    metrics,
    log,
  });

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
      clockOffsetMs: asks.medianClockOffsetMs(),
      isMaster: membership.master()?.node === config.node,
      isConnected: link.isUp,
    };
  }

  async function checkReady(): Promise<Readiness> {
    const problems: string[] = [];
    if (!(await pingDatabase(db, READY_PING_MS))) problems.push('PostgreSQL does not answer');
    const offsetMs = asks.medianClockOffsetMs();
    if (Math.abs(offsetMs) > CLOCK_LIMIT_MS) {
      problems.push(`the clock is ${Math.round(offsetMs / 1000)} s off the cluster's median`);
    }
    const open = problems.length === 0 ? await readCircuit(db).catch(() => null) : null;
    return { ready: problems.length === 0, degraded: open?.open ?? true, problems };
  }

  const path = {
    db,
    link,
    membership,
    sealer: sealerOf(keys.command),
    attemptKey: keys['attempt-id'],
    incarnationNumber: incarnation.number,
  };
  const keyCallers = new KeyCallers(db);
  const ports: ApiPorts = {
    ...replicaPorts({
      db,
      link,
      membership,
      incarnation,
      node: config.node,
      version: config.version,
    }),
    authenticate: (credentials) => keyCallers.authenticate(credentials),
    verify: (attempt) => verifier.verify(attempt),
    runCommand: (request) => runCommand(path, request, () => ({ ...request.caller.proof })),
    checkReady,
    metrics: () => metrics.render(),
  };
  const server = buildApi(ports, {
    logger: log,
    trustedProxies: config.http.trustedProxies,
  });
  // Every worker of the node listens on the same port; the kernel spreads connections over them.
  const address = { host: config.http.host, port: config.http.port, reusePort: true };
  await server.listen(address);
  const work = new AbortController();
  const merging = mergeDegradedClaims({
    db,
    states,
    worker: `${config.node}-${config.index}`,
    events,
    log,
    signal: work.signal,
  });
  log.info({ port: config.http.port }, 'listening');
  return {
    /** Finishes requests under way (bounded by 5 s), then lets everything go. */
    async stop() {
      await Promise.race([server.close(), sleep(5000)]);
      work.abort();
      await Promise.race([merging, sleep(1000)]);
      await asks[Symbol.asyncDispose]();
      await Promise.all([link.close(), askLink.close()]);
      await db.close();
    },
  };
}

function incarnationOf(applied: Applied): Incarnation {
  return {
    number: applied.incarnationNumber,
    id: applied.incarnationId,
    parent: applied.incarnationParent,
    baseRevision: applied.baseRevision,
  };
}

/** A fresh node has nothing to verify with until its agent has reached the log once. */
async function waitForReplica(db: Database, signal: AbortSignal): Promise<Applied> {
  for (;;) {
    const applied = await readApplied(db).catch(() => null);
    if (applied) return applied;
    await sleep(200, undefined, { signal });
  }
}
