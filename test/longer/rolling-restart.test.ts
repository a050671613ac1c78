import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { isAlive, processesIn } from '../harness/processes.ts';
import { report } from '../harness/report.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a rolling restart of all nodes', () => {
  it('fails no verification of a client that tries the next node', async () => {
    await using verifications = verifyOn(cluster.nodes);
    let handOvers = 0;
    let undisturbed = 0;
    for (const node of cluster.nodes) {
      const wasMaster = (await cluster.untilWhole()) === node;
      await using writes = new WriteLoad({
        clients: cluster.others(node.name).map((other) => cluster.api(other)),
        prefix: `rolling-${node.name}`,
        everyMs: 50,
      });
      await waitFor('writes', () => writes.acknowledged > 10, { timeoutMs: 20_000 });
      const stopsAt = performance.now();
      await node.stop();
      const stoppedAt = performance.now();
      expect(processesIn(node.folder)).toEqual([]);
      node.start();
      await node.untilReady();
      const readyAt = performance.now();
      const master = await cluster.untilWhole();
      const wholeAt = performance.now();
      const written = await writes.stop();
      await cluster.untilDigestsEqual();

      report(`rolling restart, ${wasMaster ? 'the master' : 'a subordinate'}`, {
        stopMs: Math.round(stoppedAt - stopsAt),
        startMs: Math.round(readyAt - stoppedAt),
        wholeMs: Math.round(wholeAt - readyAt),
        acknowledged: written.acknowledged.length,
        refused: written.refused.length,
        refusedWith: [...new Set(written.refused.map(({ code }) => code))].join(),
        open: written.unknown,
        writePauseMs: written.longestPauseMs,
      });
      if (wasMaster) {
        handOvers += 1;
        expect(master).not.toBe(node);
        if (written.refused.length + written.uncertain.length === 0) undisturbed += 1;
      }
    }
    const verified = await verifications.stop();
    await expectHistoryHolds(cluster);

    report('rolling restart of all nodes, retrying client', {
      handOvers,
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    // A write is held for 2 s at most: whoever stands still in a hand-over by itself may cost one.
    expect(undisturbed).toBeGreaterThanOrEqual(Math.max(1, handOvers - 1));
    expect(verified.failed).toEqual([]);
  });
});

describe('a supervisor killed -9', () => {
  it('leaves no orphan, and its node starts again at once', async () => {
    const master = await cluster.untilWhole();
    const node = cluster.others(master.name)[0]!;
    await using verifications = verifyOn([...cluster.others(node.name), node]);
    const pids = [...new Set([...node.allPids, ...processesIn(node.folder)])];
    expect(pids.length).toBeGreaterThan(5);

    node.strike('supervisor', 'SIGKILL');
    const killedAt = performance.now();
    await waitFor(
      'everything of it to be gone',
      () => !pids.some(isAlive) && processesIn(node.folder).length === 0,
      { timeoutMs: 10_000 },
    );
    const goneAfterMs = performance.now() - killedAt;
    node.start();
    await node.untilReady();
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
    const verified = await verifications.stop();

    report('a supervisor killed -9', {
      processes: pids.length,
      goneAfterMs: Math.round(goneAfterMs),
      approved: verified.approved,
      failed: verified.failed.length,
    });
    expect(verified.failed).toEqual([]);
    await expectHistoryHolds(cluster);
  });
});

/** A client of each node that tries the same attempt on the next one, as behind a load balancer. */
function verifyOn(nodes: TestNode[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people, everyMs: 40, retry: true });
}
