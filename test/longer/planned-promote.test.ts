import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeNodeConfig, type NodeConfigInput } from '@countersign/node';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { promoteTo, untilMasterEverywhere } from '../harness/promote.ts';
import { report } from '../harness/report.ts';
import { STANDSTILL_MS } from '../harness/standstill.ts';
import { quantile, VerificationLoad, WriteLoad, type WriteFigures } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

const ROUNDS = 6;
/** Of those, in which nothing stood still by itself: the product holds a write for 2 s at most. */
const UNDISTURBED_ROUNDS = 4;

type Round = { status: number; from: number; to: number; epoch: number; written: WriteFigures };

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('promote with the master alive', () => {
  it('goes round the nodes under write load without an error for any client', async () => {
    let master = await cluster.untilWhole();
    const { epoch } = await cluster.api(master).cluster();
    await using verifications = verifyOn(cluster.nodes);
    const rounds: Round[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const target = cluster.nodes[(cluster.nodes.indexOf(master) + 1) % cluster.nodes.length]!;
      await using writes = new WriteLoad({
        clients: cluster.nodes.map((node) => cluster.api(node)),
        prefix: `round-${round}`,
        everyMs: 50,
      });
      await waitFor('a workload', () => writes.acknowledged > 20, { timeoutMs: 20_000 });
      const from = performance.now();
      const { status } = await promote(cluster.nodes[round % cluster.nodes.length]!, target.name);
      const to = performance.now();
      if (status !== 200) await promoteTo(cluster, target);
      await untilMasterEverywhere(cluster, target);
      const { epoch: begun } = await cluster.api(target).cluster();
      const before = writes.acknowledged;
      await waitFor('more writes', () => writes.acknowledged > before + 20, { timeoutMs: 20_000 });
      rounds.push({ status, from, to, epoch: begun, written: await writes.stop() });
      master = target;
    }
    const verified = await verifications.stop();
    await cluster.untilDigestsEqual();
    const pauses = rounds.map(({ written, from, to }) => pauseAround(written, { from, to }));
    const all = rounds.map(({ written }) => written);
    const latencies = all.flatMap(({ acknowledged }) => acknowledged.map(({ tookMs }) => tookMs));
    const refused = all.flatMap((written) => written.refused);

    report(`planned promote round the nodes, ${ROUNDS} times`, {
      promoteMs: rounds.map(({ from, to }) => Math.round(to - from)).join(),
      writePausesMs: pauses.map(Math.round).join(),
      pauseP99Ms: Math.round(quantile(pauses, 0.99)),
      writeP50Ms: Math.round(quantile(latencies, 0.5)),
      writeP99Ms: Math.round(quantile(latencies, 0.99)),
      acknowledged: latencies.length,
      refused: refused.length,
      open: all.flatMap(({ uncertain }) => uncertain).length,
      approved: verified.approved,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    const undisturbed = rounds.filter(
      ({ status, written }) =>
        status === 200 && written.refused.length + written.uncertain.length === 0,
    );
    expect(undisturbed.length).toBeGreaterThanOrEqual(UNDISTURBED_ROUNDS);
    expect(refused.filter(({ code }) => code !== 'master_offline')).toEqual([]);
    expect(quantile(pauses, 0.5)).toBeLessThanOrEqual(1000);
    expect(Math.max(...pauses)).toBeLessThanOrEqual(2000 + 2 * STANDSTILL_MS);
    expect(verified.failed).toEqual([]);
    const epochs = rounds.map(({ epoch: begun }) => begun);
    expect(new Set([epoch, ...epochs]).size).toBe(ROUNDS + 1);
    await expectHistoryHolds(cluster);
    for (const node of cluster.nodes) {
      const promotions = await waitForPromotions(node, epoch + 1, epochs);
      expect(new Set(promotions).size).toBe(promotions.length);
    }
  });

  it('is refused for a node that is not there', async () => {
    const master = await cluster.untilWhole();
    const unknown = await promote(master, 'node-9');
    expect(unknown).toMatchObject({ status: 404, body: { code: 'unknown_node' } });
  });
});

describe('demote', () => {
  it('makes another node master, and the old one carries writes to it', async () => {
    const master = await cluster.untilWhole();
    const { master: next } = await cluster
      .api(master)
      .done<{ master: string }>('POST', '/api/v1/cluster/demote');
    expect(next).not.toBe(master.name);
    await untilMasterEverywhere(cluster, { name: next });
    await cluster.api(master).done('POST', '/api/v1/users', { username: 'after-demote' });
    await cluster.untilDigestsEqual();
  });
});

describe('a master that died and comes back as promotable: false', () => {
  it('is refused while away, returns as a subordinate, and is never made master again', async () => {
    const first = await cluster.untilWhole();
    const node = cluster.others(first.name)[0]!;
    await promoteTo(cluster, node);
    await node.killAll();
    const others = cluster.others(node.name);
    await waitFor(
      'another master',
      async () => {
        const { master } = await cluster.api(others[0]!).cluster();
        return master !== null && master !== node.name;
      },
      { timeoutMs: 60_000, everyMs: 100 },
    );
    const away = await promote(others[0]!, node.name);
    expect(away).toMatchObject({ status: 409, body: { code: 'node_offline' } });

    forbidPromotion(node);
    node.start();
    await node.untilReady();
    const master = await cluster.untilWhole();
    expect(master.name).not.toBe(node.name);
    await cluster.untilDigestsEqual();
    const back = await promote(others[1]!, node.name);
    expect(back).toMatchObject({ status: 409, body: { code: 'not_promotable' } });
    for (let i = 0; i < 2; i += 1) {
      const { master: next } = await cluster
        .api(node)
        .done<{ master: string }>('POST', '/api/v1/cluster/demote');
      expect(next).not.toBe(node.name);
    }
    await expectHistoryHolds(cluster);
  });
});

function promote(asked: TestNode, name: string) {
  return cluster.api(asked).call('POST', '/api/v1/cluster/promote', { body: { node: name } });
}

/** Longest time without an acknowledgement that touches the hand-over or the second after it. */
function pauseAround(written: WriteFigures, handOver: { from: number; to: number }): number {
  const times = written.acknowledged.map(({ at }) => at).toSorted((a, b) => a - b);
  const gaps = times
    .slice(1)
    .map((at, i) => ({ from: times[i]!, to: at }))
    .filter(({ from, to }) => to > handOver.from && from < handOver.to + 1000);
  return Math.max(...gaps.map(({ from, to }) => to - from));
}

/** Epochs of the promotions that node's events tell of, once these are among them. */
async function waitForPromotions(
  node: TestNode,
  since: number,
  wanted: number[],
): Promise<number[]> {
  return waitFor(
    `${wanted.length} promotions in the events of ${node.name}`,
    async () => {
      const { events } = await cluster
        .api(node)
        .done<{ events: { details: { epoch: number } }[] }>(
          'GET',
          '/api/v1/events?type=cluster.promoted&limit=100',
        );
      const epochs = events.map(({ details }) => details.epoch).filter((epoch) => epoch >= since);
      return wanted.every((one) => epochs.includes(one)) ? epochs : null;
    },
    { timeoutMs: 20_000, everyMs: 200 },
  );
}

/** What an operator does: one line in the node's configuration, then a restart. */
function forbidPromotion(node: TestNode): void {
  const file = join(node.folder, 'node.yaml');
  const config = parse(readFileSync(file, 'utf8')) as NodeConfigInput;
  writeNodeConfig(file, { ...config, promotable: false });
}

function verifyOn(nodes: TestNode[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people, everyMs: 50 });
}
