import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import {
  hasFreeradius,
  startTestFreeradius,
  takeFreePorts,
  waitFor,
  type TestFreeradius,
} from '@countersign/testing';
import { encodeBase32 } from '@countersign/verification';
import { TestCluster } from '../harness/cluster.ts';
import { cpuSeconds, cpuSecondsOf } from './cpu-seconds.ts';
import { percentile } from './percentile.ts';
import { RadiusLoad, type LoadFigures } from './radius-load.ts';
import type { WithoutClaims } from './radius-without-claims.ts';
import { TotpSupply } from './totp-supply.ts';

/**
 * PAP sign-ins with a TOTP code alone, over UDP, by one generator of load: at FreeRADIUS with rlm_totp; at our RADIUS
 * server and rules in one process that remembers no code either; and at the front door of one node and of three, where
 * each code works once in the cluster. First as many as there can be, then half of that. What counts is processor time
 * per sign-in: everything, this program included, shares the machine's cores.
 *
 * The front door is told the code alone too, by a client that is trusted to have checked the password. Every request is
 * signed, every reply's authenticators are checked.
 */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 10);
const AT_ONCE = Number(process.env.BENCH_CONCURRENCY ?? 64);
const PEOPLE = Number(process.env.BENCH_PEOPLE ?? 10_000);
const WORKERS = Number(process.env.BENCH_WORKERS ?? 1);
const PARTS = (process.env.BENCH_PARTS ?? 'rlm_totp,without-claims,1,3').split(',');

const WARM_UP_MS = 3000;
const PER_REQUEST = 500;
const SECRET = 'shared by all that are measured';

type Cpu = Record<string, number>;
type Contender = {
  what: string;
  ports: readonly number[];
  secret: string;
  /** It takes each code once. */
  remembers: boolean;
  /** Processor seconds used so far, by part. */
  cpu(): Cpu;
};
type Row = {
  what: string;
  perSecond: number;
  cpuMicros: Cpu;
  p50Ms: number;
  p99Ms: number;
  halfPerSecond: number;
  halfP50Ms: number;
  halfP99Ms: number;
  rejected: number;
  lost: number;
};

const people = Array.from({ length: PEOPLE }, (_, n) => ({
  username: `bench-${n + 1}`,
  secret: secretOf(n),
}));
const users = people.map(({ username: name, secret }) => ({ name, base32: encodeBase32(secret) }));
const supply = new TotpSupply(people);
const rows: Row[] = [];
const takesCodeTwice: Record<string, boolean> = {};

if (PARTS.includes('rlm_totp')) await measureFreeradius();
if (PARTS.includes('without-claims')) await measureWithoutClaims();
for (const nodes of [1, 3]) if (PARTS.includes(String(nodes))) await measureCluster(nodes);
print();

async function measureFreeradius(): Promise<void> {
  if (!hasFreeradius)
    throw new Error('FreeRADIUS (Debian: freeradius, freeradius-utils) is missing');
  const server: TestFreeradius = await startTestFreeradius({ role: 'totp', users });
  try {
    await measure({
      what: 'FreeRADIUS, rlm_totp',
      ports: [server.port],
      secret: server.secret,
      remembers: false,
      cpu: () => ({ server: cpuSecondsOf(server.pid) }),
    });
  } finally {
    await server.stop();
  }
}

async function measureWithoutClaims(): Promise<void> {
  const child = fork(new URL('./radius-without-claims.ts', import.meta.url));
  try {
    const told: WithoutClaims = { secret: SECRET, users };
    child.send(told);
    const [port] = await once(child, 'message', { signal: AbortSignal.timeout(20_000) });
    await measure({
      what: 'our server and rules, no claims',
      ports: [Number(port)],
      secret: SECRET,
      remembers: false,
      cpu: () => ({ server: cpuSecondsOf(child.pid!) }),
    });
  } finally {
    // It ends when nobody is there any more.
    child.disconnect();
    await once(child, 'exit', { signal: AbortSignal.timeout(5000) });
  }
}

async function measureCluster(nodes: number): Promise<void> {
  const free = await takeFreePorts(nodes * 2);
  const ports = free.slice(0, nodes);
  await using cluster = await TestCluster.start({
    nodes,
    workers: WORKERS,
    configure: (config, name) => {
      const index = Number(name.split('-')[1]) - 1;
      const [authenticationPort, accountingPort] = [ports[index]!, free[nodes + index]!];
      return { ...config, radius: { host: '127.0.0.1', authenticationPort, accountingPort } };
    },
  });
  const api = cluster.api(await cluster.master());
  await api.done('POST', '/api/v1/applications', { name: 'vpn' });
  await api.done('POST', '/api/v1/radius/clients', {
    name: 'bench',
    application: 'vpn',
    addresses: ['127.0.0.1'],
    secret: SECRET,
    firstFactor: { kind: 'none' },
  });
  for (let at = 0; at < users.length; at += PER_REQUEST) {
    const body = users.slice(at, at + PER_REQUEST).map(({ name, base32 }) => ({
      username: name,
      authenticators: [{ type: 'totp', secret: base32 }],
    }));
    await api.call('POST', '/api/v1/users/bulk', { body, timeoutMs: 60_000 });
  }
  await cluster.untilDigestsEqual(60_000);
  await measure({
    what: `the front door, ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`,
    ports,
    secret: SECRET,
    remembers: true,
    cpu: () => {
      const { 'load generator': _, ...used } = cpuSeconds(cluster);
      return used;
    },
  });
  await cluster.untilDigestsEqual(60_000);
}

