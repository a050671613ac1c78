import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { waitFor } from '@countersign/testing';
import { TestCluster, type TestNode } from './harness/cluster.ts';
import { enrolPeople, type Person } from './harness/people.ts';
import { report } from './harness/report.ts';
import { requestBytes, sendAndHangUp } from './harness/send-raw.ts';
import { VerificationLoad } from './harness/workload.ts';
import { expectHistoryHolds } from './history/expect-history-holds.ts';

/** For so long a repeated attempt gets its own verdict again. */
const KEPT_MS = 10_000;
const LOCKOUT_FAILURES = 5;

type Attempt = { username: string; code: string; idempotencyKey: string };

let cluster: TestCluster;
let people: Person[];
let bystanders: Person[];
let load: VerificationLoad;

beforeAll(async () => {
  cluster = await TestCluster.start();
  const api = cluster.api(await cluster.master());
  people = await enrolPeople(api, 'lost', 60);
  bystanders = await enrolPeople(api, 'bystander', 12);
  await cluster.untilDigestsEqual();
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

beforeEach(() => {
  load = new VerificationLoad({
    clients: cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) })),
    people: bystanders,
    everyMs: 100,
    retry: true,
  });
  return async () => {
    const { failed } = await load.stop();
    expect(failed).toEqual([]);
    await expectHistoryHolds(cluster);
  };
});

describe('a client that lost its answer and repeats the attempt on another node', () => {
  it.each(['sent', 'answered'] as const)(
    'gets the same verdict, not a replay, having hung up when it was %s',
    async (when) => {
      const ids: string[] = [];
      for (const person of people.splice(0, 20)) {
        const attempt = newAttempt(person.username, person.nextCode());
        const [first, second, third] = inTurn(ids.length);
        await loseReply(first, attempt, when);
        const answers = [await repeat(second, attempt), await repeat(third, attempt)];
        expect(answers.map(({ status, reason }) => ({ status, reason }))).toEqual([
          { status: 'approved' },
          { status: 'approved' },
        ]);
        expect(answers[1]!.id).toBe(answers[0]!.id);
        ids.push(answers[0]!.id);
      }

      // A node may notice the hang-up before it reads the request; an answer begun has been judged.
      const events = await untilToldBy(when === 'sent' ? 2 : 3, ids);
      const judged = events.filter((event) => event.details.repeated !== true);
      report(`reply lost when ${when}, attempt repeated on two other nodes`, {
        attempts: ids.length,
        told: events.length,
        judged: judged.length,
      });
      expect(events.filter((event) => event.result !== 'approved')).toEqual([]);
      expect(judged.map((event) => event.details.verification).toSorted()).toEqual(ids.toSorted());
    },
  );

  it('gets one verdict from all nodes when all three are asked at once', async () => {
    for (const person of people.splice(0, 10)) {
      const attempt = newAttempt(person.username, person.nextCode());
      const answers = await Promise.all(cluster.nodes.map((node) => repeat(node, attempt)));
      expect(answers.map(({ status }) => status)).toEqual(['approved', 'approved', 'approved']);
      expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
    }
  });

  it('is approved once and for all, though the worker that was asked first is killed', async () => {
    for (const person of people.splice(0, 3)) {
      const attempt = newAttempt(person.username, person.nextCode());
      const [first, second, third] = inTurn(0);
      await loseReply(first, attempt, 'sent');
      const killed = first.pids.workerPids;
      first.strike('workers', 'SIGKILL');
      const answers = [await repeat(second, attempt), await repeat(third, attempt)];
      expect(answers.map(({ status }) => status)).toEqual(['approved', 'approved']);
      await waitFor(
        'another worker',
        () => first.pids.workerPids.length > 0 && !first.pids.workerPids.includes(killed[0]!),
        { timeoutMs: 20_000 },
      );
      await first.untilReady();
    }
  });

  it('is refused with 422 where the same key comes with another code', async () => {
    const person = people.pop()!;
    const attempt = newAttempt(person.username, person.nextCode());
    const [first, second, third] = inTurn(0);
    expect((await repeat(first, attempt)).status).toBe('approved');
    for (const node of [second, third]) {
      const { username, idempotencyKey } = attempt;
      const code = person.nextCode();
      const { status, body } = await cluster
        .api(node)
        .verify({ username, code }, { idempotencyKey });
      expect([status, body.code]).toEqual([422, 'idempotency_conflict']);
    }
    // It has used up nothing: those codes, and the first verdict, are as good as before.
    expect(await repeat(third, attempt)).toMatchObject({ status: 'approved' });
    const fresh = newAttempt(person.username, person.nextCode());
    expect(await repeat(second, fresh)).toMatchObject({ status: 'approved' });
  });

  it('is told replayed once 10 s have passed, and not before', async () => {
    const person = people.pop()!;
    const attempt = newAttempt(person.username, person.nextCode());
    const sentAt = performance.now();
    const { id } = await repeat(cluster.nodes[0]!, attempt);
    const answeredAt = performance.now();
    const told: { node: string; afterMs: number; doneMs: number; status: string; id: string }[] =
      [];
    const isOver = () =>
      performance.now() > answeredAt + KEPT_MS + 1000 && told.at(-1)?.status === 'replayed';
    for (let turn = 0; !isOver() && performance.now() < answeredAt + 3 * KEPT_MS; turn += 1) {
      const node = cluster.nodes[turn % 3]!;
      const afterMs = performance.now() - sentAt;
      const { status, reason, id: again } = await repeat(node, attempt);
      const doneMs = performance.now() - sentAt;
      told.push({ node: node.name, afterMs, doneMs, status: reason ?? status, id: again });
      await sleep(200);
    }
    const approved = told.filter(({ status }) => status === 'approved');
    const replayed = told.filter(({ status }) => status === 'replayed');
    report('how long an attempt gets its verdict again', {
      lastApprovedMs: Math.round(approved.at(-1)?.afterMs ?? NaN),
      firstReplayedMs: Math.round(replayed[0]?.afterMs ?? NaN),
    });
    expect(approved).not.toEqual([]);
    expect(replayed).not.toEqual([]);
    expect(approved.length + replayed.length).toBe(told.length);
    expect(replayed.filter(({ doneMs }) => doneMs < KEPT_MS)).toEqual([]);
    const lateFrom = answeredAt - sentAt + KEPT_MS;
    expect(approved.filter(({ afterMs }) => afterMs > lateFrom)).toEqual([]);
    expect(told.filter((one) => one.id !== id)).toEqual([]);
  });
});

