import { takeFreePorts, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

let cluster: TestCluster;
/** Knows no other log server than its own, which is the whole log to begin with. */
let lone: TestNode;

beforeAll(async () => {
  const [clientPort, routePort] = (await takeFreePorts(2)) as [number, number];
  const fourth = { name: 'node-4', host: '127.0.0.1', clientPort, routePort };
  cluster = await TestCluster.start({
    nodes: 4,
    later: ['node-2', 'node-3', 'node-4'],
    configure(config, name) {
      const all = config.logServers ?? [];
      if (name === 'node-1') {
        return { ...config, logServers: all.filter((one) => one.name === name) };
      }
      return name === 'node-4' ? { ...config, logServers: [...all.slice(0, 2), fourth] } : config;
    },
  });
  lone = cluster.node('node-1');
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a lone log server whose node lost its power before it heard that the log moves', () => {
  it('finds in its store where the log went, and begins no second one', async () => {
    await cluster.startLater('node-2').untilReady();
    await cluster.untilDigestsEqual();
    const promoted = await runCli(lone, ['promote', 'node-2']);
    expect(promoted, promoted.stderr).toMatchObject({ code: 0 });
    // Its log server runs on, and is all that the others need.
    lone.strike('supervisor', 'SIGSTOP');
    lone.strike('agent', 'SIGSTOP');
    const added = ['node-3', 'node-4'].map((name) => cluster.startLater(name));
    await Promise.all(added.map((node) => node.untilReady()));
    const others = cluster.others(lone.name);
    const master = await waitFor(
      'a log without the lone server',
      async () => {
        const views = await Promise.all(others.map((node) => cluster.api(node).cluster()));
        const isMoved = views.every(
          ({ quorum, logServers }) =>
            quorum && logServers.filter(({ online }) => online).length === 3,
        );
        return isMoved ? views[0]!.master : null;
      },
      { timeoutMs: 45_000, everyMs: 100 },
    );
    const api = cluster.api(cluster.node(master));
    await api.done('POST', '/api/v1/users', { username: 'after-the-move' });

    const before = timesMaster(lone);
    await lone.killAll();
    const startedAt = performance.now();
    lone.start();
    await lone.untilReady();
    await waitFor(
      'the node to be back',
      async () => (await cluster.api(lone).cluster()).master === master,
      { timeoutMs: 30_000, everyMs: 100 },
    );
    await cluster.untilDigestsEqual();
    const backMs = performance.now() - startedAt;
    await cluster.api(lone).done('POST', '/api/v1/users', { username: 'through-it' });
    expect(timesMaster(lone)).toBe(before);
    await cluster.untilWhole();
    await expectHistoryHolds(cluster);
    report('a lone log server that comes back after the log moved', { backMs: Math.round(backMs) });
  });
});

function timesMaster(node: TestNode): number {
  return node.log('agent').split('promoted: this node is master').length - 1;
}
