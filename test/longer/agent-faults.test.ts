import { randomUUID } from 'node:crypto';
import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { putAgentBehindRelay } from '../harness/behind-relay.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { faultMs } from '../harness/fault-time.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { isAlive, signal } from '../harness/processes.ts';
import { untilMasterEverywhere } from '../harness/promote.ts';
import { epochsOf } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { STANDSTILL_MS } from '../harness/standstill.ts';
import { existingUsers, VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

/** A verification takes part of a second at most, so a longer gap would have been felt. */
const UNNOTICED_MS = 1000 + STANDSTILL_MS;

let cluster: TestCluster;
let people: Person[];
let bringBack: () => Promise<void> = async () => undefined;

beforeAll(async () => {
  cluster = await TestCluster.start({ relays: true });
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());
afterEach(async () => {
  signal(
    cluster.nodes.map((node) => node.pids.agentPid),
    'SIGCONT',
  );
  await bringBack();
  await cluster.untilWhole();
  await cluster.untilDigestsEqual();
});

describe("a subordinate's agent", () => {
  it('killed -9 is not noticed by verification there, and catches up by itself', async () => {
    const master = await cluster.untilWhole();
    const node = cluster.others(master.name)[0]!;
    const { agentPid } = node.pids;
    await using verifications = verifyOn([node]);
    await using writes = writeThrough(cluster.others(node.name), 'killed');
    await waitFor('a workload', () => verifications.approved > 30 && writes.acknowledged > 10, {
      timeoutMs: 40_000,
    });

    node.strike('agent', 'SIGKILL');
    const killedAt = performance.now();
    const before = writes.acknowledged;
    await waitFor(
      'another agent',
      () => node.pids.agentPid !== agentPid && isAlive(node.pids.agentPid ?? 0),
      { timeoutMs: 30_000 },
    );
    await waitFor('more writes', () => writes.acknowledged > before + 20, { timeoutMs: 20_000 });
    const written = await writes.stop();
    await cluster.untilDigestsEqual();
    const caughtUpMs = performance.now() - killedAt;
    const verified = await verifications.stop();

    report("a subordinate's agent killed -9", {
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      caughtUpMs: Math.round(caughtUpMs),
    });
    expect(verified.failed).toEqual([]);
    // Of the log's own silence, which is short; the agent was away longer.
    expect(verified.degraded).toBeLessThan(verified.approved / 2);
    expect(verified.longestGapMs).toBeLessThanOrEqual(UNNOTICED_MS);
    expect(written.refused).toEqual([]);
    await expectHistoryHolds(cluster);
  });

  it('stopped for long is not noticed by verification there, and catches up afterwards', async () => {
    const master = await cluster.untilWhole();
    const node = cluster.others(master.name)[1]!;
    await using verifications = verifyOn([node]);
    await using writes = writeThrough(cluster.others(node.name), 'stopped');

    node.strike('agent', 'SIGSTOP');
    const over = lasting(faultMs(60_000));
    await waitFor(
      'the others to miss its heartbeats',
      async () => {
        const { nodes } = await cluster.api(master).cluster();
        return nodes.find(({ name }) => name === node.name)?.online === false;
      },
      { timeoutMs: 15_000, everyMs: 100 },
    );
    const throughIt = await cluster
      .api(node)
      .done<{ applied: boolean }>('POST', '/api/v1/users', { username: 'through-it' });
    await over;
    signal([node.pids.agentPid], 'SIGCONT');
    const verified = await verifications.stop();
    await writes.stop();
    await cluster.untilDigestsEqual();

    report("a subordinate's agent stopped", {
      stoppedMs: faultMs(60_000),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(verified.failed).toEqual([]);
    // Of the log's own silence, which is short; the agent was away longer.
    expect(verified.degraded).toBeLessThan(verified.approved / 2);
    expect(verified.longestGapMs).toBeLessThanOrEqual(UNNOTICED_MS);
    expect(throughIt.applied).toBe(false);
    expect(await existingUsers(cluster.api(node), ['through-it'])).toEqual(['through-it']);
    await expectHistoryHolds(cluster);
  });
});

describe('a would-be master paused inside its barrier and continued after the next master began', () => {
  it.each([
    { where: 'its whole run still on the way', index: 1 },
    { where: 'only the last message still on the way', index: 128 },
  ])('resigns, and nothing of it counts: $where', async ({ where, index }) => {
    const { node } = await subordinateBehindRelay();
    const giver = await cluster.master();
    expect(giver.name).not.toBe(node.name);
    await using verifications = verifyOn(cluster.nodes);
    // Whichever of the other servers its agent has turned to by then.
    const traps = cluster.relays
      .filter(({ from }) => from === node.name)
      .map(({ relay }) =>
        relay.trap(
          (name, chunk) =>
            name === `${node.name} agent` && chunk.includes(`"index":${index},"of":128`),
        ),
      );
    const isUnderWay = new AbortController();
    const promotion = promote(node, { through: giver, until: isUnderWay.signal });
    const refused = promotion.then((status) => {
      throw new Error(`the promotion ended too soon: ${status}`);
    });
    const caught = traps.map(async (trap) => ({ trap, held: await trap.caught }));

    const { trap, held } = await waitFor('its barrier', () => Promise.race([...caught, refused]), {
      timeoutMs: 30_000,
    });
    isUnderWay.abort();
    node.strike('agent', 'SIGSTOP');
    const epoch = Number(/change\.1\.epoch\.(\d+)/.exec(held.toString('latin1'))?.[1]);
    const stoppedAt = performance.now();
    await using writes = writeThrough(cluster.others(node.name), `barrier-${index}`);
    await waitFor('the next master to take writes', () => writes.acknowledged > 5, {
      timeoutMs: 30_000,
    });
    const nextWriteMs = performance.now() - stoppedAt;
    const next = await cluster.master(cluster.others(node.name));
    const { epoch: nextEpoch } = await cluster.api(next).cluster();
    expect(trap.release(), 'its messages arrive').toBe(true);
    signal([node.pids.agentPid], 'SIGCONT');
    await bringBack();
    const { acknowledged } = writes;
    await waitFor('more writes', () => writes.acknowledged > acknowledged + 20, {
      timeoutMs: 20_000,
    });
    await writes.stop();
    const promotionStatus = await promotion;
    const verified = await verifications.stop();
    const view = await cluster.untilDigestsEqual();
    const epochs = await Promise.all(cluster.nodes.map((one) => epochsOf(one)));

    report(`a would-be master paused inside its barrier, ${where}`, {
      epoch,
      nextEpoch: view.epoch,
      nextWriteMs: Math.round(nextWriteMs),
      promotionStatus,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(promotionStatus).not.toBe(200);
    expect(next.name).not.toBe(node.name);
    expect(view.epoch > nextEpoch || view.master === next.name).toBe(true);
    for (const list of epochs) {
      expect(list).toContain(view.epoch);
      expect(list).not.toContain(epoch);
    }
    expect(view.epoch).toBeGreaterThan(epoch);
    expect(verified.failed).toEqual([]);
    await expectHistoryHolds(cluster);
  });
});

describe("the master's agent", () => {
  it('paused with a write in flight cannot write any more, and there is one history', async () => {
    const { node } = await subordinateBehindRelay();
    const giver = await cluster.master();
    const promoted = await promote(node, { through: giver, until: AbortSignal.timeout(60_000) });
    expect(promoted).toBe(200);
    await untilMasterEverywhere(cluster, node);
    const others = cluster.others(node.name);
    await using verifications = verifyOn(cluster.nodes);
    // Whichever of the other servers its agent works with.
    const traps = cluster.relays
      .filter(({ from }) => from === node.name)
      .map(({ relay }) =>
        relay.trap(
          (name, chunk) => name === `${node.name} agent` && chunk.includes('change.1.user.'),
        ),
      );
    const caught = traps.map(async (one) => {
      await one.caught;
      return one;
    });
    const idempotencyKey = randomUUID();
    const body = { username: 'in-flight' };
    const inFlight = cluster
      .api(others[0]!)
      .call('POST', '/api/v1/users', { body, idempotencyKey });

    const trap = await waitFor('the write to leave', () => Promise.race(caught), {
      timeoutMs: 10_000,
    });
    node.strike('agent', 'SIGSTOP');
    const over = lasting(faultMs(30_000));
    const pausedAt = performance.now();
    await using writes = writeThrough(cluster.nodes, 'paused');
    await waitFor('another master to take writes', () => writes.acknowledged > 5, {
      timeoutMs: 30_000,
    });
    const nextWriteMs = performance.now() - pausedAt;
    expect(trap.release(), 'the straggler arrives').toBe(true);
    await over;
    signal([node.pids.agentPid], 'SIGCONT');
    await bringBack();
    await waitFor(
      'it to be a subordinate',
      async () => {
        const view = await cluster.api(node).cluster();
        const self = view.nodes.find(({ name }) => name === node.name);
        return view.master !== node.name && self?.role === 'subordinate' && self.behind < 20;
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    const written = await writes.stop();
    const verified = await verifications.stop();
    const answered = await inFlight;
    const view = await cluster.untilDigestsEqual();
    const landed = await Promise.all(
      cluster.nodes.map((one) => existingUsers(cluster.api(one), ['in-flight'])),
    );

    report("the master's agent paused with a write in flight", {
      pausedMs: faultMs(30_000),
      nextWriteMs: Math.round(nextWriteMs),
      inFlight: answered.status,
      acknowledged: written.acknowledged.length,
      refused: written.refused.length,
      open: written.unknown,
      approved: verified.approved,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(view.master).not.toBe(node.name);
    expect(answered.status).toBe(504);
    expect(landed.flat(), 'stragglers').toEqual([]);
    expect(nextWriteMs).toBeLessThanOrEqual(15_000 + STANDSTILL_MS);
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(UNNOTICED_MS);
    await expectHistoryHolds(cluster);
    await cluster.api(node).done('POST', '/api/v1/users', body, { idempotencyKey });
  });
});

async function subordinateBehindRelay() {
  const master = await cluster.untilWhole();
  const node = cluster.others(master.name)[0]!;
  const behind = await putAgentBehindRelay(cluster, node);
  bringBack = behind.bringBack;
  return { node };
}

/** Repeats it, as its answer asks, while the log's own servers come and go and nothing came of it. */
async function promote(
  node: TestNode,
  { through, until }: { through: TestNode; until: AbortSignal },
): Promise<number> {
  const idempotencyKey = randomUUID();
  const body = { node: node.name };
  for (;;) {
    const options = { body, idempotencyKey };
    const { status, body: told } = await cluster
      .api(through)
      .call('POST', '/api/v1/cluster/promote', options);
    const mayCome = [503, 504].includes(status) || told.code === 'target_behind';
    if (!mayCome || until.aborted) return status;
    await lasting(250);
  }
}

function verifyOn(nodes: TestNode[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people, everyMs: 30 });
}

function writeThrough(nodes: TestNode[], prefix: string): WriteLoad {
  return new WriteLoad({ clients: nodes.map((node) => cluster.api(node)), prefix, everyMs: 50 });
}
