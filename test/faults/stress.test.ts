import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { openDatabase, type Database } from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { processesIn, signal } from '../harness/processes.ts';
import { report } from '../harness/report.ts';
import { VerificationLoad } from '../harness/workload.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());
afterEach(async () => {
  for (const node of cluster.nodes) signal(processesIn(join(node.folder, 'postgres')), 'SIGCONT');
});

/** After the first refusal all others come at once, for as long as it hangs. */
const REFUSED_FOR_MS = 2000;

describe('a node whose PostgreSQL hangs', () => {
  it('says so within a second, answers verifications with 503 in 3 s, and comes back by itself', async () => {
    const node = cluster.others((await cluster.untilWhole()).name)[0]!;
    await using load = verifyOn([node, ...cluster.others(node.name)]);
    await waitFor('a workload', () => load.approved > 40, { timeoutMs: 20_000 });
    const pids = processesIn(join(node.folder, 'postgres'));
    expect(pids.length).toBeGreaterThan(5);
    signal(pids, 'SIGSTOP');
    const stoppedAt = performance.now();
    const { ready, problems } = await readiness(node);
    const toldMs = performance.now() - stoppedAt;
    const firstAt = performance.now();
    const first = await cluster.api(node).verify(attemptOf(0));
    const firstMs = performance.now() - firstAt;
    const refusedMs: number[] = [];
    while (performance.now() - firstAt < firstMs + REFUSED_FOR_MS) {
      const askedAt = performance.now();
      expect((await cluster.api(node).verify(attemptOf(0))).status).toBe(503);
      refusedMs.push(performance.now() - askedAt);
    }
    const hungMs = performance.now() - stoppedAt;
    signal(pids, 'SIGCONT');
    const continuedAt = performance.now();
    await node.untilReady(10_000);
    const readyMs = performance.now() - continuedAt;
    await waitFor(
      'a verification there',
      async () => (await cluster.api(node).verify(attemptOf(1))).body.status === 'approved',
      { timeoutMs: 10_000, everyMs: 100 },
    );
    const verifiesMs = performance.now() - continuedAt;
    const verified = await load.stop();
    report("a subordinate's PostgreSQL hangs", {
      hungMs: Math.round(hungMs),
      toldMs: Math.round(toldMs),
      firstAnswerMs: Math.round(firstMs),
      refused: refusedMs.length,
      slowestRefusalMs: Math.round(Math.max(...refusedMs)),
      readyMs: Math.round(readyMs),
      verifiesMs: Math.round(verifiesMs),
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
    });
    expect(ready).toBe(false);
    expect(problems.join()).toContain('PostgreSQL');
    expect(toldMs).toBeLessThanOrEqual(1000);
    expect(first).toMatchObject({ status: 503, body: { code: 'not_ready' } });
    expect(firstMs).toBeLessThanOrEqual(3500);
    expect(Math.max(...refusedMs)).toBeLessThanOrEqual(500);
    expect(verifiesMs).toBeLessThanOrEqual(2000);
    // Its clients went to another node with the same attempt.
    expect(verified.failed).toEqual([]);
    await cluster.untilWhole();
  });
});

describe('a PostgreSQL without a connection to spare', () => {
  it('goes on serving the workers it has, and new ones once there is room', async () => {
    const node = cluster.others((await cluster.untilWhole()).name)[0]!;
    await using load = verifyOn([node]);
    await waitFor('a workload', () => load.approved > 20, { timeoutMs: 20_000 });
    const hog = await takeAllConnections(node);
    const before = load.approved;
    await waitFor('verifications', () => load.approved > before + 50, { timeoutMs: 20_000 });
    const { ready } = await readiness(node);
    const verified = await load.stop();
    const refusal = await connectOnce(node);

    const [worker] = node.pids.workerPids;
    signal([worker], 'SIGKILL');
    await waitFor('a new worker', () => (node.pids.workerPids[0] ?? worker) !== worker, {
      timeoutMs: 10_000,
    });
    await Promise.all(hog.map((db) => db.close()));
    const freedAt = performance.now();
    await node.untilReady(20_000);
    const readyMs = performance.now() - freedAt;
    report('PostgreSQL out of connections', {
      taken: hog.length,
      approved: verified.approved,
      failed: verified.failed.length,
      newWorkerReadyMs: Math.round(readyMs),
    });
    expect(ready).toBe(true);
    expect(refusal).toMatch(/too many clients|reserved/);
    expect(verified.failed).toEqual([]);
    await cluster.untilWhole();
  });
});

