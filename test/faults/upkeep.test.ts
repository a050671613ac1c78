import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPeople, type Person } from '../harness/people.ts';
import { isAlive, signal } from '../harness/processes.ts';
import { openReplica } from '../harness/replica.ts';
import { report } from '../harness/report.ts';

const CLI = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url));

let cluster: TestCluster;
let people: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  people = await enrolPeople(cluster.api(await cluster.master()), 'person', 8);
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

/** The program as an operator runs it, asking these nodes in turn, or on one through its local socket. */
function countersign(args: string[], asked: TestNode[] | TestNode) {
  const { COUNTERSIGN_SERVER: _, ...env } = process.env;
  const where = Array.isArray(asked)
    ? {
        COUNTERSIGN_SERVER: asked.map((node) => node.url).join(','),
        COUNTERSIGN_API_KEY: cluster.apiKey,
      }
    : { COUNTERSIGN_SOCKET: join(asked.folder, 'countersign.sock') };
  const child = spawn(process.execPath, [CLI, ...args], {
    env: { ...env, ...where },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: 120_000,
    killSignal: 'SIGKILL',
  });
  const printed = { out: '', error: '' };
  child.stdout.on('data', (data) => (printed.out += String(data)));
  child.stderr.on('data', (data) => (printed.error += String(data)));
  const ended = once(child, 'close').then(([code]) => code as number | null);
  return { child, printed, ended };
}

async function run(args: string[], nodes = cluster.nodes) {
  const program = countersign(args, nodes);
  return { code: await program.ended, ...program.printed };
}

/** Asks again under the same key while the log chooses a leader: it is written once. */
async function addUser(node: TestNode, username: string): Promise<void> {
  const options = { body: { username }, idempotencyKey: username };
  await waitFor(
    `${username} to be written`,
    async () => (await cluster.api(node).call('POST', '/api/v1/users', options)).status === 201,
    { timeoutMs: 40_000, everyMs: 100 },
  );
}

type ShownEvent = { id: string; type: string; at: string; node: string };

/** All events in the order in which they arrived, as that node stores them. */
async function arrivedOn(node: TestNode): Promise<string[]> {
  await using db = openReplica(node);
  const rows = await db.sql<{ id: string }[]>`select id from events order by incarnation, arrival`;
  return rows.map(({ id }) => id);
}

async function damageOf(node: TestNode, asked: TestNode): Promise<string | null> {
  const { body } = await cluster
    .api(asked)
    .call<{ nodes: { name: string; damage: string | null }[] }>('GET', '/api/v1/cluster');
  return body.nodes.find(({ name }) => name === node.name)?.damage ?? null;
}

describe('following events', () => {
  it('across a kill -9 of the node that is asked shows every event once, late ones too', async () => {
    const master = await cluster.master();
    const [followed, other] = cluster.others(master.name) as [TestNode, TestNode];
    const follow = countersign(
      ['events', '--follow', '--json', '--since', '1h'],
      [followed, other],
    );
    const shown = () =>
      follow.printed.out
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line) as ShownEvent);
    const untilShown = (what: string, count: () => number) =>
      waitFor(what, () => shown().length >= count(), { timeoutMs: 30_000, everyMs: 50 });
    await untilShown('what was there', () => 9);

    const before = shown().length;
    for (const person of people) {
      const { status } = await cluster
        .api(followed)
        .verify({ username: person.username, code: person.nextCode() });
      expect(status).toBe(200);
    }
    // Their events may still lie in its outbox: then they come when it is back, with times long past.
    await followed.killAll();
    const killedAt = performance.now();
    for (let i = 0; i < 5; i += 1) {
      await addUser(other, `after-${i}`);
    }
    await waitFor(
      'events of after the kill',
      () => shown().filter(({ type }) => type === 'user.add').length >= people.length + 5,
      { timeoutMs: 40_000, everyMs: 50 },
    );
    const goesOnMs = Math.round(performance.now() - killedAt);
    followed.start();
    await followed.untilReady();
    // The very last ones may not have reached its disk, and are then told as unknown only after 30 s.
    await waitFor(
      'verifications of the node that was killed',
      () =>
        shown().filter(({ type, node }) => type === 'verification' && node === followed.name)
          .length >=
        people.length / 2,
      { timeoutMs: 40_000, everyMs: 50 },
    );
    await cluster.untilDigestsEqual();
    follow.child.kill('SIGINT');
    expect(await follow.ended).toBe(0);

    const ids = shown().map(({ id }) => id);
    expect(new Set(ids).size).toBe(ids.length);
    for (const node of cluster.nodes) {
      const arrived = await waitFor(
        `the same on ${node.name}`,
        async () => {
          const found = await arrivedOn(node);
          return found.length >= ids.length ? found : null;
        },
        { timeoutMs: 20_000, everyMs: 100 },
      );
      expect(arrived.slice(0, ids.length), node.name).toEqual(ids);
    }
    const times = shown().map(({ at }) => at);
    report('events followed across a kill -9', {
      shown: ids.length,
      afterStart: ids.length - before,
      outOfTimeOrder: times.filter((at, index) => index > 0 && at < times[index - 1]!).length,
      goesOnMs,
    });
  });
});

