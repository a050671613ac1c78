import { connect } from 'node:net';
import { join } from 'node:path';
import { setTimeout as lasting } from 'node:timers/promises';
import { readNodeConfig } from '@countersign/node';
import { waitFor } from '@countersign/testing';
import { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApiClient } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { signal } from '../harness/processes.ts';
import { report } from '../harness/report.ts';

type UserView = {
  blocked: { reason: string; by: string } | null;
  pendingStopFacts: { id: string; node: string }[];
};

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 3);
  await cluster.untilWhole();
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('a block without a master', () => {
  it('with its machine and all nats-servers dead stands at once where it was asked, everywhere ≤ 2 s after healing', async () => {
    const master = await cluster.untilWhole();
    const [here, there] = cluster.others(master.name) as [TestNode, TestNode];
    const [stopped, bystander] = people as [Person, Person];
    const someone = new Asked(stopped);
    await master.killAll();
    const bringBack = keepDead([here, there]);

    const askedAt = performance.now();
    const block = await cluster.api(here).call('POST', blockPath(stopped), {
      body: { reason: 'phone stolen' },
    });
    const acceptedMs = performance.now() - askedAt;
    expect(block).toMatchObject({ status: 202, body: { asStopFact: true } });
    const refused: Awaited<ReturnType<ApiClient['verify']>>[] = [];
    for (let i = 0; i < 40; i += 1) {
      refused.push(await cluster.api(here).verify(someone.body()));
    }
    const approvedAfter = refused.filter(({ body }) => body.status === 'approved').length;
    const others = await cluster.api(here).verify(new Asked(bystander).body());
    const elsewhere = await cluster.api(there).verify(someone.body());
    someone.note(elsewhere.body.status);
    const shown = await cluster.api(here).done<UserView>('GET', userPath(stopped));
    const view = await cluster
      .api(here)
      .done<{ pendingStopFacts: number }>('GET', '/api/v1/cluster');
    const events = await cluster
      .api(here)
      .done<{ events: { type: string }[] }>('GET', '/api/v1/events?type=user.block');
    const write = await cluster.api(here).call('POST', `${userPath(stopped)}/unblock`);

    await bringBack();
    await Promise.all([here, there].map((node) => untilListens(node)));
    const healedAt = performance.now();
    await someone.untilRefusedOn(there);
    const everywhereMs = performance.now() - healedAt;
    await untilChange([here, there], stopped);
    const changedMs = performance.now() - healedAt;
    master.start();
    await master.untilReady();
    const returnedAt = performance.now();
    await someone.untilRefusedOn(master);
    const returnedMs = performance.now() - returnedAt;
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();

    report('block with the master and all nats-servers dead', {
      acceptedMs: Math.round(acceptedMs),
      approvedAfter,
      everywhereMs: Math.round(everywhereMs),
      changedMs: Math.round(changedMs),
      onTheNodeThatWasDeadMs: Math.round(returnedMs),
    });
    expect(acceptedMs).toBeLessThanOrEqual(2000);
    expect(refused.map(({ body }) => body.reason)).toEqual(refused.map(() => 'blocked'));
    expect(others.body).toMatchObject({ status: 'approved', degraded: true });
    // It cannot know.
    expect(elsewhere.body).toMatchObject({ status: 'approved', degraded: true });
    expect(shown).toMatchObject({
      blocked: { reason: 'phone stolen' },
      pendingStopFacts: [{ node: here.name }],
    });
    expect(view.pendingStopFacts).toBe(1);
    expect(events.events).toHaveLength(1);
    expect(write).toMatchObject({ status: 503, body: { code: 'master_offline' } });
    expect(everywhereMs).toBeLessThanOrEqual(2000);
    await untilChange(cluster.nodes, stopped);
    for (const node of cluster.nodes) {
      expect((await cluster.api(node).verify(someone.body())).body.reason).toBe('blocked');
    }

    // A node that holds the fact hears late that it is lifted, and brings it back to nobody.
    const [late] = cluster.others((await cluster.master()).name);
    signal([late!.pids.agentPid], 'SIGSTOP');
    const awake = cluster.others(late!.name)[0]!;
    await cluster.api(awake).done('POST', `${userPath(stopped)}/unblock`);
    signal([late!.pids.agentPid], 'SIGCONT');
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
    for (const node of cluster.nodes) {
      const user = await cluster.api(node).done<UserView>('GET', userPath(stopped));
      expect(user, node.name).toMatchObject({ blocked: null, pendingStopFacts: [] });
      const again = await cluster.api(node).verify(someone.body());
      someone.note(again.body.status);
      expect(again.body, node.name).toMatchObject({ status: 'approved', degraded: false });
    }
  });
});

