import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { copyFolder, storeOf } from '../harness/log-stores.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { untilStatesFollowed } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { VerificationLoad, WriteLoad, type VerificationFigures } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('one node whose whole disk went back in time', () => {
  it('has its log server left out, catches up and is taken in again with a new store: nothing is lost', async () => {
    const master = await cluster.master();
    const old = cluster.others(master.name)[0]!;
    const others = cluster.others(old.name);
    await old.stop();
    const copy = join(cluster.folder, 'older');
    copyFolder(old.folder, copy);
    old.start();
    await old.untilReady();
    await cluster.untilWhole();

    const before = await cluster.api(master).cluster();
    const load = startLoad(others, 'since');
    const [spent] = people as [Person];
    const use = { username: spent.username, code: spent.nextCode() };
    // By the node that will not remember it.
    expect((await cluster.api(old).verify(use)).body.status).toBe('approved');
    await waitFor('writes', () => load.writes.acknowledged >= 30, { timeoutMs: 20_000 });
    await untilStatesFollowed(cluster.nodes);
    await old.killAll();
    copyFolder(copy, old.folder);
    const backAt = performance.now();
    old.start();
    await old.untilReady();
    const readyMs = performance.now() - backAt;
    await untilNextIncarnation(before.incarnation.number);
    await cluster.untilWhole();
    const backMs = performance.now() - backAt;
    const { verified, written } = await load.stop();
    const view = await cluster.untilDigestsEqual();

    report('one node with an older disk', {
      readyMs: Math.round(readyMs),
      backMs: Math.round(backMs),
      acknowledged: written.acknowledged.length,
      open: written.unknown,
      ...shortOf(verified),
    });
    await untilStatesFollowed(cluster.nodes);
    for (const node of cluster.nodes) {
      expect((await cluster.api(node).verify(use)).body.reason).toBe('replayed');
    }
    expectServed(verified);
    expect(view.nodes.flatMap(({ problems }) => problems)).toEqual([]);
    await expectHistoryHolds(cluster);
  });
});

describe('one node whose log server lost its store', () => {
  it('goes on as a client of the others until the log has moved to three servers again', async () => {
    const master = await cluster.untilWhole();
    const bare = cluster.others(master.name)[0]!;
    const before = await cluster.api(master).cluster();
    const load = startLoad(cluster.others(bare.name), 'moved');
    await waitFor('writes', () => load.writes.acknowledged >= 10, { timeoutMs: 20_000 });
    await bare.stop();
    rmSync(storeOf(bare), { recursive: true });
    const startedAt = performance.now();
    bare.start();
    await bare.untilReady();
    await untilNextIncarnation(before.incarnation.number);
    const movedMs = performance.now() - startedAt;
    await cluster.untilWhole();
    const wholeMs = performance.now() - startedAt;
    const { verified, written } = await load.stop();
    const view = await cluster.untilDigestsEqual();

    report('one log server lost its store', {
      movedMs: Math.round(movedMs),
      wholeMs: Math.round(wholeMs),
      acknowledged: written.acknowledged.length,
      refused: written.refused.length,
      open: written.unknown,
      longestWritePauseMs: written.longestPauseMs,
      ...shortOf(verified),
    });
    expect(view.logServers).toHaveLength(3);
    expect(view.logServers.every(({ online }) => online)).toBe(true);
    expectServed(verified);
    await expectHistoryHolds(cluster);
  });
});

/** The log has moved, and every node with it. */
async function untilNextIncarnation(number: number): Promise<void> {
  await waitFor(
    'the next incarnation',
    async () => {
      const views = await Promise.all(cluster.nodes.map((node) => cluster.api(node).cluster()));
      return views.every((view) => view.incarnation.number > number && view.master !== null);
    },
    { timeoutMs: 60_000, everyMs: 200 },
  );
}

function startLoad(nodes: TestNode[], prefix: string) {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  const verifications = new VerificationLoad({ clients, people: people.slice(1), everyMs: 40 });
  const writes = new WriteLoad({ clients: clients.map(({ api }) => api), prefix, everyMs: 60 });
  return {
    writes,
    async stop() {
      return { written: await writes.stop(), verified: await verifications.stop() };
    },
  };
}

function shortOf(verified: VerificationFigures) {
  return {
    approved: verified.approved,
    degraded: verified.degraded,
    failed: verified.failed.length,
    longestGapMs: verified.longestGapMs,
  };
}

function expectServed(verified: VerificationFigures): void {
  expect(verified.failed).toEqual([]);
  expect(verified.longestGapMs).toBeLessThanOrEqual(1500);
}
