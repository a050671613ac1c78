import { randomUUID } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { sealedPartOf } from '@countersign/cluster';
import { sealedUnder } from '@countersign/keys';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient, VerificationReply } from '../harness/api-client.ts';
import { TestCluster } from '../harness/cluster.ts';
import { enrolPeople, enrolTotpPeople, type Person, type TotpPerson } from '../harness/people.ts';
import { openReplica } from '../harness/replica.ts';
import { report } from '../harness/report.ts';
import { VerificationLoad } from '../harness/workload.ts';

const USERS = 300;
const soon = { timeoutMs: 40_000, everyMs: 100 };

type Keys = {
  active: string;
  generations: { id: string; nodes: string[] }[];
  rotation: { to: string; waitsFor: string[]; isClean: boolean; activatedAt: string | null } | null;
};

let cluster: TestCluster;
let people: Person[];
let tokens: TotpPerson[];
let careful: Person;
let codes: string[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  const api = cluster.api(await cluster.master());
  people = await enrolPeople(api, 'person', 24);
  tokens = await enrolTotpPeople(api, 'token', 3);
  [careful] = (await enrolPeople(api, 'careful', 1)) as [Person];
  await api.done('PUT', '/api/v1/users/careful-1/pin', { pin: '739164', mustChange: false });
  await api.done('PATCH', '/api/v1/users/careful-1', { modes: { oath: 'code+pin' } });
  ({ codes } = await api.done<{ codes: string[] }>(
    'POST',
    `/api/v1/users/${tokens[2]!.username}/recovery-codes`,
  ));
  const users = Array.from({ length: USERS }, (_, index) => ({
    username: `bulk-${index}`,
    authenticators: [{ type: 'totp' }],
  }));
  await api.done('POST', '/api/v1/users/bulk', users);
  await cluster.untilWhole();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

const keysAt = async (api: ApiClient) =>
  (await api.done<{ keys: Keys }>('GET', '/api/v1/cluster')).keys;

/** Of every document that this node has, but for what stays under the old key until that is retired. */
async function generationsAt(index: number): Promise<string[]> {
  await using db = openReplica(cluster.nodes[index]!);
  const rows = await db.sql<{ bytes: Buffer }[]>`
    select bytes from documents where kind not in ('epoch', 'seal', 'key-ring')`;
  return [...new Set(rows.map(({ bytes }) => sealedUnder(sealedPartOf(bytes)) ?? 'nothing'))];
}

describe('the cluster key', () => {
  it('is changed under load without a failed verification, and what was begun before is answered after', async () => {
    const master = await cluster.master();
    const other = cluster.others(master.name)[0]!;
    const [api, elsewhere] = [cluster.api(master), cluster.api(other)];
    const { active: old } = await keysAt(api);
    const { username } = tokens[0]!;
    const asked = await api.done<VerificationReply>('POST', '/api/v1/verifications', { username });
    await using verifications = new VerificationLoad({
      clients: cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) })),
      people,
      everyMs: 60,
    });
    const startedAt = performance.now();
    const { generation } = await elsewhere.done<{ generation: string }>(
      'POST',
      '/api/v1/cluster/keys/rotate',
      { reason: 'a test' },
    );
    await waitFor(
      'everything to be under the new key',
      async () => (await keysAt(api)).rotation?.isClean === true,
      soon,
    );
    const tookMs = Math.round(performance.now() - startedAt);
    // A node that is not heard for a moment is not told of.
    const view = await waitFor(
      'three nodes with both keys',
      async () => {
        const told = await keysAt(api);
        return told.generations.every(({ nodes }) => nodes.length === 3) ? told : null;
      },
      soon,
    );
    expect(view.active).toBe(generation);
    expect(view.generations.map(({ id }) => id)).toEqual([old, generation]);
    await cluster.untilDigestsEqual();
    for (const index of [0, 1, 2]) expect(await generationsAt(index)).toEqual([generation]);

    const answered = await elsewhere.done<VerificationReply>(
      'POST',
      `/api/v1/verifications/${asked.id}/answer`,
      { code: tokens[0]!.codeNow(), challenge: asked.challenge },
    );
    expect(answered).toMatchObject({ status: 'approved' });
    const verify = (body: object) =>
      elsewhere.done<VerificationReply>('POST', '/api/v1/verifications', body);
    const token = { username: tokens[1]!.username, code: tokens[1]!.codeNow() };
    expect(await verify(token)).toMatchObject({ status: 'approved' });
    const pin = { username: 'careful-1', code: careful.nextCode(), pin: '739164' };
    expect(await verify(pin)).toMatchObject({ status: 'approved' });
    expect(await verify({ username: tokens[2]!.username, code: codes[0]! })).toMatchObject({
      status: 'approved',
    });

    const figures = await verifications.stop();
    report('the cluster key is changed', {
      users: USERS,
      tookMs,
      approved: figures.approved,
      failed: figures.failed.length,
      longestGapMs: figures.longestGapMs,
    });
    expect(figures.failed).toEqual([]);
    for (const node of cluster.nodes) {
      const file = join(node.folder, 'cluster.key');
      expect(statSync(file).mode & 0o777).toBe(0o600);
      expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ active: generation });
    }
  });

  it('stays changed when its master is killed -9: the next one goes on with the change', async () => {
    const { active } = await keysAt(cluster.api(cluster.nodes[0]!));
    const killed = await cluster.master();
    await killed.killAll();
    killed.start();
    await killed.untilReady();
    await cluster.untilWhole();
    const api = cluster.api(killed);
    const keys = await waitFor(
      'the next master to find all done',
      async () => {
        const told = await keysAt(api);
        const { rotation } = told;
        return rotation?.isClean === true && rotation.waitsFor.length === 0 ? told : null;
      },
      soon,
    );
    expect(keys.active).toBe(active);
    const person = people[0]!;
    const reply = await api.verify(
      { username: person.username, code: person.nextCode() },
      { idempotencyKey: randomUUID() },
    );
    expect(reply.body).toMatchObject({ status: 'approved' });
    await cluster.untilDigestsEqual();
  });
});
