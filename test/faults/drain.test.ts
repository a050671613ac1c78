import { namesOf, readNextDirect, readStreamState } from '@countersign/cluster';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { keepAgentsDead } from '../harness/keep-dead.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';
import { connectToLog, findStreamLeader } from '../harness/stream-leader.ts';

const names = namesOf(1);

let cluster: TestCluster;
let person: Person;

beforeAll(async () => {
  cluster = await TestCluster.start();
  const api = cluster.api(await cluster.master());
  [person] = (await enrolPeople(api, 'person', 1)) as [Person];
  await api.done('POST', '/api/v1/users', { username: 'changed' });
  await cluster.untilWhole();
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a node whose agent was away before the other two were lost', () => {
  it('has after promote --force what only its log server held, also where one user was changed twice', async () => {
    const master = await cluster.master();
    // Led by nobody then, its log server cannot say where the log ends.
    const leader = await findStreamLeader(cluster, names.changes);
    const survivor = cluster.others(master.name, leader.name)[0]!;
    const bringBack = keepAgentsDead([survivor]);
    const api = cluster.api(master);
    await api.done('PATCH', '/api/v1/users/changed', { displayName: 'once' });
    const last = await api.done<{ revision: number }>('PATCH', '/api/v1/users/changed', {
      displayName: 'twice',
    });
    for (let i = 0; i < 5; i += 1) {
      await api.verify({ username: person.username, code: person.wrongCode() });
    }
    await untilHeldBy(survivor, last.revision);

    const lost = cluster.others(survivor.name);
    await Promise.all(lost.map((node) => node.killAll()));
    for (const node of lost) node.deleteData();
    await bringBack();
    await waitFor(
      'the agent to be back',
      async () => (await runCli(survivor, ['promote', '--force'])).stdout.includes('everything up'),
      { timeoutMs: 30_000, everyMs: 200 },
    );
    const there = cluster.api(survivor);
    const readName = async () => {
      const { displayName } = await there.done('GET', '/api/v1/users/changed');
      return displayName;
    };
    expect(await readName()).not.toBe('twice');

    const forcedAt = performance.now();
    const forced = await runCli(survivor, ['promote', survivor.name, '--force', '--yes']);
    const masterMs = performance.now() - forcedAt;
    expect(forced, forced.stderr).toMatchObject({ code: 0 });
    expect(forced.stdout).not.toContain('may have held more');
    expect(await readName()).toBe('twice');
    const code = person.nextCode();
    const { body } = await there.verify({ username: person.username, code });
    expect(body.reason).toBe('locked_out');
    await there.done('PATCH', '/api/v1/users/changed', { displayName: 'afterwards' });
    report('promote --force where the log server had more than PostgreSQL', {
      masterMs: Math.round(masterMs),
    });
  });
});

/** Its log server has stored that change, and every user state that stands in the log now. */
async function untilHeldBy(node: TestNode, revision: number): Promise<void> {
  await using log = connectToLog(cluster);
  await using own = connectToLog(cluster, [node]);
  const states = await readStreamState(log, names.states, 5000);
  const wanted = [
    { stream: names.changes, subject: names.allChanges, from: revision },
    { stream: names.states, subject: names.allStates, from: states!.lastSequence },
  ];
  for (const { stream, subject, from } of wanted) {
    const read = () => readNextDirect(own, stream, subject, from, 500);
    await waitFor(`${stream} at ${node.name}`, async () => (await read()).kind === 'found', {
      timeoutMs: 10_000,
    });
  }
}
