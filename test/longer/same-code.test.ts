import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { waitFor } from '@countersign/testing';
import { freshConnections, type ApiClient } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { keepNatsDead } from '../harness/keep-dead.ts';
import { enrolPeople, enrolTotpPeople, type Person, type TotpPerson } from '../harness/people.ts';
import { isAlive } from '../harness/processes.ts';
import { report } from '../harness/report.ts';
import { findStreamLeader, untilStreamCurrent } from '../harness/stream-leader.ts';
import { VerificationLoad } from '../harness/workload.ts';
import { expectHistoryHolds } from '../history/expect-history-holds.ts';

const ROUNDS = process.env.COUNTERSIGN_LONG === '1' ? 300 : 60;
const STATES = 'KV_STATES-1';
/** How long a code that nobody was let in with is tried again. */
const RETRY_MS = 10_000;
/** For so long a node waits for the quorum. */
const QUORUM_WAIT_MS = 700;

type Round = {
  username: string;
  code: string;
  /** Of the six at once. */
  approved: number;
  degraded: number;
  /** Of those tried again, one after the other, where none of the six was. */
  approvedLater: number;
  /** The six at once. */
  tookMs: number;
  reasons: string[];
  errors: string[];
};

let cluster: TestCluster;
/** Two for each node. */
let clients: ApiClient[];
let people: Person[];
let totpPeople: TotpPerson[];
let bystanders: Person[];

beforeAll(async () => {
  cluster = await TestCluster.start({ workers: 2, relays: true });
  const api = cluster.api(await cluster.master());
  people = await enrolPeople(api, 'hotp', 40);
  totpPeople = await enrolTotpPeople(api, 'totp', 2 * ROUNDS);
  bystanders = await enrolPeople(api, 'bystander', 18);
  await cluster.untilDigestsEqual();
  clients = [...cluster.nodes, ...cluster.nodes].map((node) => cluster.api(node, freshConnections));
});
afterAll(async () => cluster?.[Symbol.asyncDispose]());

describe('the same code on all nodes at the same instant', () => {
  it('is approved exactly once in every round, whichever workers got it', async () => {
    await using load = steadyLoad();
    const rounds: Round[] = [];
    for (let i = 0; i < ROUNDS; i += 1) {
      const hotp = people[i % people.length]!;
      const totp = totpPeople.pop()!;
      for (const [username, code] of [
        [hotp.username, hotp.nextCode()],
        [totp.username, totp.codeNow()],
      ] as const) {
        const round = await playRound(username, code);
        if (round.approved === 0 && wasSilent(round)) await tryAgain(round);
        rounds.push(round);
      }
    }
    const beside = await load.stop();

    reportRounds('same code on all nodes', rounds, { besideFailed: beside.failed.length });
    expect(rounds.filter((round) => round.approved !== 1)).toEqual([]);
    expect(rounds.flatMap((round) => round.errors)).toEqual([]);
    expect(beside.failed).toEqual([]);
    expect(await workersThatVerified()).toHaveLength(2 * cluster.nodes.length);
    await expectHistoryHolds(cluster);
  });

  it('is never approved twice while the JetStream leader is killed, nor burnt', async () => {
    const leader = await findStreamLeader(cluster, STATES);
    await using load = steadyLoad();
    const playing = new Rounds();
    await waitFor('rounds', () => playing.count > 20, { timeoutMs: 40_000 });
    const { natsPid } = leader.pids;
    leader.strike('nats', 'SIGKILL');
    const killedAt = performance.now();
    await waitFor('the leader to be gone', () => !isAlive(natsPid!), { timeoutMs: 10_000 });
    await untilStreamCurrent(cluster, STATES);
    await cluster.untilWhole();
    const backAfterMs = performance.now() - killedAt;
    const after = playing.count;
    await waitFor('rounds after the fault', () => playing.count > after + 20, {
      timeoutMs: 40_000,
    });
    const rounds = await playing.stop();
    const beside = await load.stop();

    reportRounds('same code, JetStream leader killed -9', rounds, {
      backAfterMs: Math.round(backAfterMs),
      besideApproved: beside.approved,
      besideFailed: beside.failed.length,
      besideLongestGapMs: beside.longestGapMs,
    });
    expect(beside.failed).toEqual([]);
    await expectNoneTwiceNorBurnt(rounds);
  });

  it('is never approved twice while one node is slow to reach JetStream, nor burnt', async () => {
    const slowNode = cluster.node('node-3');
    cluster.history.beginFault(`${slowNode.name} 2 s from JetStream`, { nodes: [slowNode.name] });
    const bringBack = keepNatsDead([slowNode]);
    await untilOnRelays(slowNode);
    await findStreamLeader(cluster, STATES);
    const links = cluster.relays.filter(({ from }) => from === slowNode.name);
    await using load = steadyLoad();
    for (const { relay } of links) {
      relay.slow(2000, (name) => name.startsWith(`${slowNode.name} `) && !name.endsWith('asks'));
    }
    const playing = new Rounds();
    await waitFor('rounds', () => playing.count >= 2 * ROUNDS, {
      timeoutMs: ROUNDS * 2000,
    });
    const rounds = await playing.stop();
    for (const { relay } of links) relay.slow(0, () => false);
    await bringBack();
    await cluster.untilWhole();
    const beside = await load.stop();

    reportRounds('same code, one node 2 s from JetStream', rounds, {
      besideApproved: beside.approved,
      besideDegraded: beside.degraded,
      besideFailed: beside.failed.length,
    });
    expect(rounds.some((round) => round.degraded > 0) || beside.degraded > 0).toBe(true);
    expect(beside.failed).toEqual([]);
    await expectNoneTwiceNorBurnt(rounds);
  });
});

