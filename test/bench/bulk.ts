import { randomUUID } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { encodeBase32 } from '@countersign/verification';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople } from '../harness/people.ts';
import { runCli } from '../harness/run-cli.ts';
import { VerificationLoad, WriteLoad } from '../harness/workload.ts';
import { cpuSeconds } from './cpu-seconds.ts';
import { memoryOf } from './memory.ts';
import { percentile } from './percentile.ts';
import { rawPublishesPerSecond } from './raw-publishes.ts';
import { ReplicaWatch } from './replica-watch.ts';

/**
 * Many users: how far replicas are behind at a steady write rate, how long a bulk load takes until it is applied on
 * all nodes, what verifications feel of it, and then memory, a node's start, a fresh node's filling, and a rebuild of
 * the log from the one node that is left.
 * Everything, this program included, shares the machine's cores.
 */
const USERS = Number(process.env.BENCH_USERS ?? 200_000);
const LAG_SECONDS = Number(process.env.BENCH_LAG_SECONDS ?? 10);
const WRITES_PER_SECOND = 100;
const VERIFY_EVERY_MS = Number(process.env.BENCH_VERIFY_EVERY_MS ?? 100);
const REQUESTS = Number(process.env.BENCH_REQUESTS ?? 4);
const PER_REQUEST = 500;

type Figure = { what: string; value: number; unit: string; allowed?: number };

const figures: Figure[] = [];
function note(what: string, value: number, unit: string, allowed?: number): void {
  figures.push({
    what,
    value: Math.round(value * 10) / 10,
    unit,
    ...(allowed !== undefined && { allowed }),
  });
  console.log(`${what}: ${value.toFixed(1)} ${unit}`);
}

await using cluster = await TestCluster.start({
  configure: (config) => ({
    ...config,
    limits: { changesBytes: 1 << 30, statesBytes: 128 << 20, eventsBytes: 64 << 20 },
  }),
});
const master = await cluster.master();
const people = await enrolPeople(cluster.api(master), 'bench', 60);
await cluster.untilDigestsEqual();

note('raw pipelined publishes', await rawPublishesPerSecond(cluster, 4000), 'per s');
const watch = new ReplicaWatch(cluster, 4);
await measureLag();
await measureQuietVerifications();
await measureBulk();
await watch.stop();
await cluster.untilDigestsEqual(60_000);
await sleep(10_000);
for (const node of cluster.nodes) {
  const memory = memoryOf(node);
  console.log(node.name, node === master ? '(master)' : '', JSON.stringify(memory));
}
const memories = cluster.nodes.map((node) => memoryOf(node));
note('agent + one worker', Math.max(...memories.map((m) => m['agent + one worker']!)), 'MB', 350);
note('PostgreSQL', Math.max(...memories.map((m) => m.PostgreSQL!)), 'MB', 200);
note('nats-server', Math.max(...memories.map((m) => m['nats-server']!)), 'MB');
const other = cluster.others(master.name)[0]!;
await measureStart(other);
await measureFreshNode(other);
await measureRebuild(other);

console.table(
  figures.map(({ what, value, unit, allowed }) => ({
    what,
    value,
    unit,
    allowed: allowed ?? '',
    ok: allowed === undefined ? '' : value <= allowed ? 'yes' : 'NO',
  })),
);
const output = { users: USERS, perRequest: PER_REQUEST, requests: REQUESTS, figures };
console.log(JSON.stringify(output));
if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, JSON.stringify(output, null, 2));

