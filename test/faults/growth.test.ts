import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad, WriteLoad, type WriteFigures } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

const WRITES_HELD_MS = 30_000;

let cluster: TestCluster;
let people: Person[];
let first: TestNode;

beforeAll(async () => {
  const [clientPort, routePort] = (await takeFreePorts(2)) as [number, number];
  const fourth = { name: 'node-4', host: '127.0.0.1', clientPort, routePort };
  cluster = await TestCluster.start({
    nodes: 4,
    later: ['node-2', 'node-3', 'node-4'],
    configure(config, name) {
      const all = config.logServers ?? [];
      if (name === 'node-1')
        return { ...config, logServers: all.filter((one) => one.name === name) };
      if (name !== 'node-4') return config;
      return { ...config, logServers: [...all.filter((one) => one.name !== 'node-2'), fourth] };
    },
  });
  first = cluster.node('node-1');
  people = await enrolPeople(cluster.api(first), 'person', 24);
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a cluster that begins with one node', () => {
  it('grows to three log servers by itself while it verifies and writes', async () => {
    expect(await writesLine(first)).toContain('0 of 1 log server may fail');
    await using verifications = verifyOn([first], people.slice(0, 12));
    await using writes = writeThrough([first], 'growing');
    await waitFor('writes', () => writes.acknowledged > 20, { timeoutMs: 10_000 });

    const startedAt = performance.now();
    const added = [cluster.startLater('node-2'), cluster.startLater('node-3')];
    await Promise.all(added.map((node) => node.untilReady()));
    const filledMs = performance.now() - startedAt;
    expect(await writesLine(first)).toContain('0 of 1 log server may fail (the log moves');
    await untilThreeServers(cluster.nodes, ['node-1', 'node-2', 'node-3']);
    await cluster.untilWhole();
    const grownMs = performance.now() - startedAt;
    for (const node of cluster.nodes) {
      expect(await writesLine(node)).toBe('writes: 1 of 3 log servers may fail');
    }
    const after = writes.acknowledged;
    await waitFor('writes', () => writes.acknowledged > after + 10, { timeoutMs: 10_000 });
    const written = await writes.stop();
    const verified = await verifications.stop();
    await cluster.untilDigestsEqual();

    report('growth from one log server to three', {
      filledMs: Math.round(filledMs),
      grownMs: Math.round(grownMs),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      ...describeWrites(written),
    });
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500);
    expectHeldClearly(written);
    await expectHistoryHolds(cluster);
  });

  it('replaces a server that is gone for good, and forgets its node', async () => {
    const master = await cluster.master();
    const lost = cluster.node(master.name === 'node-2' ? 'node-3' : 'node-2');
    const [kept] = cluster.others(master.name, lost.name) as [TestNode];
    await expectRefused(['remove', lost.name], `${lost.name} is running: stop it for good first`);
    await expectRefused(['remove', 'ghost'], 'no node is called ghost');

    await lost.killAll();
    cluster.forget(lost);
    const fourth = cluster.startLater('node-4');
    await fourth.untilReady();
    await waitFor('the node to be missed', async () => (await seen(lost.name))?.online === false, {
      timeoutMs: 20_000,
    });
    // The server that is gone may have led the log: an election takes up to 8.5 s.
    const withoutIt = 'writes: 0 of 3 log servers may fail, 1 is down';
    await waitFor('the log without it', async () => (await writesLine(master)) === withoutIt, {
      timeoutMs: 20_000,
    });
    await waitFor('the master again', async () => (await cluster.master()).name === master.name, {
      timeoutMs: 20_000,
    });
    await expectRefused(['remove', lost.name], `countersign node replace ${lost.name} NEW`);
    await expectRefused(['replace', lost.name, kept.name], 'already is one of the log servers');
    await expectRefused(['replace', master.name, 'node-4'], 'promote another node first');
    await expectRefused(['replace', 'ghost', 'node-4'], 'ghost is none of the log servers');
    await expectRefused(['replace', lost.name, 'ghost'], 'ghost is not heard');

    await using verifications = verifyOn([master, kept], people.slice(12));
    await using writes = writeThrough([master, kept, fourth], 'replacing');
    await waitFor('writes', () => writes.acknowledged > 20, { timeoutMs: 10_000 });
    const askedAt = performance.now();
    const replaced = await runCli(master, ['node', 'replace', lost.name, 'node-4']);
    expect(replaced, replaced.stderr).toMatchObject({ code: 0, stderr: '' });
    await untilThreeServers([master, kept, fourth], [master.name, kept.name, 'node-4']);
    const replacedMs = performance.now() - askedAt;
    const removed = await runCli(kept, ['node', 'remove', lost.name]);
    expect(removed, removed.stderr).toMatchObject({ code: 0, stderr: '' });
    await cluster.untilWhole();
    expect(await writesLine(kept)).toBe('writes: 1 of 3 log servers may fail');
    const written = await writes.stop();
    const verified = await verifications.stop();
    const view = await cluster.untilDigestsEqual();

    report('a log server replaced by a new one', {
      replacedMs: Math.round(replacedMs),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      ...describeWrites(written),
    });
    expect(view.nodes.map(({ name }) => name)).not.toContain(lost.name);
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500);
    expectHeldClearly(written);
    await expectHistoryHolds(cluster);
  });
});

/** What status says the log can bear. */
async function writesLine(node: TestNode): Promise<string> {
  const { stdout } = await runCli(node, ['status']);
  return /^writes: .*$/m.exec(stdout)?.[0] ?? stdout;
}

async function expectRefused(args: string[], why: string): Promise<void> {
  const refused = await runCli(first, ['node', ...args]);
  expect(refused.stderr).toContain(why);
  expect(refused.code).toBe(1);
}

/** As each of these nodes sees it. */
async function untilThreeServers(nodes: TestNode[], expected: string[]): Promise<void> {
  await waitFor(
    `a log of ${expected.join(', ')}`,
    async () => {
      const views = await Promise.all(nodes.map((node) => cluster.api(node).cluster()));
      return views.every(({ quorum, master, logServers }) => {
        const online = logServers.filter((server) => server.online).map(({ name }) => name);
        return quorum && master !== null && expected.every((name) => online.includes(name));
      });
    },
    { timeoutMs: 60_000, everyMs: 100 },
  );
}

async function seen(name: string) {
  const { nodes } = await cluster.api(first).cluster();
  return nodes.find((node) => node.name === name);
}

/** Writes wait or are told no at once; what stayed open is no more than were on their way. */
function expectHeldClearly(written: WriteFigures): void {
  expect(written.longestPauseMs).toBeLessThanOrEqual(WRITES_HELD_MS);
  for (const refused of written.refused) {
    expect(refused).toMatchObject({ status: 503, code: 'master_offline' });
  }
}

function describeWrites(written: WriteFigures): Record<string, number> {
  return {
    acknowledged: written.acknowledged.length,
    refused: written.refused.length,
    unknown: written.unknown,
    writePauseMs: written.longestPauseMs,
  };
}

function verifyOn(nodes: TestNode[], some: Person[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people: some, everyMs: 40 });
}

function writeThrough(nodes: TestNode[], prefix: string): WriteLoad {
  return new WriteLoad({ clients: nodes.map((node) => cluster.api(node)), prefix, everyMs: 100 });
}
