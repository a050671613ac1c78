import { waitFor } from '@countersign/testing';
import { totpStep } from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, enrolTotpPeople, type Person, type TotpPerson } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { STANDSTILL_MS } from '../harness/standstill.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

let cluster: TestCluster;
let people: Person[];
let totp: TotpPerson;

beforeAll(async () => {
  cluster = await TestCluster.start();
  const api = cluster.api(await cluster.master());
  people = await enrolPeople(api, 'person', 16);
  [totp] = (await enrolTotpPeople(api, 'app', 1)) as [TotpPerson];
  await api.done('POST', '/api/v1/users', { username: 'barred' });
  await api.done('POST', '/api/v1/users/barred/block', { reason: 'lost her phone' });
  await cluster.untilWhole();
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('two of three nodes whose data are gone', () => {
  it('leave a third that goes on with everything it knows, and fills them up again', async () => {
    const master = await cluster.master();
    const [survivor, other] = cluster.others(master.name) as [TestNode, TestNode];
    const api = cluster.api(survivor);
    const [locked] = (await enrolPeople(api, 'locked', 1)) as [Person];
    for (let i = 0; i < 5; i += 1) {
      await api.verify({ username: locked.username, code: locked.wrongCode() });
    }
    const spent = { username: people[0]!.username, code: people[0]!.nextCode() };
    expect((await api.verify(spent)).body.status).toBe('approved');
    const load = people.slice(1);
    const clients = [{ name: survivor.name, api }];
    await using verifications = new VerificationLoad({ clients, people: load, everyMs: 25 });
    await waitFor('verifications', () => verifications.approved > 20, { timeoutMs: 20_000 });

    const lost = [master, other];
    await Promise.all(lost.map((node) => node.killAll()));
    for (const node of lost) node.deleteData();
    await waitFor('the quorum to be missed', async () => !(await api.cluster()).quorum, {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    const forcedAt = performance.now();
    const earlyStep = totpStep(Date.now(), 30);
    const earlyCode = totp.codeNow();
    const forced = await runCli(survivor, ['promote', survivor.name, '--force', '--yes']);
    const masterMs = performance.now() - forcedAt;
    expect(forced, forced.stderr).toMatchObject({ code: 0 });
    expect(forced.stdout).toContain('blocked users: barred');

    expect((await api.verify({ username: 'barred', code: '123456' })).body.reason).toBe('blocked');
    const { body: still } = await api.verify({
      username: locked.username,
      code: locked.nextCode(),
    });
    expect(still.reason).toBe('locked_out');
    const { body: again } = await api.verify(spent);
    expect(again.reason).toBe('replayed');
    const { body: early } = await api.verify({ username: totp.username, code: earlyCode });
    // A code that is two steps old by now is no code any more.
    const isStill = totpStep(Date.now(), 30) <= earlyStep + 1;
    const reason = isStill ? 'replayed' : expect.stringMatching(/^(replayed|wrong_code)$/);
    expect(early).toMatchObject({ status: 'denied', reason });

    await using writes = new WriteLoad({ clients: [api], prefix: 'after', everyMs: 100 });
    await waitFor('writes', () => writes.acknowledged > 3, { timeoutMs: 30_000 });
    for (const node of lost) node.start();
    await waitFor(
      'three log servers',
      async () => (await api.cluster()).logServers.filter(({ online }) => online).length === 3,
      // A move of the log that came to nothing is tried again after a minute.
      { timeoutMs: 120_000, everyMs: 200 },
    );
    await cluster.untilWhole();
    const wholeMs = performance.now() - forcedAt;
    const before = writes.acknowledged;
    await waitFor('writes again', () => writes.acknowledged > before + 5, { timeoutMs: 20_000 });
    const written = await writes.stop();
    const verified = await verifications.stop();
    await cluster.untilDigestsEqual();

    report('two of three nodes lost, promote --force', {
      masterMs: Math.round(masterMs),
      wholeMs: Math.round(wholeMs),
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      acknowledged: written.acknowledged.length,
      refused: written.refused.length,
      writePauseMs: written.longestPauseMs,
    });
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(1500 + STANDSTILL_MS);
    expect(written.longestPauseMs).toBeLessThanOrEqual(30_000);
    await expectHistoryHolds(cluster);
    for (const node of cluster.nodes) {
      const { status } = await cluster.api(node).call('GET', `/api/v1/users/${totp.username}`);
      expect(status).toBe(200);
    }
  });
});

describe('a user removed while one node was down', () => {
  it('stays removed when another node rebuilds the log and the first returns', async () => {
    const master = await cluster.untilWhole();
    const [absent, survivor] = cluster.others(master.name) as [TestNode, TestNode];
    const api = cluster.api(survivor);
    await api.done('POST', '/api/v1/users', { username: 'leaver' });
    await cluster.untilDigestsEqual();
    await absent.stop();
    await api.done('DELETE', '/api/v1/users/leaver');
    await waitFor(
      'the removal to arrive',
      async () => (await api.call('GET', '/api/v1/users/leaver')).status === 404,
      { timeoutMs: 30_000 },
    );
    await master.killAll();
    master.deleteData();
    const forced = await runCli(survivor, ['promote', survivor.name, '--force', '--yes']);
    expect(forced, forced.stderr).toMatchObject({ code: 0 });

    const returnedAt = performance.now();
    absent.start();
    await waitFor(
      'the returned node to follow',
      async () => {
        const view = await cluster.api(absent).cluster();
        const own = view.nodes.find(({ name }) => name === absent.name);
        return view.master === survivor.name && own?.digestComparable && own.behind < 5;
      },
      { timeoutMs: 60_000, everyMs: 200 },
    );
    report('a node with old data returns after a rebuild', {
      followsMs: Math.round(performance.now() - returnedAt),
    });
    const { status } = await cluster.api(absent).call('GET', '/api/v1/users/leaver');
    expect(status).toBe(404);
    master.start();
    await cluster.untilWhole(120_000);
    await cluster.untilDigestsEqual();
    for (const node of cluster.nodes) {
      const found = await cluster.api(node).call('GET', '/api/v1/users/leaver');
      expect(found.status).toBe(404);
    }
  });
});