describe('a wrong code repeated with the same key', () => {
  it('costs one failure, on whichever nodes it is repeated', async () => {
    const person = people.pop()!;
    for (let i = 0; i < LOCKOUT_FAILURES - 1; i += 1) await sendEverywhere(person);
    const right = newAttempt(person.username, person.nextCode());
    expect(await repeat(cluster.nodes[0]!, right)).toMatchObject({ status: 'approved' });
  });

  it('locks the user out as the fifth of five, and only then', async () => {
    const person = people.pop()!;
    for (let i = 0; i < LOCKOUT_FAILURES; i += 1) await sendEverywhere(person);
    const right = newAttempt(person.username, person.nextCode());
    expect(await repeat(cluster.nodes[1]!, right)).toMatchObject({
      status: 'denied',
      reason: 'locked_out',
    });
  });
});

/** One wrong attempt: the answer is lost on the first node, and all three are asked again. */
async function sendEverywhere(person: Person): Promise<void> {
  const attempt = newAttempt(person.username, person.wrongCode());
  const [first, second, third] = inTurn(0);
  await loseReply(first, attempt, 'sent');
  const answers = await Promise.all([second, third, first].map((node) => repeat(node, attempt)));
  expect(answers.map(({ reason }) => reason)).toEqual(['wrong_code', 'wrong_code', 'wrong_code']);
  expect(new Set(answers.map(({ id }) => id)).size).toBe(1);
}

function newAttempt(username: string, code: string): Attempt {
  return { username, code, idempotencyKey: randomUUID() };
}

function inTurn(turn: number): [TestNode, TestNode, TestNode] {
  const [a, b, c] = cluster.nodes;
  const nodes = [a!, b!, c!];
  return [nodes[turn % 3]!, nodes[(turn + 1) % 3]!, nodes[(turn + 2) % 3]!];
}

async function repeat(node: TestNode, attempt: Attempt) {
  const { username, code, idempotencyKey } = attempt;
  const { status, body } = await cluster.api(node).verify({ username, code }, { idempotencyKey });
  expect(status, JSON.stringify(body)).toBe(200);
  return body;
}

async function loseReply(
  node: TestNode,
  attempt: Attempt,
  when: 'sent' | 'answered',
): Promise<void> {
  const { username, code, idempotencyKey } = attempt;
  const end = cluster.history.begin(0, {
    node: node.name,
    method: 'POST',
    path: '/api/v1/verifications',
    body: { username, code },
    idempotencyKey,
  });
  await sendAndHangUp(node.url, bytesOf(attempt), when);
  end('abandoned');
}

function bytesOf({ username, code, idempotencyKey }: Attempt): string {
  return requestBytes('POST', '/api/v1/verifications', {
    headers: {
      authorization: `Bearer ${cluster.apiKey}`,
      'content-type': 'application/json',
      'idempotency-key': idempotencyKey,
    },
    body: JSON.stringify({ username, code }),
  });
}

type VerificationEvent = {
  node: string;
  result: string | null;
  details: { verification?: string; repeated?: boolean };
};

/** The events of these verifications, once so many nodes have told of each and one of having judged it. */
async function untilToldBy(nodes: number, ids: string[]): Promise<VerificationEvent[]> {
  const api = cluster.api(cluster.nodes[0]!);
  return waitFor(
    'the events of every node',
    async () => {
      const path = '/api/v1/events?type=verification&limit=1000';
      const { events } = await api.done<{ events: VerificationEvent[] }>('GET', path);
      const found = ids.map((id) => events.filter(({ details }) => details.verification === id));
      const isComplete = found.every(
        (told) => told.length >= nodes && told.some(({ details }) => details.repeated !== true),
      );
      return isComplete ? found.flat() : null;
    },
    { timeoutMs: 20_000, everyMs: 200 },
  );
}
