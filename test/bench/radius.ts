import { fork } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { hasFreeradius, startTestFreeradius, takeFreePorts } from '@countersign/testing';
import { encodeBase32 } from '@countersign/verification';
import { TestCluster } from '../harness/cluster.ts';
import { cpuSeconds, cpuSecondsOf } from './cpu-seconds.ts';
import { Measured, type Contender, type Row } from './measure-sign-ins.ts';
import type { WithoutClaims } from './radius-without-claims.ts';
import { TotpSupply } from './totp-supply.ts';

/**
 * PAP sign-ins with a TOTP code alone, over UDP, by one generator of load: at FreeRADIUS with rlm_totp; at our RADIUS
 * server and rules in one process that remembers no code either; and at the front door of one node and of three, where
 * each code works once in the cluster. First as many as there can be with 96 under way at each node, then half of that. What counts is processor time
 * per sign-in: everything, this program included, shares the machine's cores. The first two take turns of a second, so
 * that what else the machine does slows both.
 *
 * The front door is told the code alone too, by a client that is trusted to have checked the password. Every request is
 * signed, every reply's authenticators are checked.
 */
const SECONDS = Number(process.env.BENCH_SECONDS ?? 8);
const AT_ONCE = Number(process.env.BENCH_CONCURRENCY ?? 96);
const PEOPLE = Number(process.env.BENCH_PEOPLE ?? 10_000);
const WORKERS = Number(process.env.BENCH_WORKERS ?? 1);
const PARTS = (process.env.BENCH_PARTS ?? 'rlm_totp,1,3').split(',');

const PER_REQUEST = 500;
const SECRET = 'shared by all that are measured';

const people = Array.from({ length: PEOPLE }, (_, n) => ({
  username: `bench-${n + 1}`,
  secret: secretOf(n),
}));
const users = people.map(({ username: name, secret }) => ({ name, base32: encodeBase32(secret) }));
const supply = new TotpSupply(people);
const rows: Row[] = [];

if (PARTS.includes('rlm_totp')) await measureServers();
for (const nodes of [1, 3]) if (PARTS.includes(String(nodes))) await measureCluster(nodes);
print();

async function measureServers(): Promise<void> {
  if (!hasFreeradius)
    throw new Error('FreeRADIUS (Debian: freeradius, freeradius-utils) is missing');
  const server = await startTestFreeradius({ role: 'totp', users });
  const child = fork(new URL('./radius-without-claims.ts', import.meta.url));
  try {
    const told: WithoutClaims = { secret: SECRET, users };
    child.send(told);
    const [port] = await once(child, 'message', { signal: AbortSignal.timeout(20_000) });
    await measure([
      {
        what: 'FreeRADIUS, rlm_totp',
        ports: [server.port],
        secret: server.secret,
        remembers: false,
        cpu: () => ({ server: cpuSecondsOf(server.pid) }),
      },
      {
        what: 'our server and rules, no claims',
        ports: [Number(port)],
        secret: SECRET,
        remembers: false,
        cpu: () => ({ server: cpuSecondsOf(child.pid!) }),
      },
    ]);
  } finally {
    await server.stop();
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
  await measure([
    {
      what: `the front door, ${nodes} ${nodes === 1 ? 'node' : 'nodes'}`,
      ports,
      secret: SECRET,
      remembers: true,
      cpu: () => {
        const { 'load generator': _, ...used } = cpuSeconds(cluster);
        return used;
      },
    },
  ]);
  await cluster.untilDigestsEqual(60_000);
}

/** In turns of a second each; alone, in one go. */
async function measure(contenders: Contender[]): Promise<void> {
  const turns = contenders.length > 1 ? SECONDS : 1;
  const measured: Measured[] = [];
  for (const contender of contenders)
    measured.push(
      await Measured.begin(contender, { supply, atOnce: AT_ONCE * contender.ports.length }),
    );
  try {
    for (let turn = 0; turn < turns; turn += 1) {
      for (const one of measured) await one.runFull((SECONDS * 1000) / turns);
    }
    for (let turn = 0; turn < turns; turn += 1) {
      for (const one of measured) await one.runHalf((SECONDS * 1000) / turns);
    }
    rows.push(...measured.map((one) => one.row()));
  } finally {
    for (const one of measured) await one.end();
  }
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
      'a code twice': row.takesCodeTwice ? 'taken' : 'refused',
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
  const text = JSON.stringify(figures);
  console.log(text);
  if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, text);
}

/** No two people have the same. */
function secretOf(n: number): Buffer {
  const secret = Buffer.alloc(20, 1);
  secret.writeUInt32BE(n);
  return secret;
}
