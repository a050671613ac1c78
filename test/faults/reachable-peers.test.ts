import { setTimeout as lasting } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from '../harness/cluster.ts';
import { faultMs } from '../harness/fault-time.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { VerificationLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';
import { SameCodeLoad } from '../soak/same-code-load.ts';

const ROUNDS = 3;

let cluster: TestCluster;
let people: Person[];
let twins: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start({ relays: true });
  const api = cluster.api(await cluster.master());
  people = await enrolPeople(api, 'person', 24);
  twins = await enrolPeople(api, 'twin', 24);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a node whose log server dies while another node is cut off', () => {
  it('still asks the third node before it lets anybody in', async () => {
    const clients = cluster.nodes.map((node) => cluster.api(node));
    const named = clients.map((api) => ({ name: api.node, api }));
    for (let round = 0; round < ROUNDS; round += 1) {
      const { length } = cluster.nodes;
      const [bereft, cut] = [1, 2].map((step) => cluster.nodes[(round + step) % length]!);
      const load = new VerificationLoad({ clients: named, people, everyMs: 100 });
      const same = new SameCodeLoad({ clients, people: twins, everyMs: 120 });
      bereft!.strike('nats', 'SIGKILL');
      cluster.cutOff(cut!.name);
      await lasting(faultMs(8000));
      cluster.heal(cut!.name);
      await cluster.untilWhole();
      await same.stop();
      const { approved, degraded, failed, longestGapMs } = await load.stop();
      report(`log server of ${bereft!.name} killed, ${cut!.name} cut off`, {
        approved,
        degraded,
        failed: failed.length,
        longestGapMs,
      });
      expect(failed).toEqual([]);
      await expectHistoryHolds(cluster);
    }
  });
});