describe('a node whose clock is off', () => {
  it.each([
    { offMs: 8_000, isReady: true },
    { offMs: -30_000, isReady: false },
  ])('by $offMs ms is told in status; ready: $isReady', async ({ offMs, isReady }) => {
    const node = cluster.others((await cluster.untilWhole()).name)[0]!;
    const [other] = cluster.others(node.name);
    await node.stop();
    const shift = fileURLToPath(new URL('../harness/shift-clock.mjs', import.meta.url));
    node.start({ NODE_OPTIONS: `--import ${shift}`, COUNTERSIGN_TEST_CLOCK_MS: String(offMs) });
    const view = await waitFor(
      'status to tell of the clock',
      async () => {
        const { nodes } = await cluster.api(other!).cluster();
        const seen = nodes.find(({ name }) => name === node.name);
        return seen?.online && seen.problems.some((text) => text.includes('clock')) ? seen : null;
      },
      { timeoutMs: 30_000, everyMs: 100 },
    );
    await waitFor('its readiness', async () => (await readiness(node)).ready === isReady, {
      timeoutMs: 15_000,
      everyMs: 100,
    });
    const there = await cluster.api(node).verify(attemptOf(2));
    const elsewhere = await cluster.api(other!).verify(attemptOf(3));
    await node.stop();
    node.start();
    await node.untilReady();
    report(`clock off by ${offMs} ms`, { seenMs: view.clockOffsetMs, thereStatus: there.status });
    expect(Math.abs(view.clockOffsetMs - offMs)).toBeLessThan(1500);
    expect(there.status).toBe(isReady ? 200 : 503);
    expect(there.body).toMatchObject(isReady ? { status: 'approved' } : { code: 'not_ready' });
    expect(elsewhere.body.status).toBe('approved');
    await cluster.untilWhole();
  });
});

const strace = '/usr/bin/strace';
const SLOW_MS = 5000;

describe.skipIf(!existsSync(strace))('a slow disk (needs strace)', () => {
  it('under every log server: writes are taken or refused in time, and verification goes on', async () => {
    await cluster.untilWhole();
    await using load = verifyOn(cluster.nodes);
    await waitFor('a workload', () => load.approved > 40, { timeoutMs: 20_000 });
    const logServers = cluster.nodes.map(({ pids }) => pids.natsPid!);
    const delays = logServers.map(delayFsync);
    await waitFor('strace', () => logServers.every(isTraced), { timeoutMs: 5000 });
    const slowAt = performance.now();
    const before = load.approved;
    const slow = await addUser('slow');
    await waitFor(
      'verifications',
      () => load.approved > before + 100 && performance.now() - slowAt > SLOW_MS,
      { timeoutMs: SLOW_MS + 30_000 },
    );
    for (const delay of delays) delay.kill('SIGTERM');
    await Promise.all(delays.map((delay) => once(delay, 'exit')));
    const verified = await load.stop();
    report('fsync takes 300 ms longer', {
      approved: verified.approved,
      degraded: verified.degraded,
      failed: verified.failed.length,
      longestGapMs: verified.longestGapMs,
      write: slow.status,
      writeMs: slow.tookMs,
    });
    expect(verified.failed).toEqual([]);
    expect(verified.longestGapMs).toBeLessThanOrEqual(2500);
    expect([201, 503, 504]).toContain(slow.status);
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
  });
});

/** Every fsync of the process and its threads takes 300 ms longer, as on a disk that is overloaded. */
function delayFsync(pid: number) {
  const calls = 'fsync,fdatasync';
  const args = ['-f', '-qq', '-o', '/dev/null', '-p', String(pid), '-e', `trace=${calls}`];
  return spawn(strace, [...args, '-e', `inject=${calls}:delay_enter=300000`], { stdio: 'ignore' });
}

function isTraced(pid: number): boolean {
  return /^TracerPid:\s*[1-9]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
}

async function addUser(username: string) {
  const sentAt = performance.now();
  const api = cluster.api(cluster.nodes[0]!);
  const { status } = await api.call('POST', '/api/v1/users', { body: { username } });
  return { status, tookMs: Math.round(performance.now() - sentAt) };
}

function attemptOf(index: number) {
  const person = people[index]!;
  return { username: person.username, code: person.nextCode() };
}

function verifyOn(nodes: TestNode[]): VerificationLoad {
  const clients = nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people: people.slice(4), everyMs: 40, retry: true });
}

async function readiness(node: TestNode): Promise<{ ready: boolean; problems: string[] }> {
  const reply = await fetch(`${node.url}/readyz`, { signal: AbortSignal.timeout(2000) });
  return (await reply.json()) as { ready: boolean; problems: string[] };
}

/** Connects as another client until nobody gets in any more. */
async function takeAllConnections(node: TestNode): Promise<Database[]> {
  const taken: Database[] = [];
  for (;;) {
    const one = openOwn(node);
    try {
      await one.sql`select 1`;
      taken.push(one);
    } catch {
      closeSoon(one);
      return taken;
    }
  }
}

async function connectOnce(node: TestNode): Promise<string> {
  const one = openOwn(node);
  const told = await one.sql`select 1`.then(() => 'connected', String);
  closeSoon(one);
  return told;
}

/** What could not connect takes 5 s to give up: nobody waits for that. */
function closeSoon(one: Database): void {
  one.close().catch(() => undefined);
}

function openOwn(node: TestNode): Database {
  return openDatabase({
    host: join(node.folder, 'socket'),
    port: 5432,
    user: 'countersign',
    database: 'countersign',
    max: 1,
    applicationName: 'another client',
  });
}
