import { existsSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './harness/cluster.ts';
import { isAlive } from './harness/processes.ts';
import { expectHistoryHolds } from './history/expect-history-holds.ts';

let cluster: TestCluster;

beforeAll(async () => {
  cluster = await TestCluster.start({ nodes: 1, workers: 2 });
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a single node', () => {
  it('makes one API key, shows it once in a private file and keeps only its hash', async () => {
    const [node] = cluster.nodes;
    expect(statSync(join(node!.folder, 'first-api-key')).mode & 0o777).toBe(0o600);
    expect(existsSync(join(node!.folder, 'agent', 'first-api-key'))).toBe(false);
    const view = await waitFor(
      'its log to take writes',
      async () => {
        const seen = await cluster.api(node!).cluster();
        return seen.quorum ? seen : null;
      },
      { timeoutMs: 30_000 },
    );
    expect(view.logReplicas).toBe(1);
  });

  it('continues as the same cluster after a restart, and leaves no process behind', async () => {
    const [node] = cluster.nodes;
    const api = cluster.api(node!);
    await api.done('POST', '/api/v1/users', { username: 'kept' });
    const before = await api.cluster();
    const pids = node!.allPids;
    await node!.stop();
    await waitFor('every process to end', () => pids.every((pid) => !isAlive(pid)), {
      timeoutMs: 15_000,
    });
    node!.start();
    await node!.untilReady();
    const after = await waitFor(
      'the master again',
      async () => {
        const view = await api.cluster();
        return view.master === 'node-1' ? view : null;
      },
      { timeoutMs: 40_000 },
    );
    expect(after.incarnation).toEqual(before.incarnation);
    expect(after.epoch).toBeGreaterThan(before.epoch);
    const { status } = await api.call('GET', '/api/v1/users/kept');
    expect(status).toBe(200);
  });

  it('makes its log again from its PostgreSQL when the store of its log server is gone', async () => {
    const [node] = cluster.nodes;
    const api = cluster.api(node!);
    const before = await api.cluster();
    await node!.stop();
    rmSync(join(node!.folder, 'nats'), { recursive: true });
    node!.start();
    const after = await waitFor(
      'the master of the next incarnation',
      async () => {
        const view = await api.cluster();
        return view.master === 'node-1' && view.incarnation.number > 1 ? view : null;
      },
      { timeoutMs: 40_000, everyMs: 100 },
    );
    expect(after.epoch).toBeGreaterThan(before.epoch);
    expect((await api.call('GET', '/api/v1/users/kept')).status).toBe(200);
    await api.done('POST', '/api/v1/users', { username: 'later' });
  });

  it('leaves nothing running when its supervisor is killed -9', async () => {
    const [node] = cluster.nodes;
    const pids = node!.allPids;
    node!.strike('supervisor', 'SIGKILL');
    await waitFor('orphans to end', () => pids.every((pid) => !isAlive(pid)), {
      timeoutMs: 10_000,
    });
    node!.start();
    await node!.untilReady();
    await expectHistoryHolds(cluster);
  });
});
