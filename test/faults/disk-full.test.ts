import { join } from 'node:path';
import { recomputeDigest } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { faultMs } from '../harness/fault-time.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { openReplica } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { canMount, SmallDisk } from '../harness/small-disk.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';

/** A node's disks: one under everything it keeps, and a second one under the log. */
type Disks = { log: SmallDisk; database: SmallDisk };

const MIB = 1024 * 1024;
let cluster: TestCluster;
let people: Person[];
const disks = new Map<string, Disks>();

describe.skipIf(!canMount)('a full disk (only root can mount one)', () => {
  beforeAll(async () => {
    cluster = await TestCluster.start({
      prepare: (folder, name) => {
        const database = SmallDisk.mount(folder, 320);
        disks.set(name, { database, log: SmallDisk.mount(join(folder, 'nats'), 96) });
      },
      release() {
        for (const { log, database } of disks.values()) {
          log.unmount();
          database.unmount();
        }
      },
      configure: (config) => ({
        ...config,
        limits: { changesBytes: 32 * MIB, statesBytes: 32 * MIB, eventsBytes: 16 * MIB },
      }),
    });
    people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
    await cluster.untilWhole();
  });
  afterEach(() => {
    for (const { log, database } of disks.values()) {
      log.makeRoom();
      database.makeRoom();
    }
  });
  afterAll(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  it('under the log, on every node: writes are refused by name, everybody verifies, and it heals', async () => {
    await cluster.untilWhole();
    await using load = await startLoad('log');
    const startedAt = performance.now();
    const nodes = cluster.nodes.map(({ name }) => name);
    cluster.history.beginFault('every disk under the log is full', { nodes, hasQuorum: false });
    for (const { log } of disks.values()) log.fill();
    await untilTold(cluster.nodes, 'under its log');
    const refused = await untilRefused(cluster.nodes[1]!);
    const refusedInMs = performance.now() - startedAt;
    await waitFor('degraded verification', () => load.verifications.approved > 400, {
      timeoutMs: faultMs(60_000) + 10_000,
    });
    const endedAt = performance.now();
    for (const { log } of disks.values()) log.makeRoom();
    await untilWritesAgain(load.writes);
    const writesAgainMs = performance.now() - endedAt;
    await cluster.untilWhole();
    const wholeMs = performance.now() - endedAt;
    const { verified, written } = await load.stop();

    report('disk full under the log of all nodes', {
      refusedAfterMs: Math.round(refusedInMs),
      fullMs: Math.round(endedAt - startedAt),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      acknowledged: written.acknowledged.length,
      ...told(written.refused),
      open: written.unknown,
      writesAgainMs: Math.round(writesAgainMs),
      wholeMs: Math.round(wholeMs),
    });
    expect(refused).toMatchObject({ status: 507, body: { code: 'disk_full' } });
    expect(refused.body.detail).toContain('under the log');
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500);
    expect(verified.degraded).toBeGreaterThan(50);
    expect(writesAgainMs).toBeLessThanOrEqual(30_000);
    expect(wholeMs).toBeLessThanOrEqual(30_000);
    await expectNothingLost();
  });

  it.each([
    { what: "under the master's PostgreSQL", which: ['database'] as const, whose: 'master' },
    { what: 'under both of a subordinate', which: ['log', 'database'] as const, whose: 'other' },
  ])('$what: the others go on, and it heals', async ({ what, which, whose }) => {
    const master = await cluster.untilWhole();
    const node = whose === 'master' ? master : cluster.others(master.name)[0]!;
    await using load = await startLoad(whose);
    const startedAt = performance.now();
    // What comes to it while its PostgreSQL cannot write is told so, and tried elsewhere.
    const about = { nodes: [node.name], cannotVerify: [node.name] };
    cluster.history.beginFault(`${node.name}: disk full ${what}`, about);
    for (const part of which) disks.get(node.name)![part].fill();
    await untilTold([node], 'under its PostgreSQL', cluster.others(node.name)[0]);
    if (whose === 'other') await untilTold([node], 'under its log', cluster.others(node.name)[0]);
    const next = await waitFor(
      'a master with room',
      async () => {
        const { master: name } = await cluster.api(cluster.others(node.name)[0]!).cluster();
        return name === node.name ? null : name;
      },
      { timeoutMs: 20_000 },
    );
    await untilWritesAgain(load.writes);
    const goesOnMs = performance.now() - startedAt;
    const before = load.verifications.approved;
    await waitFor('verifications', () => load.verifications.approved > before + 100, {
      timeoutMs: 20_000,
    });
    const endedAt = performance.now();
    for (const part of which) disks.get(node.name)![part].makeRoom();
    await node.untilReady(30_000);
    const readyMs = performance.now() - endedAt;
    await cluster.untilWhole();
    const wholeMs = performance.now() - endedAt;
    const { verified, written } = await load.stop();

    report(`disk full ${what}`, {
      writesGoOnMs: Math.round(goesOnMs),
      fullMs: Math.round(endedAt - startedAt),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      acknowledged: written.acknowledged.length,
      ...told(written.refused),
      open: written.unknown,
      longestWritePauseMs: written.longestPauseMs,
      readyMs: Math.round(readyMs),
      wholeMs: Math.round(wholeMs),
    });
    expect(next).not.toBe(node.name);
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(3000);
    expect(wholeMs).toBeLessThanOrEqual(30_000);
    await expectNothingLost();
  });
});

