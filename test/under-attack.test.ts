import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TestCluster } from './harness/cluster.ts';
import { flood } from './harness/flood.ts';
import { enrolPeople, type Person } from './harness/people.ts';
import { report } from './harness/report.ts';
import { quantile, VerificationLoad, type VerificationFigures } from './harness/workload.ts';

const LOCKOUT_FAILURES = 5;
const RATE_PER_SECOND = 1000;
const SECONDS = 8;

let cluster: TestCluster;
let victims: Person[];
let bystanders: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start();
  const api = cluster.api(await cluster.master());
  victims = await enrolPeople(api, 'victim', 2);
  bystanders = await enrolPeople(api, 'bystander', 60);
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('wrong codes on one user', () => {
  it('at 1,000 a second are judged no more often than the lockout allows, and slow nobody down', async () => {
    const victim = victims.pop()!;
    const codes = differentWrongCodes(victim, RATE_PER_SECOND * SECONDS);
    await measure(settled(2000));
    const before = await measure(settled(SECONDS * 1000));
    // What as many requests cost that look nothing up: these machines may have little to spare.
    const empty = flood({ ...target(), method: 'GET', path: '/healthz', bodies: codes.map(() => '') });
    const duringEmpty = await measure(empty);
    const watch = watchReadiness();
    const attack = flood({
      ...target(),
      method: 'POST',
      path: '/api/v1/verifications',
      bodies: codes.map((code) => JSON.stringify({ username: victim.username, code })),
    });
    const during = await measure(attack);
    const readiness = await watch.stop();
    const { outcomes, sent, durationMs, latenciesMs } = await attack;

    const p99BeforeMs = quantile(before.latenciesMs, 0.99);
    const p99DuringMs = quantile(during.latenciesMs, 0.99);
    report('1,000/s with wrong codes on one user', {
      sent,
      perSecond: Math.round((sent * 1000) / durationMs),
      ...outcomes,
      attackP99Ms: Math.round(quantile(latenciesMs, 0.99)),
      othersBefore: before.approved,
      othersDuring: during.approved,
      othersP50BeforeMs: rounded(quantile(before.latenciesMs, 0.5)),
      othersP50DuringMs: rounded(quantile(during.latenciesMs, 0.5)),
      othersP99BeforeMs: rounded(p99BeforeMs),
      othersP99DuringMs: rounded(p99DuringMs),
      othersP50EmptyMs: rounded(quantile(duringEmpty.latenciesMs, 0.5)),
      othersP99EmptyMs: rounded(quantile(duringEmpty.latenciesMs, 0.99)),
    });
    const { wrong_code: judged = 0, locked_out: locked = 0, busy = 0, ...others } = outcomes;
    expect(judged).toBe(LOCKOUT_FAILURES);
    expect(locked + busy).toBe(sent - judged);
    expect(others).toEqual({});
    expect(before.failed).toEqual([]);
    expect(during.failed).toEqual([]);
    expect(during.degraded).toBe(0);
    expect(readiness.filter((state) => !state.ready || state.degraded)).toEqual([]);
    expect(readiness.length).toBeGreaterThan(SECONDS);
    expect(await openCircuits()).toEqual([0, 0, 0]);
    expect(p99DuringMs).toBeLessThanOrEqual(2 * p99BeforeMs);
    await expectLockedUntilUnblocked(victim);
  });

  it('300 at once are judged no more often than the lockout allows', async () => {
    const victim = victims.pop()!;
    const load = newLoad();
    const replies = await Promise.all(
      differentWrongCodes(victim, 300).map((code, i) =>
        cluster.api(cluster.nodes[i % 3]!).verify({ username: victim.username, code }),
      ),
    );
    const { failed } = await load.stop();

    const outcomes: Record<string, number> = {};
    for (const { status, body } of replies) {
      const outcome = status === 200 ? (body.reason ?? body.status) : `${status} ${body.code}`;
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
    }
    report('300 wrong codes at once', outcomes);
    const { wrong_code: judged = 0, locked_out: locked = 0, busy = 0 } = outcomes;
    expect(judged).toBeGreaterThan(0);
    expect(judged).toBeLessThanOrEqual(LOCKOUT_FAILURES);
    expect(judged + locked + busy).toBe(300);
    expect(failed).toEqual([]);
    expect(await openCircuits()).toEqual([0, 0, 0]);
    // `busy` cost the user nothing: as many guesses as the lockout has left are still judged.
    const more = await judgedOneByOne(victim, LOCKOUT_FAILURES - judged);
    expect(more).toEqual(Array(LOCKOUT_FAILURES - judged).fill('wrong_code'));
    await expectLockedUntilUnblocked(victim);
  });
});

function target() {
  const urls = cluster.nodes.map((node) => node.url);
  return { urls, apiKey: cluster.apiKey, ratePerSecond: RATE_PER_SECOND };
}

async function expectLockedUntilUnblocked(victim: Person): Promise<void> {
  const { username } = victim;
  const locked = await cluster.api(cluster.nodes[0]!).verify({ username, code: victim.nextCode() });
  expect(locked.body).toMatchObject({ status: 'denied', reason: 'locked_out' });
  await cluster.api(cluster.nodes[1]!).done('POST', `/api/v1/users/${username}/unblock`);
  await cluster.untilDigestsEqual();
  const free = await cluster.api(cluster.nodes[2]!).verify({ username, code: victim.nextCode() });
  expect(free.body).toMatchObject({ status: 'approved' });
}

async function judgedOneByOne(victim: Person, count: number): Promise<(string | undefined)[]> {
  const reasons: (string | undefined)[] = [];
  for (let i = 0; i < count; i += 1) {
    const { username } = victim;
    const { body } = await cluster
      .api(cluster.nodes[i % 3]!)
      .verify({ username, code: victim.wrongCode() });
    reasons.push(body.reason);
  }
  return reasons;
}

function differentWrongCodes(person: Person, count: number): string[] {
  const codes = new Set<string>();
  while (codes.size < count) codes.add(person.wrongCode());
  return [...codes];
}

/** What others see of the cluster for as long as `lasts` does. */
async function measure(lasts: Promise<unknown>): Promise<VerificationFigures> {
  const load = newLoad();
  await lasts;
  return load.stop();
}

function newLoad(): VerificationLoad {
  return new VerificationLoad({
    clients: cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) })),
    people: bystanders,
    everyMs: 100,
  });
}

function settled(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

type Readiness = { ready: boolean; degraded: boolean };

/** Asks all nodes again and again whether they are ready. */
function watchReadiness() {
  const seen: Readiness[] = [];
  let isStopped = false;
  const watching = (async () => {
    while (!isStopped) {
      for (const node of cluster.nodes) {
        const response = await fetch(`${node.url}/readyz`);
        seen.push((await response.json()) as Readiness);
      }
      await settled(250);
    }
  })();
  return {
    async stop(): Promise<Readiness[]> {
      isStopped = true;
      await watching;
      return seen;
    },
  };
}

async function openCircuits(): Promise<number[]> {
  return Promise.all(
    cluster.nodes.map(async ({ url }) => {
      const text = await (await fetch(`${url}/metrics`)).text();
      return Number(/^countersign_circuit_open(?:\{.*\})? (\d+)$/m.exec(text)?.[1]);
    }),
  );
}

function rounded(ms: number): number {
  return Math.round(ms * 10) / 10;
}
