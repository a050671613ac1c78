import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { untilEventsEverywhere } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { STANDSTILL_MS } from '../harness/standstill.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

/** The lease's 4 s, and one for the answer. */
const REFUSED_WITHIN_MS = 5000;

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start({ relays: true });
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 31);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('the master cut off from the other two while clients still reach it', () => {
  it('refuses writes, verifies degraded, and joins the history of the other side when healed', async () => {
    const master = await cluster.untilWhole();
    const others = cluster.others(master.name);
    const replayed = people[0]!;
    await using verifiedThere = verifyOn([master], people.slice(1, 11));
    await using verifiedElsewhere = verifyOn(others, people.slice(11));
    await using writesElsewhere = writeThrough(others, 'majority');
    await waitFor('a workload', () => writesElsewhere.acknowledged > 20, { timeoutMs: 20_000 });

    cluster.cutOff(master.name);
    const cutAt = performance.now();
    const beforeTheCut = writesElsewhere.acknowledged;
    const attempts = new WriteAttempts(master);
    await waitFor(
      'the other side to take writes',
      () => writesElsewhere.acknowledged > beforeTheCut + 5,
      {
        timeoutMs: 30_000,
      },
    );
    const nextWriteMs = performance.now() - cutAt;
    const elected = await cluster.master(others);
    const { epoch } = await cluster.api(elected).cluster();
    const code = replayed.nextCode();
    const approvedThere = await cluster.api(master).verify({ username: replayed.username, code });
    // Long enough for the first writes there to end (10 s) and for the others to write on.
    await lasting(Math.max(0, 12_000 - (performance.now() - cutAt)));
    const refusals = await attempts.stop();
    const there = await verifiedThere.stop();

    cluster.heal(master.name);
    const healedAt = performance.now();
    await cluster.untilWhole();
    const wholeMs = performance.now() - healedAt;
    const replays = await Promise.all(
      cluster.nodes.map((node) => cluster.api(node).verify({ username: replayed.username, code })),
    );
    const written = await writesElsewhere.stop();
    const elsewhere = await verifiedElsewhere.stop();
    const view = await cluster.untilDigestsEqual();
    const { duplicates } = await untilEventsEverywhere(cluster, [
      approvedThere.body.id,
      ...there.approvedIds,
      ...elsewhere.approvedIds,
    ]);

    const firstRefusalMs = Math.min(
      ...refusals.filter(({ code: told }) => told === 'master_offline').map(({ at }) => at - cutAt),
    );
    const sentLate = refusals.filter(
      ({ sentAt }) => sentAt - cutAt > REFUSED_WITHIN_MS + STANDSTILL_MS,
    );
    report('master cut off from the other two', {
      firstRefusalMs: Math.round(firstRefusalMs),
      slowestLaterRefusalMs: Math.round(Math.max(...sentLate.map(({ at, sentAt }) => at - sentAt))),
      nextWriteMs: Math.round(nextWriteMs),
      approvedThere: there.approved,
      degradedThere: there.degraded,
      failedThere: there.failed.length,
      gapThereMs: there.longestGapMs,
      approvedElsewhere: elsewhere.approved,
      degradedElsewhere: elsewhere.degraded,
      failedElsewhere: elsewhere.failed.length,
      gapElsewhereMs: elsewhere.longestGapMs,
      wholeAgainMs: Math.round(wholeMs),
      acknowledged: written.acknowledged.length,
      duplicates,
    });
    expect(refusals.filter(({ status }) => status === 201)).toEqual([]);
    expect(firstRefusalMs).toBeLessThanOrEqual(REFUSED_WITHIN_MS + STANDSTILL_MS);
    expect(sentLate.length).toBeGreaterThan(5);
    for (const late of sentLate) {
      expect(late).toMatchObject({ status: 503, code: 'master_offline' });
      expect(late.at - late.sentAt).toBeLessThanOrEqual(2500 + STANDSTILL_MS);
    }
    expect(nextWriteMs).toBeLessThanOrEqual(15_000 + STANDSTILL_MS);
    expect(elected.name).not.toBe(master.name);
    expect([there.failed, elsewhere.failed]).toEqual([[], []]);
    expect(there.longestGapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    expect(elsewhere.longestGapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    expect(approvedThere.body).toMatchObject({ status: 'approved', degraded: true });
    expect(there.degraded).toBeGreaterThan(50);
    for (const { body } of replays) expect(body.status).toBe('denied');
    expect(view.epoch > epoch || view.master === elected.name).toBe(true);
    expect(duplicates).toBe(0);
    await expectHistoryHolds(cluster);
  });
});

type Attempt = { username: string; sentAt: number; at: number; status: number; code: string };

/** Keeps trying to add users through a node that cannot; each try is on its own. */
class WriteAttempts {
  readonly #stop = new AbortController();
  readonly #running: Promise<Attempt[]>;

  constructor(node: TestNode) {
    this.#running = this.#drive(node);
  }

  async stop(): Promise<Attempt[]> {
    this.#stop.abort();
    return this.#running;
  }

  async #drive(node: TestNode): Promise<Attempt[]> {
    const attempts: Promise<Attempt>[] = [];
    while (!this.#stop.signal.aborted) {
      attempts.push(this.#attempt(node, `minority-${attempts.length}`));
      await lasting(200);
    }
    return Promise.all(attempts);
  }

  async #attempt(node: TestNode, username: string): Promise<Attempt> {
    const sentAt = performance.now();
    const { status, body } = await cluster
      .api(node)
      .call('POST', '/api/v1/users', { body: { username } });
    return { username, sentAt, at: performance.now(), status, code: body.code ?? '' };
  }
}

function verifyOn(nodes: TestNode[], some: Person[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people: some, everyMs: 30 });
}

function writeThrough(nodes: TestNode[], prefix: string): WriteLoad {
  return new WriteLoad({ clients: nodes.map((node) => cluster.api(node)), prefix, everyMs: 50 });
}
