import { randomUUID } from 'node:crypto';
import {
  ChangeLog,
  ensureStreams,
  namesOf,
  NatsLink,
  type Incarnation,
} from '@countersign/cluster';
import { migrate, openDatabase } from '@countersign/database';
import { startTestNats, startThrowAwayPostgres, waitFor } from '@countersign/testing';
import { Replica } from '../../packages/replication-agent/src/replica.ts';
import { dumpReplica } from './dump-replica.ts';

/**
 * A program of its own, so that it runs with the code of the copy it lies in: an old master's window of changes is
 * still on its way when the next master begins and writes. Prints what a replica makes of the log.
 */
const WINDOW = 8;
const silent = { info() {}, warn() {} };
const plain = { seal: (bytes: Uint8Array) => bytes, open: (bytes: Uint8Array) => bytes };
const incarnation: Incarnation = {
  number: 1,
  id: randomUUID(),
  parent: null,
  baseRevision: 0,
  baseEpoch: 0,
  ancestors: [],
  by: null,
  disasterAt: null,
};

const nats = await startTestNats({ servers: 1 });
const postgres = await startThrowAwayPostgres();
const servers = nats.urls.map((url) => url.replace('nats://', ''));
const { user, password } = nats;
const link = new NatsLink({ servers, user, password, name: 'scenario', log: silent });
const db = openDatabase({ ...postgres.connection, max: 4, applicationName: 'scenario' });
const stop = new AbortController();
let following: Promise<void> | null = null;
try {
  const limits = { changesBytes: 8 << 20, statesBytes: 1 << 20, eventsBytes: 4 << 20 };
  const begin = () => ensureStreams(link, namesOf(1), { logReplicas: 1, limits });
  await waitFor('the streams', () => begin().then(() => true), { timeoutMs: 15_000 });
  const log = new ChangeLog(link, incarnation, plain);

  const first = await raiseBarrier(log, 1);
  const written = await append(log, 1, first);
  if (written === null) throw new Error('the first master could not write');
  const second = await raiseBarrier(log, 2);
  let end = (await append(log, 2, second)) ?? second;
  // What the first master had sent arrives only now: each change expects the one before it.
  const stragglers = Array.from({ length: WINDOW }, (_, i) => append(log, 1, written + i));
  end = Math.max(end, ...(await Promise.all(stragglers)).map((sequence) => sequence ?? 0));

  await migrate(db);
  const replica = await Replica.open({
    db,
    link,
    incarnation,
    sealer: plain,
    log: silent,
    onApplied: () => undefined,
    onDiverged: async () => undefined,
  });
  following = replica.follow(stop.signal);
  if (!(await replica.waitFor(end, 10_000))) throw new Error('the replica does not follow');
  console.log(JSON.stringify(await dumpReplica(db, 'node-1')));
} finally {
  stop.abort();
  await following;
  await db.close();
  await link.close();
  await postgres.stop();
  await nats.stop();
}

/** Returns the log's end. */
async function raiseBarrier(log: ChangeLog, epoch: number): Promise<number> {
  const mark = { epoch, instance: `master ${epoch}`, node: 'node-1', leastEnd: 0 };
  const outcome = await log.raiseBarrier(mark);
  if (outcome.kind !== 'stands') throw new Error(`barrier of epoch ${epoch}: ${outcome.kind}`);
  return outcome.end;
}

/** Its sequence, or null where it was refused. */
async function append(log: ChangeLog, epoch: number, end: number): Promise<number | null> {
  const outcome = await log.append(
    {
      epoch,
      changeId: randomUUID(),
      commandId: null,
      kind: 'probe',
      id: randomUUID(),
      at: new Date().toISOString(),
      actor: 'scenario',
      removed: false,
      document: { at: 'now' },
      commands: [],
    },
    end,
  );
  if (outcome.kind === 'silent') throw new Error(outcome.why);
  return outcome.kind === 'stored' ? outcome.sequence : null;
}
