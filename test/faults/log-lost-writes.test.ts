import { mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { copyLogStores, loseSinceCopy, putBack } from '../harness/log-stores.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { signal } from '../harness/processes.ts';
import { untilStatesFollowed } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { existingUsers, VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a log whose servers all lost their last writes', () => {
  it('is rebuilt by itself from the newest replica, also while one replica is down', async () => {
    const master = await cluster.master();
    const [other, away] = cluster.others(master.name) as [TestNode, TestNode];
    await away.stop();
    const there = [master, other];
    const spent = people.slice(0, 2);
    await using verifications = new VerificationLoad({
      clients: there.map((node) => ({ name: node.name, api: cluster.api(node) })),
      people: people.slice(2),
      everyMs: 40,
    });
    const before = await cluster.api(master).cluster();

    const copies = copyLogStores(there);
    await using writes = new WriteLoad({
      clients: there.map((node) => cluster.api(node)),
      prefix: 'tail',
      everyMs: 20,
    });
    const used: { username: string; code: string }[] = [];
    for (const person of spent) {
      const use = { username: person.username, code: person.nextCode() };
      expect((await cluster.api(master).verify(use)).body.status).toBe('approved');
      used.push(use);
    }
    await waitFor('a tail', () => writes.acknowledged >= 20, { timeoutMs: 20_000 });
    const written = await writes.stop();
    await untilStatesFollowed(there);
    const logsSince = there.map((node) => ({ node, from: node.log('agent').length }));
    const lostAt = performance.now();
    cluster.history.beginFault('all log servers lose their last writes', {
      nodes: there.map(({ name }) => name),
      // Without any log server nobody can ask anybody.
      sides: there.map(({ name }) => [name]),
      hasQuorum: false,
    });
    await loseSinceCopy(copies);
    away.start();

    const view = await waitFor(
      'the next incarnation',
      async () => {
        const views = await Promise.all(cluster.nodes.map((node) => cluster.api(node).cluster()));
        const isNext = views.every(
          (one) => one.incarnation.number > before.incarnation.number && one.master !== null,
        );
        return isNext ? views[0]! : null;
      },
      { timeoutMs: 90_000, everyMs: 200 },
    );
    const rebuiltMs = performance.now() - lostAt;
    await cluster.untilWhole();
    const wholeMs = performance.now() - lostAt;
    await cluster.untilDigestsEqual();
    const verified = await verifications.stop();
    const told = logsSince.flatMap(({ node, from }) =>
      beforeRebuild(node.log('agent').slice(from)),
    );
    const tail = written.acknowledged.map(({ username }) => username);
    const kept = await Promise.all(
      cluster.nodes.map((node) => existingUsers(cluster.api(node), tail)),
    );

    report('all log servers lost their last writes, one node down', {
      lost: written.acknowledged.length,
      rebuiltMs: Math.round(rebuiltMs),
      wholeMs: Math.round(wholeMs),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(view.incarnation.number).toBe(before.incarnation.number + 1);
    expect(told.filter((line) => line.includes('promoted: this node is master'))).toEqual([]);
    for (const names of kept) expect(names, 'acknowledged writes').toEqual(tail);
    expect(await replies(used)).toEqual(used.flatMap(() => ['replayed', 'replayed', 'replayed']));
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500);
    await expectHistoryHolds(cluster);
  });

  it('that went on without the newest replica makes that one save its tail, say so, and follow', async () => {
    const newest = await cluster.untilWhole();
    const others = cluster.others(newest.name);
    // Their replicas stay behind; their log servers agree to what follows.
    signal(
      others.map((node) => node.pids.agentPid),
      'SIGSTOP',
    );
    await untilStatesFollowed([newest]);
    const copies = copyLogStores(cluster.nodes);
    const lost: string[] = [];
    for (const username of ['lost-1', 'lost-2', 'lost-3']) {
      await cluster.api(newest).done('POST', '/api/v1/users', { username });
      lost.push(username);
    }
    const spent = people[0]!;
    const use = { username: spent.username, code: spent.nextCode() };
    expect((await cluster.api(newest).verify(use)).body.status).toBe('approved');
    await untilStatesFollowed([newest]);
    await Promise.all(cluster.nodes.map((node) => node.killAll()));
    for (const copy of copies) putBack(copy);
    const startedAt = performance.now();
    for (const node of others) node.start();
    await Promise.all(others.map((node) => node.untilReady()));
    const kept = await waitFor(
      'writes without the newest',
      async () => {
        const body = { username: 'kept' };
        const { status } = await cluster.api(others[0]!).call('POST', '/api/v1/users', { body });
        return status === 201 || status === 409;
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
    const writableMs = performance.now() - startedAt;
    newest.start();
    await newest.untilReady();
    const view = await cluster.untilDigestsEqual(60_000);
    const problems = view.nodes.find(({ name }) => name === newest.name)!.problems;
    const folder = join(newest.folder, 'agent', 'dropped');
    mkdirSync(folder, { recursive: true });
    const saved = readdirSync(folder)
      .map((name) => readFileSync(join(folder, name), 'utf8'))
      .join('');

    report('a log that lost its tail and went on', { writableMs: Math.round(writableMs) });
    expect(kept).toBe(true);
    for (const name of lost) expect(saved).toContain(`"name":"${name}"`);
    expect(problems.join()).toMatch(
      /changes \d+-\d+ \(.*user lost-1.*\) were not in the cluster's/,
    );
    for (const node of cluster.nodes) {
      expect(await existingUsers(cluster.api(node), [...lost, 'kept'])).toEqual(['kept']);
    }
    // Its user states were the newest: what was used there is used everywhere.
    expect(await replies([use])).toEqual(['replayed', 'replayed', 'replayed']);
  });
});

/** What was logged in the incarnation that lost its tail. */
function beforeRebuild(log: string): string[] {
  const lines = log.split('\n');
  const end = lines.findIndex((line) => line.includes('filling tables beside those in use'));
  return end === -1 ? lines : lines.slice(0, end);
}

/** Reasons of every node's denial of each code. */
async function replies(uses: { username: string; code: string }[]): Promise<unknown[]> {
  const reasons: unknown[] = [];
  for (const use of uses) {
    for (const node of cluster.nodes) {
      const { body } = await cluster.api(node).verify(use);
      reasons.push(body.reason ?? body.status);
    }
  }
  return reasons;
}