async function startLoad(prefix: string) {
  const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  const verifications = new VerificationLoad({ clients, people, everyMs: 40, retry: true });
  const writes = new WriteLoad({ clients: clients.map(({ api }) => api), prefix, everyMs: 80 });
  const stop = async () => ({ verified: await verifications.stop(), written: await writes.stop() });
  const load = {
    verifications,
    writes,
    stop,
    [Symbol.asyncDispose]: async () => void (await stop()),
  };
  await waitFor('a workload', () => verifications.approved > 40 && writes.acknowledged > 10, {
    timeoutMs: 30_000,
  });
  return load;
}

/** The status, as one node sees it, names these nodes' disk. */
async function untilTold(nodes: TestNode[], what: string, asked = nodes[0]!): Promise<void> {
  await waitFor(
    `status to tell of a full disk ${what} on ${nodes.map(({ name }) => name).join()}`,
    async () => {
      const view = await cluster.api(asked).cluster();
      const isTold = (node: TestNode) =>
        view.nodes
          .find(({ name }) => name === node.name)
          ?.problems.some((problem) => problem.includes(what) && problem.includes('full'));
      return nodes.every(isTold);
    },
    { timeoutMs: 10_000, everyMs: 50 },
  );
}

async function untilRefused(node: TestNode) {
  return waitFor(
    'a write to be refused',
    async () => {
      const reply = await cluster.api(node).call('POST', '/api/v1/users', {
        body: { username: 'nobody' },
        timeoutMs: 15_000,
      });
      return reply.status === 507 ? reply : null;
    },
    { timeoutMs: 20_000, everyMs: 50 },
  );
}

async function untilWritesAgain(writes: WriteLoad): Promise<void> {
  const before = writes.acknowledged;
  await waitFor('writes to be acknowledged', () => writes.acknowledged > before + 5, {
    timeoutMs: 45_000,
  });
}

function told(refused: { status: number; code: string }[]) {
  const codes = new Set(refused.map(({ status, code }) => `${status}:${code}`));
  return { refused: refused.length, refusedWith: [...codes].join() };
}

/** One history, and every node's tables hold what its digest says. */
async function expectNothingLost(): Promise<void> {
  await cluster.untilDigestsEqual();
  await expectHistoryHolds(cluster);
  for (const node of cluster.nodes) {
    await using db = openReplica(node);
    const { digest, stored } = await recomputeDigest(db);
    expect(digest, `tables of ${node.name}`).toBe(stored);
  }
}
