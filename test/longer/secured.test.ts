import { join } from 'node:path';
import { readIdentity, replaceMembers, signMembers } from '@countersign/identity';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { promoteTo } from '../harness/promote.ts';
import { runCli } from '../harness/run-cli.ts';

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start({ isSecured: true });
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 4);
  await cluster.untilDigestsEqual();
}, 120_000);
afterAll(async () => cluster?.[Symbol.asyncDispose]());

/** Again and again: the log may have to elect its leaders first, which takes 4-8 s. */
const soon = { timeoutMs: 30_000, everyMs: 200 };

async function wasWritten(node: TestNode, username: string): Promise<boolean> {
  const write = { body: { username }, idempotencyKey: username };
  return (await cluster.api(node).call('POST', '/api/v1/users', write)).status === 201;
}

describe('three nodes with identities', () => {
  it('verify on each of them, and a code is good once in the cluster', async () => {
    const [person] = people as [Person];
    for (const node of cluster.nodes) {
      const { username } = person;
      let body = { username, code: '' };
      // The log may be silent for a moment, in which a node judges alone.
      await waitFor(
        'an approval with the quorum',
        async () => {
          body = { username, code: person.nextCode() };
          const { status, degraded } = (await cluster.api(node).verify(body)).body;
          return status === 'approved' && !degraded;
        },
        soon,
      );
      for (const other of cluster.others(node.name)) {
        expect((await cluster.api(other).verify(body)).body).toMatchObject({ status: 'denied' });
      }
    }
  });

  it('find nothing wrong with themselves: certificates, modes, listeners, log servers', async () => {
    const { code, stdout } = await runCli(cluster.nodes[0]!, ['doctor', '--json']);
    const found = JSON.parse(stdout) as { ok: boolean; nodes: { checks: { ok: boolean }[] }[] };
    const wrong = found.nodes.flatMap(({ checks }) => checks.filter(({ ok }) => !ok));
    expect(wrong).toEqual([]);
    expect(code, stdout).toBe(0);
  });

  it('go on over TLS when the master dies, and hand over to whom promote names', async () => {
    const master = await cluster.master();
    await master.killAll();
    const others = cluster.others(master.name);
    const [person] = people.slice(1) as [Person];
    const body = { username: person.username, code: person.nextCode() };
    expect((await cluster.api(others[0]!).verify(body)).body).toMatchObject({ status: 'approved' });
    expect((await cluster.api(others[1]!).verify(body)).body).toMatchObject({ status: 'denied' });
    await waitFor('a write by the next master', () => wasWritten(others[0]!, 'later'), soon);
    master.start();
    await master.untilReady();
    await cluster.untilWhole();
    await promoteTo(cluster, master);
    await cluster.untilDigestsEqual();
  }, 120_000);

  it('shut out a node as soon as it is no member any more', async () => {
    const leaving = cluster.others((await cluster.master()).name)[0]!;
    const staying = cluster.others(leaving.name);
    const folder = (name: string) => join(cluster.node(name).folder, 'identity');
    const { members } = readIdentity(folder(leaving.name))!.members;
    const list = signMembers(cluster.authority!, {
      version: 2,
      members: members.filter(({ name }) => name !== leaving.name),
    });
    for (const { name } of staying) replaceMembers(folder(name), list);
    await waitFor(
      'silence',
      async () => {
        const view = await cluster.api(staying[0]!).cluster();
        return view.nodes.find(({ name }) => name === leaving.name)?.online === false;
      },
      { timeoutMs: 30_000, everyMs: 200 },
    );
    await waitFor('a write without it', () => wasWritten(staying[0]!, 'without'), soon);
    const seen = await cluster.api(leaving).call('GET', '/api/v1/users/without');
    expect(seen.status).toBe(404);
    // It was heard until a moment ago.
    const isAlone = async () => (await cluster.api(leaving).cluster()).master === null;
    await waitFor('no master in its sight', isAlone, { timeoutMs: 30_000, everyMs: 200 });
  }, 120_000);
});