async function measure({ what, ports, secret, remembers, cpu }: Contender): Promise<void> {
  await using load = await RadiusLoad.open({ ports, secret });
  takesCodeTwice[what] = await isTakenTwice(load, ports.length);
  const next = remembers ? supply.next : supply.nextOrAgain;
  const atOnce = AT_ONCE;
  const durationMs = SECONDS * 1000;
  const warm = await load.runClosed({ atOnce, durationMs: WARM_UP_MS, next });
  if (remembers) await supply.untilLeft(Math.min(PEOPLE, perSecond(warm) * SECONDS * 1.5));
  const before = cpu();
  const ownBefore = process.cpuUsage();
  const full = await load.runClosed({ atOnce, durationMs, next });
  const own = process.cpuUsage(ownBefore);
  const after = cpu();
  const microsOf = (seconds: number) => (seconds * 1e6) / full.latencies.length;
  const cpuMicros = Object.fromEntries(
    Object.entries(after).map(([part, seconds]) => [part, microsOf(seconds - before[part]!)]),
  );
  cpuMicros['load generator'] = microsOf((own.user + own.system) / 1e6);
  const rate = perSecond(full) / 2;
  if (remembers) await supply.untilLeft(Math.min(PEOPLE, rate * SECONDS + 100));
  const half = await load.runOpen({ perSecond: rate, durationMs, next });
  rows.push({
    what,
    perSecond: perSecond(full),
    cpuMicros,
    p50Ms: percentile(full.latencies, 0.5),
    p99Ms: percentile(full.latencies, 0.99),
    halfPerSecond: perSecond(half),
    halfP50Ms: percentile(half.latencies, 0.5),
    halfP99Ms: percentile(half.latencies, 0.99),
    rejected: full.rejected + half.rejected,
    lost: full.lost + half.lost + full.unbelieved + half.unbelieved,
  });
}

/** Waits until it is served, and tells whether the same code opens a second time, at each of the servers. */
async function isTakenTwice(load: RadiusLoad, servers: number): Promise<boolean> {
  const signIn = await waitFor(
    'a sign-in',
    async () => {
      const one = supply.nextOrAgain();
      return (await load.ask(one)) === 'accepted' ? one : null;
    },
    { timeoutMs: 20_000, everyMs: 500 },
  );
  const again = [];
  for (let n = 0; n < servers; n += 1) {
    again.push(await load.ask({ ...signIn, station: `another ${n}` }));
  }
  return again.includes('accepted');
}

function perSecond({ latencies, durationMs }: LoadFigures): number {
  return latencies.length / (durationMs / 1000);
}

function print(): void {
  const parts = [...new Set(rows.flatMap(({ cpuMicros }) => Object.keys(cpuMicros)))];
  const totalOf = ({ cpuMicros }: Row) =>
    Object.entries(cpuMicros).reduce(
      (sum, [part, n]) => sum + (part === 'load generator' ? 0 : n),
      0,
    );
  console.table(
    rows.map((row) => ({
      what: row.what,
      'per second': Math.round(row.perSecond),
      'CPU µs each': Math.round(totalOf(row)),
      'per CPU second': Math.round(1e6 / totalOf(row)),
      'at half': Math.round(row.halfPerSecond),
      'p50 ms': row.halfP50Ms.toFixed(1),
      'p99 ms': row.halfP99Ms.toFixed(1),
      'a code twice': takesCodeTwice[row.what] ? 'taken' : 'refused',
      rejected: row.rejected,
      lost: row.lost,
    })),
  );
  console.log('CPU µs for each sign-in, by part:');
  console.table(
    rows.map(({ what, cpuMicros }) => ({
      what,
      ...Object.fromEntries(
        parts.map((part) => [part, part in cpuMicros ? Math.round(cpuMicros[part]!) : '']),
      ),
    })),
  );
  const figures = { seconds: SECONDS, atOnce: AT_ONCE, people: PEOPLE, workers: WORKERS, rows };
  const text = JSON.stringify({ ...figures, takesCodeTwice });
  console.log(text);
  if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, text);
}

/** No two people have the same. */
function secretOf(n: number): Buffer {
  const secret = Buffer.alloc(20, 1);
  secret.writeUInt32BE(n);
  return secret;
}
