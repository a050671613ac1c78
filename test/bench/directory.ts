import { readFileSync, writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { hasSamba, startTestSamba, startTestSlapd, waitFor } from '@countersign/testing';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { activeDirectory } from '../harness/directories.ts';
import { enrolPeople } from '../harness/people.ts';
import { openReplica } from '../harness/replica.ts';
import { VerificationLoad } from '../harness/workload.ts';
import { percentile } from './percentile.ts';
import { rawPublishesPerSecond } from './raw-publishes.ts';

/**
 * People of directories: how long it takes until 50,000 of an OpenLDAP are users on all nodes, what the agent needs for
 * it and what verifications feel of it; how long it takes to find that nothing changed, there and in an Active Directory
 * of 2,500. Everything, the directories included, shares the machine's cores.
 */
const PEOPLE = Number(process.env.BENCH_PEOPLE ?? 50_000);
const QUIET_MS = 8000;
const VERIFY_EVERY_MS = 100;

type Figure = { what: string; value: number; unit: string; allowed?: number };
type Status = {
  running: object | null;
  last: {
    kind: string;
    outcome: string;
    problem: string | null;
    startedAt: string;
    endedAt: string;
  } | null;
};

const figures: Figure[] = [];
function note(what: string, value: number, unit: string, allowed?: number): void {
  const rounded = Math.round(value * 10) / 10;
  figures.push({ what, value: rounded, unit, ...(allowed !== undefined && { allowed }) });
  console.log(`${what}: ${rounded} ${unit}`);
}

await using cluster = await TestCluster.start({
  configure: (config) => ({
    ...config,
    limits: { changesBytes: 512 << 20, statesBytes: 64 << 20, eventsBytes: 64 << 20 },
  }),
});
const master = await cluster.master();
const api = cluster.api(master);
const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
const people = await enrolPeople(api, 'bench', 60);
await cluster.untilDigestsEqual();
note('raw pipelined publishes', await rawPublishesPerSecond(cluster, 4000), 'per s');

const slapd = await startTestSlapd({ people: PEOPLE });
try {
  await measureFullSync();
  await measureQuietCycle('OpenLDAP', 'ldap', PEOPLE);
} finally {
  await slapd.stop();
}
if (hasSamba) await measureActiveDirectory();

console.table(
  figures.map(({ what, value, unit, allowed }) => ({
    what,
    value,
    unit,
    allowed: allowed ?? '',
    ok: allowed === undefined ? '' : value <= allowed ? 'yes' : 'NO',
  })),
);
console.log(JSON.stringify({ people: PEOPLE, figures }));
if (process.env.BENCH_FILE) writeFileSync(process.env.BENCH_FILE, JSON.stringify({ figures }));

async function measureFullSync(): Promise<void> {
  const load = () => new VerificationLoad({ clients, people, everyMs: VERIFY_EVERY_MS });
  const quiet = load();
  await sleep(QUIET_MS);
  const quietP99 = percentile((await quiet.stop()).latenciesMs, 0.99);
  await api.done('POST', '/api/v1/directories', {
    name: 'ldap',
    type: 'ldap',
    domains: ['example.org'],
    servers: [slapd.ldapUrl],
    account: { name: slapd.reader.name, password: slapd.reader.password },
    baseDn: slapd.baseDn,
    sync: { enabled: true, intervalMinutes: 60 },
  });
  const busy = load();
  const startedAt = performance.now();
  await addItem('ldap');
  await startSync('ldap', { full: true });
  await Promise.all(cluster.nodes.map((node) => untilCount(node, PEOPLE)));
  note(
    `${PEOPLE} people of OpenLDAP on all nodes`,
    (performance.now() - startedAt) / 1000,
    's',
    90,
  );
  const { latenciesMs, failed } = await busy.stop();
  if (failed.length > 0) console.error(failed.slice(0, 3));
  const busyP99 = percentile(latenciesMs, 0.99);
  note('verification p99, quiet', quietP99, 'ms');
  note('verification p99 meanwhile', busyP99, 'ms', quietP99 * 3);
  note("the master's agent at its peak (RSS)", peakMb(master), 'MB', 400);
  await cluster.untilDigestsEqual(60_000);
}

async function measureActiveDirectory(): Promise<void> {
  const samba = await startTestSamba({ people: 'many' });
  try {
    await api.done(
      'POST',
      '/api/v1/directories',
      activeDirectory(samba, { enabled: true, intervalMinutes: 60 }),
    );
    const startedAt = performance.now();
    await addItem('corp');
    await startSync('corp', { full: true });
    note('2,500 people of Active Directory', (performance.now() - startedAt) / 1000, 's');
    await measureQuietCycle('Active Directory', 'corp', 2500, 1000);
  } finally {
    await samba.stop();
  }
}

/** From the wish to the master's word that nothing runs any more: finding it out is part of it. */
async function measureQuietCycle(
  what: string,
  directory: string,
  count: number,
  allowedMs?: number,
): Promise<void> {
  const times: number[] = [];
  for (let run = 0; run < 5; run += 1) {
    const startedAt = performance.now();
    await startSync(directory, { full: false });
    times.push(performance.now() - startedAt);
  }
  note(`nothing changed among ${count}, ${what}`, percentile(times, 0.5), 'ms', allowedMs);
}

async function addItem(directory: string): Promise<void> {
  await api.done('POST', `/api/v1/directories/${directory}/items`, {
    name: 'everybody',
    scope: { kind: 'domain' },
  });
}

/** Waits for the end of it, and throws if it did not end well. */
async function startSync(directory: string, body: { full: boolean }): Promise<void> {
  const path = `/api/v1/directories/${directory}/sync`;
  await waitFor(
    'the synchronisation to start',
    async () => (await api.done<{ started: boolean }>('POST', path, body)).started,
    { timeoutMs: 60_000, everyMs: 20 },
  );
  const { last } = await waitFor(
    'the synchronisation to end',
    async () => {
      const status = await api.done<Status>('GET', path);
      return status.running === null ? status : null;
    },
    { timeoutMs: 300_000, everyMs: 10 },
  );
  if (last && last.outcome !== 'done') throw new Error(`${last.outcome}: ${last.problem}`);
}

async function untilCount(node: TestNode, count: number): Promise<void> {
  await using db = openReplica(node);
  await waitFor(
    `${count} users on ${node.name}`,
    async () => {
      const [row] = await db.sql<{ count: number }[]>`
        select count(*)::int as count from users where document ? 'directory'`;
      return row!.count >= count;
    },
    { timeoutMs: 300_000, everyMs: 500 },
  );
}

/** What the agent's memory was at most since it started. */
function peakMb(node: TestNode): number {
  const status = readFileSync(`/proc/${node.pids.agentPid}/status`, 'utf8');
  return Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]) / 1024;
}