describe('without the quorum, where nodes still reach each other', () => {
  it('a block and a revoked key stand on all of them within a second, and become changes', async () => {
    await cluster.untilWhole();
    const [one, two, three] = cluster.nodes as [TestNode, TestNode, TestNode];
    const stopped = people[2]!;
    const someone = new Asked(stopped);
    const keys = await cluster
      .api(one)
      .done<{ apiKeys: { id: string }[] }>('GET', '/api/v1/api-keys');
    const keyPath = `/api/v1/api-keys/${keys.apiKeys[0]!.id}`;
    // One server is left, which all nodes use: no quorum, yet everybody hears everybody.
    const bringBack = keepDead([two, three]);
    await waitFor('no quorum', async () => !(await cluster.api(one).cluster()).quorum, {
      timeoutMs: 15_000,
    });

    const block = await cluster.api(two).call('POST', blockPath(stopped), {
      body: { reason: 'phone stolen' },
    });
    const blockedAt = performance.now();
    expect(block).toMatchObject({ status: 202, body: { asStopFact: true } });
    await Promise.all(cluster.nodes.map((node) => new Asked(stopped).untilRefusedOn(node)));
    const blockedMs = performance.now() - blockedAt;

    const last = await cluster.api(three).call('DELETE', keyPath);
    const revoked = await cluster.api(three).call('DELETE', `${keyPath}?evenLast=true`);
    const revokedAt = performance.now();
    const atOnce = await cluster.api(three).verify(someone.body());
    await Promise.all(
      cluster.nodes.map((node) =>
        waitFor(
          `the key to be refused on ${node.name}`,
          async () => (await cluster.api(node).verify(someone.body())).status === 401,
          { timeoutMs: 10_000, everyMs: 10 },
        ),
      ),
    );
    const revokedMs = performance.now() - revokedAt;

    await bringBack();
    const healedAt = performance.now();
    await untilChange(cluster.nodes, stopped, bySocket);
    for (const node of cluster.nodes) {
      await waitFor(
        `no key on ${node.name}`,
        async () => {
          const { apiKeys } = await bySocket(node).done<{ apiKeys: object[] }>(
            'GET',
            '/api/v1/api-keys',
          );
          return apiKeys.length === 0;
        },
        { timeoutMs: 30_000 },
      );
    }
    const changedMs = performance.now() - healedAt;
    const digests = await waitFor(
      'equal digests',
      async () => {
        const { nodes } = await bySocket(one).cluster();
        const found = new Set(nodes.map(({ revision, digest }) => `${revision} ${digest}`));
        return found.size === 1 ? found : null;
      },
      { timeoutMs: 20_000, everyMs: 200 },
    );
    report('block and revoked key without the quorum, nodes hear each other', {
      blockedEverywhereMs: Math.round(blockedMs),
      keyRefusedEverywhereMs: Math.round(revokedMs),
      changedAfterHealingMs: Math.round(changedMs),
    });
    expect(blockedMs).toBeLessThanOrEqual(1000);
    expect(last).toMatchObject({ status: 409, body: { code: 'last_full_api_key' } });
    expect(revoked).toMatchObject({ status: 202, body: { asStopFact: true } });
    expect(atOnce.status).toBe(401);
    expect(revokedMs).toBeLessThanOrEqual(1000);
    expect(digests.size).toBe(1);
  });
});

/** Somebody who tries one code until it is used up. */
class Asked {
  readonly #person: Person;
  #code: string;

  constructor(person: Person) {
    this.#person = person;
    this.#code = person.nextCode();
  }

  body(): { username: string; code: string } {
    return { username: this.#person.username, code: this.#code };
  }

  note(status: string): void {
    if (status === 'approved') this.#code = this.#person.nextCode();
  }

  async untilRefusedOn(node: TestNode): Promise<void> {
    await waitFor(
      `${this.#person.username} to be refused on ${node.name}`,
      async () => {
        const { body } = await cluster.api(node).verify(this.body());
        this.note(body.status);
        return body.reason === 'blocked';
      },
      { timeoutMs: 20_000, everyMs: 10 },
    );
  }
}

/** Every server that the supervisors start again is killed again; resolves when the last one was. */
function keepDead(nodes: TestNode[]): () => Promise<void> {
  const isOver = new AbortController();
  const killing = (async () => {
    while (!isOver.signal.aborted) {
      signal(
        nodes.map((node) => node.pids.natsPid),
        'SIGKILL',
      );
      await lasting(10);
    }
  })();
  return async () => {
    isOver.abort();
    await killing;
  };
}

/** Waits until its nats-server takes connections again. */
async function untilListens(node: TestNode): Promise<void> {
  const config = readNodeConfig(join(node.folder, 'node.yaml'));
  const { clientPort } = config.logServers.find(({ name }) => name === node.name)!;
  await waitFor(
    `the nats-server of ${node.name}`,
    () =>
      new Promise<boolean>((resolve) => {
        const socket = connect(clientPort, '127.0.0.1');
        socket.once('data', () => resolve(true));
        socket.once('error', () => resolve(false));
        socket.once('close', () => resolve(false));
        socket.once('data', () => socket.destroy());
      }),
    { timeoutMs: 20_000, everyMs: 20 },
  );
}

/** Waits until the block stands in the user's document on each of these nodes. */
async function untilChange(
  nodes: TestNode[],
  person: Person,
  api: (node: TestNode) => ApiClient = (node) => cluster.api(node),
): Promise<void> {
  for (const node of nodes) {
    await waitFor(
      `the block of ${person.username} as a change on ${node.name}`,
      async () => {
        const user = await api(node).done<UserView>('GET', userPath(person));
        return user.blocked !== null && user.pendingStopFacts.length === 0;
      },
      { timeoutMs: 40_000, everyMs: 50 },
    );
  }
}

function bySocket(node: TestNode): ApiClient {
  const socketPath = join(node.folder, 'countersign.sock');
  const { history } = cluster;
  const dispatcher = new Agent({ connect: { socketPath } });
  return new ApiClient(
    { name: node.name, url: 'http://local' },
    { apiKey: 'none', history, dispatcher },
  );
}

function userPath({ username }: Person): string {
  return `/api/v1/users/${username}`;
}

function blockPath(person: Person): string {
  return `${userPath(person)}/block`;
}
