import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from './harness/cluster.ts';
import { faultMs } from './harness/fault-time.ts';
import { keepNatsDead } from './harness/keep-dead.ts';
import { enrolPeople, type Person } from './harness/people.ts';
import { signal } from './harness/processes.ts';
import { untilEventsEverywhere } from './harness/replica.ts';
import { report } from './harness/report.ts';
import { STANDSTILL_MS } from './harness/standstill.ts';
import { VerificationLoad, WriteLoad } from './harness/workload.ts';
import { expectHistoryHolds } from './history/expect-history-holds.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 31);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());
afterEach(async () => {
  signal(natsPids(), 'SIGCONT');
  await cluster.untilWhole();
});

describe('all nats-servers gone', () => {
  it.each([
    { how: 'killed -9 again and again', takeAway: () => keepNatsDead(cluster.nodes) },
    { how: 'hanging', takeAway: keepHanging },
  ])('leaves every node verifying and heals by itself: $how', async ({ how, takeAway }) => {
    await cluster.untilWhole();
    const spent = people[0]!;
    await using verifications = verifyOn(cluster.nodes, people.slice(1));
    await using writes = writeThrough(cluster.nodes, how.replaceAll(/\W+/g, '-'));
    await waitFor('a workload', () => verifications.approved > 60 && writes.acknowledged > 20, {
      timeoutMs: 40_000,
    });

    const downMs = faultMs(12_000);
    const startedAt = performance.now();
    noteThatAllAreGone(how);
    const bringBack = takeAway();
    const lasts = lasting(downMs);
    const spentCode = { username: spent.username, code: spent.nextCode() };
    const firstUse = await cluster.api(cluster.nodes[0]!).verify(spentCode);
    await lasts;
    await Promise.all(
      cluster.nodes.map((node) =>
        waitFor(`${node.name} to be ready`, async () => (await readiness(node)) === 200, {
          timeoutMs: 10_000,
        }),
      ),
    );
    await bringBack();
    const endedAt = performance.now();
    await cluster.untilWhole();
    const wholeMs = performance.now() - endedAt;
    const secondUse = await cluster.api(cluster.nodes[1]!).verify(spentCode);
    const before = writes.acknowledged;
    await waitFor('writes again', () => writes.acknowledged > before + 10, { timeoutMs: 40_000 });
    const verified = await verifications.stop();
    const written = await writes.stop();
    await cluster.untilDigestsEqual();
    const { duplicates } = await untilEventsEverywhere(cluster, [
      firstUse.body.id,
      ...verified.approvedIds,
    ]);
    const gapIn = (from: number, to: number) =>
      Math.max(...verified.gaps.filter(({ at }) => at >= from && at < to).map(({ ms }) => ms));
    // The last approval before was up to so much earlier.
    const returnAt = endedAt - 200;
    const gapMs = gapIn(-Infinity, returnAt);
    const gapAfterwardsMs = gapIn(returnAt, Infinity);
    const during = written.acknowledged.filter(
      ({ at, tookMs }) => at - tookMs > startedAt && at < endedAt,
    );

    report(`all nats-servers gone, ${how}`, {
      goneMs: downMs,
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: Math.round(gapMs),
      gapAfterwardsMs: Math.round(gapAfterwardsMs),
      writesDuring: during.length,
      refused: written.refused.length,
      open: written.unknown,
      wholeAgainMs: Math.round(wholeMs),
      duplicates,
    });
    expect(verified.failed).toEqual([]);
    expect(gapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    // All that waited is made up for at once, by three nodes that share this machine's cores.
    expect(gapAfterwardsMs).toBeLessThanOrEqual(2500 + STANDSTILL_MS);
    expect(verified.degraded).toBeGreaterThan(100);
    expect(during).toEqual([]);
    expect(new Set(written.refused.map(({ code }) => code))).toEqual(new Set(['master_offline']));
    expect(firstUse.body).toMatchObject({ status: 'approved', degraded: true });
    expect(secondUse.body).toMatchObject({ status: 'denied', reason: 'replayed' });
    expect(duplicates).toBe(0);
    await expectHistoryHolds(cluster);
  });
});

describe("a node's PostgreSQL killed -9", () => {
  it.each([{ whose: 'a subordinate' }, { whose: 'the master' }])(
    'is told by /readyz at once, comes back by itself, and nothing is lost: $whose',
    async ({ whose }) => {
      const master = await cluster.untilWhole();
      const node = whose === 'the master' ? master : cluster.others(master.name)[0]!;
      const others = cluster.others(node.name);
      await using verifications = verifyOn([node, ...others], people.slice(1), { retry: true });
      await using writes = writeThrough(cluster.nodes, whose.replaceAll(' ', '-'));
      await waitFor('a workload', () => verifications.approved > 60 && writes.acknowledged > 20, {
        timeoutMs: 40_000,
      });
      const spent = people[0]!;
      const spentCode = { username: spent.username, code: spent.nextCode() };
      const firstUse = await cluster.api(node).verify(spentCode);

      const { supervisorPid } = node.pids;
      // It does not come back before somebody has looked.
      signal([supervisorPid], 'SIGSTOP');
      node.strike('postgres', 'SIGKILL');
      const killedAt = performance.now();
      let toldAfterMs: number;
      try {
        await waitFor('/readyz to say so', async () => (await readiness(node)) === 503, {
          timeoutMs: 10_000,
          everyMs: 5,
        });
        toldAfterMs = performance.now() - killedAt;
      } finally {
        signal([supervisorPid], 'SIGCONT');
      }
      await waitFor('/readyz to be fine', async () => (await readiness(node)) === 200, {
        timeoutMs: 30_000,
      });
      const backAfterMs = performance.now() - killedAt;
      const secondUse = await cluster.api(node).verify(spentCode);
      await cluster.untilWhole();
      const before = writes.acknowledged;
      await waitFor('more writes', () => writes.acknowledged > before + 20, { timeoutMs: 40_000 });
      const verified = await verifications.stop();
      const written = await writes.stop();
      await cluster.untilDigestsEqual();

      report(`PostgreSQL of ${whose} killed -9`, {
        toldAfterMs: Math.round(toldAfterMs),
        backAfterMs: Math.round(backAfterMs),
        approved: verified.approved,
        degraded: verified.degraded,
        failed: verified.failed.length,
        longestGapMs: verified.longestGapMs,
        acknowledged: written.acknowledged.length,
        refused: written.refused.length,
        refusedWith: [
          ...new Set(written.refused.map(({ status, code }) => `${status}:${code}`)),
        ].join(),
        open: written.unknown,
        longestWritePauseMs: written.longestPauseMs,
      });
      expect(toldAfterMs).toBeLessThanOrEqual(1000 + STANDSTILL_MS);
      expect(firstUse.body.status).toBe('approved');
      // `busy` where the note of the approval was not on disk yet: its reservation still stands.
      expect(secondUse.body.status).toBe('denied');
      expect(['replayed', 'busy']).toContain(secondUse.body.reason);
      expect(verified.failed).toEqual([]);
      for (const { code } of written.refused)
        expect(['not_ready', 'master_offline']).toContain(code);
      await expectHistoryHolds(cluster);
    },
  );
});

function noteThatAllAreGone(how: string): void {
  const nodes = cluster.nodes.map(({ name }) => name);
  const what = `all nats-servers ${how}`;
  const sides = nodes.map((name) => [name]);
  cluster.history.beginFault(what, { nodes, sides, hasQuorum: false });
}

function keepHanging(): () => Promise<void> {
  const pids = natsPids();
  signal(pids, 'SIGSTOP');
  return async () => signal(pids, 'SIGCONT');
}

function natsPids(): (number | null)[] {
  return cluster.nodes.map((node) => node.pids.natsPid);
}

async function readiness(node: TestNode): Promise<number> {
  const reply = await fetch(`${node.url}/readyz`, { signal: AbortSignal.timeout(2000) });
  await reply.text();
  return reply.status;
}

function verifyOn(
  nodes: TestNode[],
  some: Person[],
  options: { retry?: boolean } = {},
): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people: some, everyMs: 100, ...options });
}

function writeThrough(nodes: TestNode[], prefix: string): WriteLoad {
  return new WriteLoad({ clients: nodes.map((node) => cluster.api(node)), prefix, everyMs: 100 });
}
