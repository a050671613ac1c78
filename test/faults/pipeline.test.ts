import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient } from '../harness/api-client.ts';
import { BulkLoad, type BulkFigures } from '../harness/bulk-load.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { processesIn, signal } from '../harness/processes.ts';
import { countStragglers, openReplica, readUsers } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { existingUsers, WriteLoad } from '../harness/workload.ts';

/** Of the window's 128. */
const MANY = 16;

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a window of changes in flight when the master stands still', () => {
  it("does no harm when its log server is paused and goes on after the next master's first writes", async () => {
    await surviveThePauseOf('log server', () => []);
  });

  it('does no harm when its whole machine is suspended and goes on', async () => {
    await surviveThePauseOf('machine', (master) => [
      ...new Set([...master.allPids, ...processesIn(master.folder)]),
    ]);
  });
});

/** `pidsOf`: what stands still besides the log server, once changes are on their way to that. */
async function surviveThePauseOf(what: string, pidsOf: (master: TestNode) => number[]) {
  const master = await cluster.untilWhole();
  const pids = [...pidsOf(master), master.pids.natsPid];
  const before = brokenWindows(master).length;
  const others = cluster.others(master.name);
  const prefix = what.replace(' ', '-');
  const clients = others.map((node) => cluster.api(node));
  const bulk = new BulkLoad({ clients, prefix, perRequest: 500, timeoutMs: 10_000 });
  const writes = new WriteLoad({ clients, prefix: `${prefix}-single`, everyMs: 50 });
  const loads: { stop(): Promise<unknown> }[] = [bulk, writes];
  try {
    await waitFor('single writes', () => writes.acknowledged > 10, { timeoutMs: 20_000 });
    const { pausedAt, begun } = await pauseInFlight(master, bulk, clients[0]!);
    signal(pids, 'SIGSTOP');
    const stopping = bulk.stop();
    await waitFor(
      'the next master',
      async () => {
        const view = await cluster.api(others[0]!).cluster();
        return view.master !== null && view.master !== master.name;
      },
      { timeoutMs: 30_000, everyMs: 50 },
    );
    // The requests sent to the old master wait for it; these go to the next one.
    const later = new BulkLoad({ clients, prefix: `${prefix}-later`, perRequest: 200 });
    loads.push(later);
    await waitFor('its first writes', () => later.acknowledged > 0, {
      timeoutMs: 20_000,
      everyMs: 20,
    });
    const nextWriteMs = performance.now() - pausedAt;
    signal(pids, 'SIGCONT');
    await waitFor('more writes', () => later.acknowledged > 400, { timeoutMs: 30_000 });
    const [added, addedLater, written] = await Promise.all([stopping, later.stop(), writes.stop()]);
    const view = await cluster.untilDigestsEqual(60_000);
    const windows = brokenWindows(master).slice(before);

    report(`${what} of the master paused under a full pipeline`, {
      nextWriteMs: Math.round(nextWriteMs),
      begun,
      unanswered: Math.max(...windows),
      bulkAcknowledged: added.acknowledged.size,
      afterwards: addedLater.acknowledged.size,
      bulkRefused: added.refused.length,
      bulkOpen: added.uncertain.length,
      singlesAcknowledged: written.acknowledged.length,
      singlesOpen: written.uncertain.length,
      epoch: view.epoch,
    });
    expect(Math.max(...windows), 'changes that the log left unanswered').toBeGreaterThan(1);
    expect([...added.odd, ...addedLater.odd]).toEqual([]);
    await expectOneBulkHistory(added, addedLater);
    for (const node of cluster.nodes) expect(await countStragglers(node), node.name).toBe(0);
    await expectHistoryHolds(cluster);
  } finally {
    signal(pids, 'SIGCONT');
    await Promise.all(loads.map((load) => load.stop()));
  }
}

/** Pauses the master's log server while many changes are on their way; a moment with few is let go by. */
async function pauseInFlight(
  master: TestNode,
  bulk: BulkLoad,
  api: ApiClient,
): Promise<{ pausedAt: number; begun: number }> {
  for (let moment = 0; moment < 10; moment += 1) {
    await untilHalfDone(bulk, api);
    signal([master.pids.natsPid], 'SIGSTOP');
    const pausedAt = performance.now();
    const begun = await countInFlight(master);
    if (begun >= MANY) return { pausedAt, begun };
    signal([master.pids.natsPid], 'SIGCONT');
  }
  throw new Error('never were many changes in flight');
}

/** Then the master has most of the users of one request still to send. */
async function untilHalfDone(bulk: BulkLoad, api: ApiClient): Promise<void> {
  await waitFor(
    'a request of which the first users stand',
    async () => {
      const [first] = bulk.newest;
      const found = await existingUsers(api, [first!]);
      return found.length > 0 && bulk.newest[0] === first;
    },
    { timeoutMs: 30_000, everyMs: 5 },
  );
}

/** How many changes the master has begun and its paused log server keeps from ending. */
async function countInFlight(master: TestNode): Promise<number> {
  await using db = openReplica(master);
  // What was acknowledged before the pause is noted by then.
  await lasting(300);
  const [row] = await db.sql<{ begun: number }[]>`
    select coalesce(sum(coalesce((event -> 'details' ->> 'count')::int, 1)), 0)::int as begun
    from outbox where not final`;
  return row!.begun;
}

/** For each epoch that ended so: how many changes the log had left unanswered, as this master tells. */
function brokenWindows(master: TestNode): number[] {
  return master
    .log('agent')
    .split('\n')
    .filter((line) => line.includes('a change was not acknowledged'))
    .map((line) => (JSON.parse(line) as { othersInFlight: number }).othersInFlight + 1);
}

/** On every node: each acknowledged user at the revision it was told, open ones alike, refused ones nowhere. */
async function expectOneBulkHistory(...loads: BulkFigures[]): Promise<void> {
  const replicas = await Promise.all(cluster.nodes.map((node) => readUsers(node)));
  const [first] = replicas;
  for (const users of replicas) {
    const wrong = loads
      .flatMap((load) => [...load.acknowledged])
      .filter(([name, { id, revision }]) => {
        const found = users.get(name);
        return found?.id !== id || found.revision !== revision;
      });
    expect(wrong, 'acknowledged users that are not as they were told').toEqual([]);
    const refused = loads.flatMap((load) => load.refused);
    expect(refused.filter((name) => users.has(name))).toEqual([]);
    expect(users).toEqual(first);
  }
  const revisions = [...first!.values()].map(({ revision }) => revision);
  expect(new Set(revisions).size).toBe(revisions.length);
}
