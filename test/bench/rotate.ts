import { writeFileSync } from 'node:fs';
import { waitFor } from '@countersign/testing';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople } from '../harness/people.ts';
import { VerificationLoad } from '../harness/workload.ts';
import { addUsers } from './add-users.ts';

/**
 * How fast everything is sealed anew under another cluster key, and what verification notices of it.
 * `BENCH_USERS` (50,000), `BENCH_NODES` (3), `BENCH_EVERY_MS` between two verifications (50), `BENCH_FILE` for the
 * figures as JSON. Ends with 1 where a verification failed.
 */
const USERS = Number(process.env.BENCH_USERS ?? 50_000);
const NODES = Number(process.env.BENCH_NODES ?? 3);
const EVERY_MS = Number(process.env.BENCH_EVERY_MS ?? 50);

type View = { keys: { rotation: { isClean: boolean } | null } };

await using cluster = await TestCluster.start({
  nodes: NODES,
  configure: (config) => ({
    ...config,
    limits: { changesBytes: 512 << 20, statesBytes: 128 << 20, eventsBytes: 64 << 20 },
  }),
});
const api = cluster.api(await cluster.master());
const people = await enrolPeople(api, 'person', 40);
const addedSeconds = await addUsers(cluster, USERS);
console.log(`${USERS} users added: ${addedSeconds.toFixed(1)} s`);
await cluster.untilDigestsEqual(300_000);
const clients = cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) }));
await using load = new VerificationLoad({ clients, people, everyMs: EVERY_MS });
await waitFor('some load', () => load.approved > 20, { timeoutMs: 60_000 });
const startedAt = performance.now();
await api.done('POST', '/api/v1/cluster/keys/rotate', { reason: 'a benchmark' });
await waitFor(
  'everything to be under the new key',
  async () => (await api.done<View>('GET', '/api/v1/cluster')).keys.rotation?.isClean === true,
  { timeoutMs: 1_800_000, everyMs: 500 },
);
const seconds = (performance.now() - startedAt) / 1000;
const { approved, degraded, failed, longestGapMs } = await load.stop();
await cluster.untilDigestsEqual(300_000);
const figures = {
  users: USERS,
  nodes: NODES,
  seconds: Math.round(seconds * 10) / 10,
  usersPerSecond: Math.round(USERS / seconds),
  approved,
  degraded,
  failed: failed.length,
  longestGapMs: Math.round(longestGapMs),
};
console.table(figures);
console.log(JSON.stringify(figures));
if (failed.length > 0) console.log(failed.slice(0, 5));
if (process.env.BENCH_FILE) {
  writeFileSync(process.env.BENCH_FILE, JSON.stringify(figures, null, 2));
}
process.exitCode = failed.length > 0 ? 1 : 0;
