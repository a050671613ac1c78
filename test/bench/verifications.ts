import { writeFileSync } from 'node:fs';
import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { NatsLink, UserStates } from '@countersign/cluster';
import { deriveKeys, passwordFor, readClusterKey } from '@countersign/keys';
import { readNodeConfig } from '@countersign/node';
import { join } from 'node:path';
import { cpuSeconds } from './cpu-seconds.ts';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { percentile, type Series } from './percentile.ts';

/**
 * HOTP verifications over HTTP with cluster-wide single use, beside the raw compare-and-set rate of the same log
 * at the same concurrency. Everything, this program included, shares the machine's cores.
 */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 12);
const CONCURRENCY = Number(process.env.BENCH_CONCURRENCY ?? 48);
const PEOPLE = Number(process.env.BENCH_PEOPLE ?? 240);
const WORKERS = Number(process.env.BENCH_WORKERS ?? 1);

type Row = { what: string; perSecond: number; p50Ms: number; p99Ms: number; errors: number };

await using cluster = await TestCluster.start({ workers: WORKERS });
const people = await enrolPeople(cluster.api(await cluster.master()), 'bench', PEOPLE);
await cluster.untilDigestsEqual();
const rows: Row[] = [];

await verifyClosedLoop(people, 3000);
rows.push(toRow('raw JetStream CAS', await rawCompareAndSet(SECONDS * 1000)));
const cpuBefore = cpuSeconds(cluster);
const full = await verifyClosedLoop(people, SECONDS * 1000);
const cpuAfter = cpuSeconds(cluster);
const cpu = Object.entries(cpuAfter).map(([part, seconds]) => ({
  part,
  cores: ((seconds - cpuBefore[part]!) / SECONDS).toFixed(2),
  'ms per verification': (((seconds - cpuBefore[part]!) * 1000) / full.latencies.length).toFixed(2),
}));
rows.push(toRow('HTTP HOTP verifications', full));
const halfRate = full.latencies.length / SECONDS / 2;
rows.push(toRow('… at half that load', await verifyOpenLoop(people, halfRate, SECONDS * 1000)));
await cluster.untilDigestsEqual();

const figures = {
  workers: WORKERS,
  concurrency: CONCURRENCY,
  people: PEOPLE,
  seconds: SECONDS,
  rows,
  cpu,
};
console.table(
  rows.map((row) => ({
    what: row.what,
    'per second': Math.round(row.perSecond),
    'p50 ms': row.p50Ms.toFixed(1),
    'p99 ms': row.p99Ms.toFixed(1),
    errors: row.errors,
  })),
);
console.table(cpu);
console.log(JSON.stringify(figures));
if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, JSON.stringify(figures, null, 2));

function toRow(what: string, series: Series): Row {
  return {
    what,
    perSecond: series.latencies.length / (series.durationMs / 1000),
    p50Ms: percentile(series.latencies, 0.5),
    p99Ms: percentile(series.latencies, 0.99),
    errors: series.errors,
  };
}

/** Each of `CONCURRENCY` loops owns some people and verifies without a pause, round the nodes. */
async function verifyClosedLoop(all: Person[], durationMs: number): Promise<Series> {
  const clients = cluster.nodes.map((node) => cluster.api(node));
  const series: Series = { latencies: [], errors: 0, durationMs };
  const end = performance.now() + durationMs;
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async (_, i) => {
      const own = all.filter((_person, index) => index % CONCURRENCY === i);
      for (let n = i; performance.now() < end; n += 1) {
        await verifyOnce(clients[n % clients.length]!, own[n % own.length]!, series);
      }
    }),
  );
  return series;
}

/** Starts verifications at a steady rate whatever the answers take; late starts count from when they were due. */
async function verifyOpenLoop(
  all: Person[],
  perSecond: number,
  durationMs: number,
): Promise<Series> {
  const clients = cluster.nodes.map((node) => cluster.api(node));
  const series: Series = { latencies: [], errors: 0, durationMs };
  const start = performance.now();
  const pending: Promise<void>[] = [];
  const total = Math.floor((perSecond * durationMs) / 1000);
  for (let n = 0; n < total; n += 1) {
    const dueAt = start + (n * 1000) / perSecond;
    const waitMs = dueAt - performance.now();
    if (waitMs > 1) await sleep(waitMs);
    pending.push(verifyOnce(clients[n % 3]!, all[n % all.length]!, series, dueAt));
  }
  await Promise.all(pending);
  return series;
}

async function verifyOnce(
  api: ReturnType<TestCluster['api']>,
  person: Person,
  series: Series,
  startedAt = performance.now(),
): Promise<void> {
  try {
    const { body } = await api.verify({ username: person.username, code: person.nextCode() });
    if (body.status === 'approved') series.latencies.push(performance.now() - startedAt);
    else {
      series.errors += 1;
      if (series.errors < 5) console.error(body);
    }
  } catch (error) {
    series.errors += 1;
    if (series.errors < 5) console.error(error);
  }
}

async function rawCompareAndSet(durationMs: number): Promise<Series> {
  const config = readNodeConfig(join(cluster.nodes[0]!.folder, 'node.yaml'));
  const key = deriveKeys(readClusterKey(config.clusterKeyFile), ['nats-password'])['nats-password'];
  const servers = config.logServers.map(({ host, clientPort }) => `${host}:${clientPort}`);
  const log = { info() {}, warn() {} };
  const links = servers.map(
    (server) =>
      new NatsLink({
        servers: [server],
        user: 'countersign',
        password: passwordFor(key),
        name: 'bench',
        log,
      }),
  );
  await Promise.all(links.map((link) => link.waitUntilUp(5000)));
  const states = links.map((link) => new UserStates(link, 1));
  const series: Series = { latencies: [], errors: 0, durationMs };
  const end = performance.now() + durationMs;
  const payload = Buffer.alloc(400, 'x');
  await Promise.all(
    Array.from({ length: CONCURRENCY }, async (_, i) => {
      // The prefix keeps the nodes' followers from taking these for users.
      const name = `probe-bench-${randomUUID()}`;
      let revision = 0;
      while (performance.now() < end) {
        const startedAt = performance.now();
        const outcome = await states[i % states.length]!.write(name, payload, revision, 5000);
        if (outcome.kind === 'written') {
          revision = outcome.revision;
          series.latencies.push(performance.now() - startedAt);
        } else series.errors += 1;
      }
    }),
  );
  await Promise.all(links.map((link) => link.close()));
  return series;
}
