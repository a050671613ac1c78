import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BulkLoad, type BulkFigures } from '../harness/bulk-load.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { processesIn, signal } from '../harness/processes.ts';
import { countStragglers, readUsers } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { WriteLoad } from '../harness/workload.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('128 changes in flight when the master stands still', () => {
  it("do no harm when its log server is paused and goes on after the next master's first writes", async () => {
    await surviveThePauseOf('log server', (master) => [master.pids.natsPid!]);
  });

  it('do no harm when its whole machine is suspended and goes on', async () => {
    await surviveThePauseOf('machine', (master) => [
      ...new Set([...master.allPids, ...processesIn(master.folder)]),
    ]);
  });
});

async function surviveThePauseOf(what: string, pidsOf: (master: TestNode) => number[]) {
  const master = await cluster.untilWhole();
  const others = cluster.others(master.name);
  const prefix = what.replace(' ', '-');
  const clients = others.map((node) => cluster.api(node));
  const bulk = new BulkLoad({ clients: [...clients, ...clients], prefix, perRequest: 200 });
  const writes = new WriteLoad({ clients, prefix: `${prefix}-single`, everyMs: 25 });
  await waitFor(
    'bulk and single writes',
    () => bulk.acknowledged > 400 && writes.acknowledged > 50,
    {
      timeoutMs: 20_000,
    },
  );

  const pids = pidsOf(master);
  signal(pids, 'SIGSTOP');
  const pausedAt = performance.now();
  await waitFor(
    'the next master',
    async () => {
      const view = await cluster.api(others[0]!).cluster();
      return view.master !== null && view.master !== master.name;
    },
    { timeoutMs: 30_000, everyMs: 50 },
  );
  // The requests sent to the old master wait for it to their deadlines; these go to the next one.
  const later = new BulkLoad({ clients, prefix: `${prefix}-later`, perRequest: 200 });
  await waitFor('its first writes', () => later.acknowledged > 0, {
    timeoutMs: 20_000,
    everyMs: 20,
  });
  const nextWriteMs = performance.now() - pausedAt;
  signal(pids, 'SIGCONT');
  await waitFor('more writes', () => later.acknowledged > 400, { timeoutMs: 30_000 });
  const [added, addedLater, written] = await Promise.all([
    bulk.stop(),
    later.stop(),
    writes.stop(),
  ]);
  const view = await cluster.untilDigestsEqual(60_000);

  report(`${what} of the master paused under a full pipeline`, {
    nextWriteMs: Math.round(nextWriteMs),
    bulkAcknowledged: added.acknowledged.size,
    afterwards: addedLater.acknowledged.size,
    bulkRefused: added.refused.length,
    bulkOpen: added.uncertain.length,
    singlesAcknowledged: written.acknowledged.length,
    singlesOpen: written.uncertain.length,
    epoch: view.epoch,
  });
  expect([...added.odd, ...addedLater.odd]).toEqual([]);
  await expectOneBulkHistory(added, addedLater);
  for (const node of cluster.nodes) expect(await countStragglers(node), node.name).toBe(0);
  await expectHistoryHolds(cluster);
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
