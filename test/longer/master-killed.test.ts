import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '@countersign/testing';
import type { Reply } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { STANDSTILL_MS } from '../harness/standstill.ts';
import { findStreamLeader } from '../harness/stream-leader.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

const PROMOTE_FOR_MS = 60_000;

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

/** When the log and the lease can be written again, seen from a node that is left. */
async function whenLogHasLeader(node: TestNode): Promise<number> {
  await waitFor('a leader of the log', async () => (await cluster.api(node).cluster()).quorum, {
    timeoutMs: 40_000,
    everyMs: 50,
  });
  const { incarnation } = await cluster.api(node).cluster();
  await findStreamLeader(cluster, `KV_LEASE-${incarnation.number}`);
  return performance.now();
}

/** Right after a death the log may still be electing: who is told so tries again. */
async function promote(node: TestNode): Promise<Reply<Record<string, unknown>>> {
  const until = performance.now() + PROMOTE_FOR_MS;
  for (;;) {
    const reply = await cluster
      .api(node)
      .call('POST', '/api/v1/cluster/promote', { body: { node: node.name }, timeoutMs: 30_000 });
    const mayCome = ['no_quorum', 'master_alive', 'not_active_yet'].includes(reply.body.code ?? '');
    if (!mayCome || performance.now() > until) return reply;
  }
}

describe('the whole master node killed -9', () => {
  it('stops nobody from verifying, costs no acknowledged write, and another node takes writes', async () => {
    const master = await cluster.master();
    const others = cluster.others(master.name);
    const clients = others.map((node) => ({ name: node.name, api: cluster.api(node) }));
    await using verifications = new VerificationLoad({ clients, people, everyMs: 20 });
    await using writes = new WriteLoad({
      clients: clients.map(({ api }) => api),
      prefix: 'auto',
      everyMs: 50,
    });
    await waitFor('writes', () => writes.acknowledged > 20, { timeoutMs: 40_000 });

    await master.killAll();
    const killedAt = performance.now();
    const before = writes.acknowledged;
    const leaderAt = whenLogHasLeader(others[0]!);
    await waitFor('the next acknowledged write', () => writes.acknowledged > before + 3, {
      timeoutMs: 60_000,
    });
    const writePauseMs = performance.now() - killedAt;
    await waitFor('more writes', () => writes.acknowledged > before + 30, { timeoutMs: 40_000 });
    const next = await cluster.api(await cluster.master(others)).cluster();
    master.start();
    await master.untilReady();
    const written = await writes.stop();
    const verified = await verifications.stop();
    const view = await cluster.untilDigestsEqual();

    report('whole master killed -9, automatic', {
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      nextWriteMs: Math.round(writePauseMs),
      acknowledged: written.acknowledged.length,
    });
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    // 15 s hold while the log's own elections take their usual 4-8.5 s; behind longer ones a candidate waits 6 s more.
    const allowedMs = Math.max(15_000, (await leaderAt) - killedAt + 6000 + 3000);
    expect(writePauseMs).toBeLessThanOrEqual(allowedMs + STANDSTILL_MS);
    expect(next.master).not.toBe(master.name);
    expect(view.epoch > next.epoch || view.master === next.master).toBe(true);
    await expectHistoryHolds(cluster);
  });

  it('in manual mode refuses writes at once until a node is promoted, and goes on verifying', async () => {
    const first = await cluster.master();
    await cluster.api(first).done('PATCH', '/api/v1/settings', { 'failover.mode': 'manual' });
    await cluster.untilDigestsEqual();
    const target = cluster.others(first.name)[0]!;
    const others = cluster.others(first.name);
    const clients = others.map((node) => ({ name: node.name, api: cluster.api(node) }));
    await using verifications = new VerificationLoad({ clients, people, everyMs: 20 });

    await first.killAll();
    const killedAt = performance.now();
    // What the dead master's connection has not told yet may stay open once; after that it is at once.
    await waitFor(
      'writes to be refused',
      async () => {
        const { body } = await cluster
          .api(target)
          .call('POST', '/api/v1/users', { body: { username: 'nobody' }, timeoutMs: 15_000 });
        return body.code === 'master_offline';
      },
      { timeoutMs: 30_000 },
    );
    const refusedAfterMs = performance.now() - killedAt;
    const askedAt = performance.now();
    const refused = await cluster
      .api(target)
      .call('POST', '/api/v1/users', { body: { username: 'nobody' } });
    const refusedInMs = performance.now() - askedAt;
    expect(refused.status).toBe(503);
    expect(refused.body.code).toBe('master_offline');

    const leaderAt = whenLogHasLeader(target);
    const promoted = await promote(target);
    expect(promoted.status, JSON.stringify(promoted.body)).toBe(200);
    await cluster.api(others[1]!).done('POST', '/api/v1/users', { username: 'after-promote' });
    const writesAfterMs = performance.now() - killedAt;

    first.start();
    await first.untilReady();
    const verified = await verifications.stop();
    const view = await cluster.untilDigestsEqual();
    report('whole master killed -9, manual', {
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      refusedAfterMs: Math.round(refusedAfterMs),
      refusedInMs: Math.round(refusedInMs),
      writesAfterKillMs: Math.round(writesAfterMs),
    });
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    expect(refusedInMs).toBeLessThanOrEqual(1000 + STANDSTILL_MS);
    // 12 s hold while the log's own elections take their usual 4-8.5 s. After longer ones a candidate may first have
    // to see the lease stand still for ttl and skew, 4.5 s, and 3 s are ours.
    const allowedMs = Math.max(12_000, (await leaderAt) - killedAt + 4500 + 3000);
    expect(writesAfterMs).toBeLessThanOrEqual(allowedMs + STANDSTILL_MS);
    expect(view.master).toBe(target.name);
    const { status } = await cluster.api(first).call('GET', '/api/v1/users/nobody');
    expect(status).toBe(404);
    await expectHistoryHolds(cluster);
  });
});