describe('tables that were tampered with', () => {
  it('are named by status once the agent looks, and keep the node from becoming master', async () => {
    const master = await cluster.untilWhole();
    const [damaged, other] = cluster.others(master.name) as [TestNode, TestNode];
    await using db = openReplica(damaged);
    const flip = () => db.sql`
      update documents set bytes = set_byte(bytes, 20, get_byte(bytes, 20) # 1)
      where kind = 'user' and id = (select id::text from users where username_key = 'person-1')
      returning id`;
    const [{ id }] = (await flip()) as unknown as [{ id: string }];

    const { agentPid } = damaged.pids;
    signal([agentPid], 'SIGKILL');
    const killedAt = performance.now();
    await waitFor('the old agent to be gone', () => !isAlive(agentPid!), { timeoutMs: 5000 });
    const damage = await waitFor('status to name it', () => damageOf(damaged, other), {
      timeoutMs: 30_000,
      everyMs: 100,
    });
    const namedMs = Math.round(performance.now() - killedAt);
    expect(damage).toContain(`user ${id} is not what was received`);

    const status = await run(['status'], [other]);
    expect(status.out).toContain(`${damaged.name}'s tables do not match its digest: user ${id}`);
    expect(status.out).toContain(`countersign doctor ${damaged.name}`);
    const promoted = await run(['promote', damaged.name], [other]);
    expect(promoted.code).toBe(1);
    expect(promoted.error).toContain('not_fit');
    expect((await cluster.master()).name).toBe(master.name);

    await flip();
    const doctor = await run(['doctor', damaged.name], [other]);
    expect(doctor).toMatchObject({ code: 0, out: expect.stringContaining('nothing is wrong') });
    await waitFor('status to be clear', async () => (await damageOf(damaged, other)) === null, {
      timeoutMs: 10_000,
      everyMs: 100,
    });
    report('a flipped bit in a document', { namedAfterAgentStartMs: namedMs });
  });

  it('are found by doctor on every node at once, while the rest is well', async () => {
    const master = await cluster.untilWhole();
    const damaged = cluster.others(master.name)[0]!;
    await using db = openReplica(damaged);
    const enable = (enabled: boolean) => db.sql`
      update users set document = document || jsonb_build_object('enabled', ${enabled}::boolean)
      where username_key = 'person-2'`;
    await enable(false);
    const askedAt = performance.now();
    const { code, out } = await run(['doctor', '--json'], [master]);
    const doctorMs = Math.round(performance.now() - askedAt);
    expect(code).toBe(1);
    const { ok, nodes } = JSON.parse(out) as {
      ok: boolean;
      nodes: { node: string; checks: { name: string; ok: boolean; detail: string }[] }[];
    };
    expect(ok).toBe(false);
    const findings = nodes.flatMap(({ node, checks }) =>
      checks.filter((check) => check.name === 'tables' && !check.ok).map(() => node),
    );
    expect(findings).toEqual([damaged.name]);
    await waitFor('status to name it', () => damageOf(damaged, master), { timeoutMs: 10_000 });
    await enable(true);
    // Through the node's own socket, as on the machine itself.
    const local = countersign(['doctor', damaged.name], damaged);
    expect(await local.ended, local.printed.error).toBe(0);
    report('doctor of three nodes', { doctorMs });
  });
});