/** From the master's answer to the moment the slowest node is seen to have the revision (looked for every 4 ms). */
async function measureLag(): Promise<void> {
  const api = cluster.api(master);
  const lags: number[] = [];
  const acks: { at: number; revision: number; tookMs: number }[] = [];
  const pending: Promise<void>[] = [];
  const cpuBefore = cpuSeconds(cluster);
  const start = performance.now();
  const total = LAG_SECONDS * WRITES_PER_SECOND;
  for (let n = 0; n < total; n += 1) {
    const waitMs = start + (n * 1000) / WRITES_PER_SECOND - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    const sentAt = performance.now();
    const body = { username: `lag-${n}` };
    pending.push(
      api.done<{ revision: number }>('POST', '/api/v1/users', body).then(({ revision }) => {
        const at = performance.now();
        acks.push({ at, revision, tookMs: at - sentAt });
      }),
    );
  }
  await Promise.all(pending);
  printCpu('write', cpuBefore, total);
  await watch.untilEverywhere(Math.max(...acks.map(({ revision }) => revision)), 10_000);
  for (const { at, revision } of acks) {
    lags.push(Math.max(0, watch.appliedEverywhereAt(revision) - at));
  }
  note(
    'write at 100/s p50',
    percentile(
      acks.map(({ tookMs }) => tookMs),
      0.5,
    ),
    'ms',
  );
  note(
    'write at 100/s p99',
    percentile(
      acks.map(({ tookMs }) => tookMs),
      0.99,
    ),
    'ms',
  );
  note('replication lag at 100 writes/s p50', percentile(lags, 0.5), 'ms');
  note('replication lag at 100 writes/s p99', percentile(lags, 0.99), 'ms', 100);
}

function startVerifying(): VerificationLoad {
  const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
  return new VerificationLoad({ clients, people, everyMs: VERIFY_EVERY_MS });
}

async function measureQuietVerifications(): Promise<void> {
  const load = startVerifying();
  await sleep(Math.min(8000, USERS / 5));
  const { latenciesMs, failed } = await load.stop();
  note('verification beside nothing p99', percentile(latenciesMs, 0.99), 'ms');
  if (failed.length > 0) console.error(failed.slice(0, 3));
}

async function measureBulk(): Promise<void> {
  const load = startVerifying();
  const cpuBefore = cpuSeconds(cluster);
  const startedAt = performance.now();
  const chunks = Array.from({ length: Math.ceil(USERS / PER_REQUEST) }, (_, i) => i);
  let lastRevision = 0;
  let refused = 0;
  const took: number[] = [];
  const sendOnAndOn = async (_: unknown, lane: number) => {
    const api = cluster.api(cluster.nodes[lane % cluster.nodes.length]!);
    for (let chunk = chunks.shift(); chunk !== undefined; chunk = chunks.shift()) {
      const sentAt = performance.now();
      const { status, body } = await api.call<{
        revision: number;
        results: { status: number; code?: string }[];
      }>('POST', '/api/v1/users/bulk', {
        body: usersOf(chunk),
        idempotencyKey: randomUUID(),
        timeoutMs: 40_000,
      });
      if (status !== 200) throw new Error(`bulk: ${status} ${body.code} ${body.detail}`);
      took.push(performance.now() - sentAt);
      const bad = body.results.filter((result) => result.status !== 201);
      refused += bad.length;
      if (bad[0]) console.error(bad[0]);
      lastRevision = Math.max(lastRevision, body.revision);
      if (chunk % 40 === 0) {
        const seconds = ((performance.now() - startedAt) / 1000).toFixed(1);
        console.log(`${chunk * PER_REQUEST} users after ${seconds} s`);
      }
    }
  };
  await Promise.all(Array.from({ length: REQUESTS }, sendOnAndOn));
  const doneAt = await watch.untilEverywhere(lastRevision, 120_000);
  const seconds = (doneAt - startedAt) / 1000;
  const { latenciesMs, failed, approved } = await load.stop();
  printCpu('user', cpuBefore, USERS);
  note(`${USERS} users on all nodes`, seconds, 's', (180 * USERS) / 200_000);
  note('bulk users', USERS / seconds, 'per s');
  note('a request of 500 p50', percentile(took, 0.5), 'ms');
  note('a request of 500 p99', percentile(took, 0.99), 'ms');
  note('verifications meanwhile', approved / seconds, 'per s');
  note('verification meanwhile p50', percentile(latenciesMs, 0.5), 'ms');
  note('verification meanwhile p99', percentile(latenciesMs, 0.99), 'ms', 60);
  note('verifications failed', failed.length, '', 0);
  note('users refused', refused, '', 0);
}