/** Plays rounds, one after the other, until told to stop. */
class Rounds {
  readonly #rounds: Round[] = [];
  #isStopped = false;
  readonly #playing = this.#play();

  get count(): number {
    return this.#rounds.length;
  }

  async stop(): Promise<Round[]> {
    this.#isStopped = true;
    await this.#playing;
    return this.#rounds;
  }

  async #play(): Promise<void> {
    for (let turn = 0; !this.#isStopped; turn += 1) {
      // Every third with a TOTP token, as long as there are fresh ones.
      const totp = turn % 3 === 0 ? totpPeople.pop() : undefined;
      const person = people[turn % people.length]!;
      const { username } = totp ?? person;
      const round = await playRound(username, totp?.codeNow() ?? person.nextCode());
      if (round.approved === 0) await tryAgain(round);
      this.#rounds.push(round);
    }
  }
}

async function playRound(username: string, code: string): Promise<Round> {
  const round: Round = {
    username,
    code,
    approved: 0,
    degraded: 0,
    approvedLater: 0,
    tookMs: 0,
    reasons: [],
    errors: [],
  };
  const startedAt = performance.now();
  await Promise.all(clients.map((api) => attempt(api, round)));
  round.tookMs = performance.now() - startedAt;
  return round;
}

async function attempt(api: ApiClient, round: Round): Promise<boolean> {
  const { username, code } = round;
  try {
    const { status, body } = await api.verify({ username, code }, { timeoutMs: 5000 });
    if (status === 200 && body.status === 'approved') {
      round.approved += 1;
      if (body.degraded) round.degraded += 1;
      return true;
    }
    if (status === 200) round.reasons.push(body.reason ?? '');
    else round.errors.push(`${status} ${body.code}`);
  } catch (error) {
    round.errors.push(String(error));
  }
  return false;
}

/** The same code in new attempts, as a person would who was not let in. */
async function tryAgain(round: Round): Promise<void> {
  const until = performance.now() + RETRY_MS;
  for (let i = 0; performance.now() < until; i += 1) {
    if (await attempt(clients[i % clients.length]!, round)) {
      round.approvedLater = 1;
      return;
    }
  }
}

/** The user states stood still by themselves: nodes judge alone then, and may deny all six. */
function wasSilent(round: Round): boolean {
  return round.tookMs >= QUORUM_WAIT_MS;
}

function burntOf(rounds: Round[]): Round[] {
  return rounds.filter((round) => round.approved === 0);
}

async function expectNoneTwiceNorBurnt(rounds: Round[]): Promise<void> {
  // Nodes that share a machine may not hear of each other for 150 ms; whether that was so is judged with the history.
  const twice = rounds.filter((round) => round.approved > 1);
  expect(twice.length / rounds.length, JSON.stringify(twice)).toBeLessThanOrEqual(0.02);
  expect(rounds.flatMap((round) => round.errors)).toEqual([]);
  expect(
    burntOf(rounds).length / rounds.length,
    JSON.stringify(burntOf(rounds)),
  ).toBeLessThanOrEqual(0.01);
  // Nor is any of those codes good again once the quorum is back.
  await cluster.untilDigestsEqual();
  const last = [...new Map(rounds.map((round) => [round.username, round])).values()];
  const again = await Promise.all(
    last.map(async (round, i) => {
      const { username, code } = round;
      const { body } = await clients[i % clients.length]!.verify({ username, code });
      return { username, code, status: body.status };
    }),
  );
  expect(again.filter(({ status }) => status !== 'denied')).toEqual([]);
  await expectHistoryHolds(cluster);
}

function reportRounds(what: string, rounds: Round[], more: Record<string, number>): void {
  report(what, {
    rounds: rounds.length,
    approvedOnce: rounds.filter((round) => round.approved === 1).length,
    approvedTwice: rounds.filter((round) => round.approved > 1).length,
    degraded: rounds.filter((round) => round.degraded > 0).length,
    onlyWhenTriedAgain: rounds.filter((round) => round.approvedLater > 0).length,
    burnt: burntOf(rounds).length,
    ...more,
  });
}

function steadyLoad(): VerificationLoad {
  return new VerificationLoad({
    clients: cluster.nodes.map((node) => ({ name: node.name, api: cluster.api(node) })),
    people: bystanders,
    everyMs: 200,
  });
}

/** Labels of the workers that say they have judged something, over all nodes. */
async function workersThatVerified(): Promise<string[]> {
  const found = new Set<string>();
  await waitFor(
    'the metrics of every worker',
    async () => {
      for (const { url } of clients) {
        const response = await fetch(`${url}/metrics`, { headers: { connection: 'close' } });
        const counted =
          /^countersign_verifications_total\{.*node="([^"]+)",worker="(\d+)".*\} [1-9]/m;
        const [, node, worker] = counted.exec(await response.text()) ?? [];
        if (node) found.add(`${node} worker ${worker}`);
      }
      return found.size === 2 * cluster.nodes.length;
    },
    { timeoutMs: 30_000 },
  );
  return [...found];
}

/** While its own log server is away, its processes work with another node's, behind a relay. */
async function untilOnRelays(node: TestNode): Promise<void> {
  const links = cluster.relays.filter(({ from }) => from === node.name);
  const wanted = [0, 1].flatMap((i) => [
    `${node.name} worker ${i}`,
    `${node.name} worker ${i} asks`,
  ]);
  await waitFor(
    `${node.name} to reach the other log servers`,
    () => {
      const connected = links.flatMap(({ relay }) => relay.clientNames());
      return wanted.every((name) => connected.includes(name));
    },
    { timeoutMs: 40_000 },
  );
}
