import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { writeNodeConfig, type NodeConfigInput } from '@countersign/node';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { quantile, VerificationLoad, WriteLoad, type WriteFigures } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

const ROUNDS = 6;

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
    await using writes = new WriteLoad({
      clients: cluster.nodes.map((node) => cluster.api(node)),
      prefix: 'round',
      everyMs: 50,
    });
    await waitFor('a workload', () => writes.acknowledged > 20, { timeoutMs: 20_000 });
    const handOvers: { from: number; to: number }[] = [];
    for (let round = 0; round < ROUNDS; round += 1) {
      const target = cluster.nodes[(cluster.nodes.indexOf(master) + 1) % cluster.nodes.length]!;
      const from = performance.now();
      const asked = cluster.nodes[round % cluster.nodes.length]!;
      const { status, body } = await cluster
        .api(asked)
        .call('POST', '/api/v1/cluster/promote', { body: { node: target.name } });
      expect(status, JSON.stringify(body)).toBe(200);
      handOvers.push({ from, to: performance.now() });
      await waitFor('every node to know it', () => isMasterEverywhere(target), { timeoutMs: 5000 });
      const before = writes.acknowledged;
      await waitFor('more writes', () => writes.acknowledged > before + 20, { timeoutMs: 10_000 });
      master = target;
    }
    const written = await writes.stop();
    const verified = await verifications.stop();
    const view = await cluster.untilDigestsEqual();
    const pauses = handOvers.map((handOver) => pauseAround(written, handOver));
    const latencies = written.acknowledged.map(({ tookMs }) => tookMs);

    report(`planned promote round the nodes, ${ROUNDS} times`, {
      promoteMs: handOvers.map(({ from, to }) => Math.round(to - from)).join(),
      writePausesMs: pauses.map(Math.round).join(),
      pauseP99Ms: Math.round(quantile(pauses, 0.99)),
      writeP50Ms: Math.round(quantile(latencies, 0.5)),
      writeP99Ms: Math.round(quantile(latencies, 0.99)),
      acknowledged: written.acknowledged.length,
      refused: written.refused.length,
      open: written.unknown,
      approved: verified.approved,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(written.refused).toEqual([]);
    expect(written.uncertain).toEqual([]);
    expect(quantile(pauses, 0.99)).toBeLessThanOrEqual(1000);
    expect(verified.failed).toEqual([]);
    expect(view.epoch).toBe(epoch + ROUNDS);
    await expectHistoryHolds(cluster);
    for (const node of cluster.nodes) {
      const promotions = await waitForPromotions(node, epoch + 1, ROUNDS);
      expect(promotions).toEqual(Array.from({ length: ROUNDS }, (_, i) => epoch + 1 + i));
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
    const { status, body } = await cluster
      .api(master)
      .call<{ master: string }>('POST', '/api/v1/cluster/demote');
    expect(status, JSON.stringify(body)).toBe(200);
    expect(body.master).not.toBe(master.name);
    await cluster.api(master).done('POST', '/api/v1/users', { username: 'after-demote' });
    const view = await cluster.untilDigestsEqual();
    expect(view.master).toBe(body.master);
  });
});

describe('a master that died and comes back as promotable: false', () => {
  it('is refused while away, returns as a subordinate, and is never made master again', async () => {
    const first = await cluster.untilWhole();
    const node = cluster.others(first.name)[0]!;
    expect(await promote(first, node.name)).toMatchObject({ status: 200 });
    await node.killAll();
    const others = cluster.others(node.name);
    await waitFor(
      'another master',
      async () => {
        const { master } = await cluster.api(others[0]!).cluster();
        return master !== null && master !== node.name;
      },
      { timeoutMs: 20_000, everyMs: 100 },
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

async function isMasterEverywhere(node: TestNode): Promise<boolean> {
  const views = await Promise.all(cluster.nodes.map((one) => cluster.api(one).cluster()));
  return views.every((view) => view.master === node.name);
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

/** Epochs of the promotions that node's events tell of, oldest first. */
async function waitForPromotions(node: TestNode, since: number, count: number): Promise<number[]> {
  return waitFor(
    `${count} promotions in the events of ${node.name}`,
    async () => {
      const { events } = await cluster
        .api(node)
        .done<{ events: { details: { epoch: number } }[] }>(
          'GET',
          '/api/v1/events?type=cluster.promoted&limit=100',
        );
      const epochs = events.map(({ details }) => details.epoch).filter((epoch) => epoch >= since);
      return epochs.length >= count ? epochs.toSorted((a, b) => a - b) : null;
    },
    { timeoutMs: 10_000, everyMs: 200 },
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