function printCpu(what: string, before: Record<string, number>, count: number): void {
  console.table(
    Object.entries(cpuSeconds(cluster)).map(([part, used]) => ({
      part,
      [`ms of CPU per ${what}`]: (((used - before[part]!) * 1000) / count).toFixed(3),
    })),
  );
}

function usersOf(chunk: number): object[] {
  const count = Math.min(PER_REQUEST, USERS - chunk * PER_REQUEST);
  return Array.from({ length: count }, (_, i) => {
    const n = chunk * PER_REQUEST + i;
    return {
      username: `user.${n}`,
      displayName: `User Number ${n}`,
      email: `user.${n}@example.org`,
      authenticators: [{ type: 'totp', secret: secretOf(n) }],
    };
  });
}

/** No two users have the same. */
function secretOf(n: number): string {
  const secret = Buffer.alloc(20, 1);
  secret.writeUInt32BE(n);
  return encodeBase32(secret);
}

async function measureStart(node: TestNode): Promise<void> {
  await node.stop();
  const startedAt = performance.now();
  node.start();
  await waitFor('the node to be ready', () => isReady(node), { timeoutMs: 120_000, everyMs: 20 });
  note('start to /readyz', (performance.now() - startedAt) / 1000, 's', 5);
  await cluster.untilDigestsEqual(60_000);
}

/** Its PostgreSQL and its log server's store are gone; name and keys are as before. */
async function measureFreshNode(node: TestNode): Promise<void> {
  await node.stop();
  node.deleteData();
  const startedAt = performance.now();
  node.start();
  await waitFor('a full node', () => isFull(node), { timeoutMs: 300_000, everyMs: 50 });
  note('a fresh node full', (performance.now() - startedAt) / 1000, 's', 90);
}

/** The other nodes lose everything; the log is rebuilt from this one and then moves to three servers again. */
async function measureRebuild(survivor: TestNode): Promise<void> {
  const api = cluster.api(survivor);
  const verifications = new VerificationLoad({
    clients: [{ name: survivor.name, api }],
    people,
    everyMs: VERIFY_EVERY_MS,
  });
  const lost = cluster.others(survivor.name);
  await Promise.all(lost.map((node) => node.killAll()));
  for (const node of lost) node.deleteData();
  await waitFor('the quorum to be missed', async () => !(await api.cluster()).quorum, {
    timeoutMs: 30_000,
    everyMs: 100,
  });
  const forcedAt = performance.now();
  const secondsSince = () => (performance.now() - forcedAt) / 1000;
  const forced = await runCli(survivor, ['promote', survivor.name, '--force', '--yes']);
  if (forced.code !== 0) throw new Error(`promote --force: ${forced.stderr}`);
  const writes = new WriteLoad({ clients: [api], prefix: 'after', everyMs: 100 });
  await waitFor('a write', () => writes.acknowledged > 0, { timeoutMs: 120_000, everyMs: 20 });
  note('rebuild, until writes are back', secondsSince(), 's');
  for (const node of lost) node.start();
  await waitFor(
    'three log servers',
    async () => (await api.cluster()).logServers.filter(({ online }) => online).length === 3,
    { timeoutMs: 300_000, everyMs: 100 },
  );
  const written = await writes.stop();
  await cluster.untilDigestsEqual(300_000);
  const verified = await verifications.stop();
  note('rebuild, until all nodes and log servers are back', secondsSince(), 's');
  note('longest pause of writes in it', written.longestPauseMs / 1000, 's');
  note('longest gap of verification', verified.longestGapMs, 'ms', 1500);
  note('verifications failed in it', verified.failed.length, '', 0);
}

/** As it says itself: the others may still show what they heard before it stopped. */
async function isFull(node: TestNode): Promise<boolean> {
  const { nodes } = await cluster.api(node).cluster();
  const own = nodes.find(({ name }) => name === node.name);
  const first = nodes.find(({ name }) => name === master.name);
  return (
    own !== undefined &&
    own.digestComparable &&
    own.revision === first?.revision &&
    own.digest === first.digest
  );
}

async function isReady(node: TestNode): Promise<boolean> {
  return (await fetch(`${node.url}/readyz`, { signal: AbortSignal.timeout(1000) })).ok;
}
