import { randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { BARRIER_MESSAGES, ChangeLog } from './change-log.ts';
import { followStream, type FollowedMessage } from './follow-stream.ts';
import { ensureStreams, findOrBeginIncarnation, type Incarnation } from './incarnation.ts';
import { publishIf, readStreamState } from './jetstream.ts';
import { Lease, LEASE_TIMES, type Term } from './lease.ts';
import { namesOf } from './names.ts';
import { NatsLink, type Log, type Sealer } from './nats-link.ts';
import { UserStates } from './user-states.ts';

const silent: Log = { info() {}, warn() {} };
const plain: Sealer = { seal: (bytes) => bytes, open: (bytes) => bytes };
// No test of the lease is about a log that answers late.
const times = { ...LEASE_TIMES, requestTimeoutMs: 5000 };
const limits = { changesBytes: 64 << 20, statesBytes: 32 << 20, eventsBytes: 16 << 20 };

let nats: TestNats;
const links: NatsLink[] = [];
let incarnation: Incarnation;

function connect(name: string, first = 0): NatsLink {
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const link = new NatsLink({
    servers: [...servers.slice(first), ...servers.slice(0, first)],
    user: nats.user,
    password: nats.password,
    name,
    log: silent,
  });
  links.push(link);
  return link;
}

async function untilWorks<T>(work: () => Promise<T>): Promise<T> {
  let result: { value: T } | null = null;
  await waitFor(
    'JetStream',
    async () => {
      result = { value: await work() };
      return true;
    },
    { timeoutMs: 30_000, everyMs: 100 },
  );
  return result!.value;
}

beforeAll(async () => {
  nats = await startTestNats({ servers: 3 });
  const link = connect('setup');
  const found = await Promise.all(
    [link, connect('setup 2', 1), connect('setup 3', 2)].map((each) =>
      untilWorks(() => findOrBeginIncarnation(each, { logReplicas: 3 })),
    ),
  );
  expect(new Set(found.map(({ id }) => id)).size).toBe(1);
  incarnation = found[0]!;
  await untilWorks(() => ensureStreams(link, namesOf(1), { logReplicas: 3, limits }));
}, 60_000);

afterAll(async () => {
  await Promise.all(links.map((link) => link.close()));
  await nats.stop();
});

function follow(link: NatsLink, signal: AbortSignal): FollowedMessage[] {
  const seen: FollowedMessage[] = [];
  void followStream({
    link,
    stream: namesOf(1).changes,
    nextSequence: () => (seen.at(-1)?.sequence ?? 0) + 1,
    onBatch: async (messages) => {
      seen.push(...messages);
    },
    maxBatch: 500,
    signal,
    log: silent,
  });
  return seen;
}

function change(epoch: number, id: string) {
  return {
    epoch,
    changeId: randomUUID(),
    commandId: null,
    kind: 'user',
    id,
    at: new Date().toISOString(),
    actor: 'test',
    removed: false,
    document: { id },
    commands: [],
  };
}

describe('the change log', () => {
  it('refuses every straggler of an older master behind a new barrier', async () => {
    const link = connect('master');
    const log = new ChangeLog(link, incarnation, plain);
    const first = await log.raiseBarrier({ epoch: 1, instance: 'a', node: 'node-1', leastEnd: 0 });
    if (first.kind !== 'stands') throw new Error(first.kind);
    const written = await log.append(change(1, randomUUID()), first.end);
    expect(written).toEqual({ kind: 'stored', sequence: first.end + 1 });

    const second = await log.raiseBarrier({ epoch: 2, instance: 'b', node: 'node-2', leastEnd: 0 });
    if (second.kind !== 'stands') throw new Error(second.kind);
    expect(second.end).toBe(first.end + 1 + BARRIER_MESSAGES);
    // The old master's pipeline goes on behind its position: nothing of it lands.
    const stragglers = await Promise.all(
      Array.from({ length: 128 }, (_, i) => log.append(change(1, randomUUID()), first.end + 1 + i)),
    );
    expect(stragglers.filter(({ kind }) => kind !== 'refused')).toEqual([]);
  });

  it('makes a master resign that begins an epoch which is not the newest', async () => {
    const log = new ChangeLog(connect('late master'), incarnation, plain);
    const outcome = await log.raiseBarrier({
      epoch: 2,
      instance: 'c',
      node: 'node-3',
      leastEnd: 0,
    });
    expect(outcome).toEqual({ kind: 'superseded', epoch: 2 });
  });

  it('is followed in order and completely while the server that delivers is killed', async () => {
    const stop = new AbortController();
    const follower = connect('follower', 2);
    const seen = follow(follower, stop.signal);
    const writer = connect('writer', 0);
    const log = new ChangeLog(writer, incarnation, plain);
    const barrier = await log.raiseBarrier({
      epoch: 3,
      instance: 'd',
      node: 'node-1',
      leastEnd: 0,
    });
    if (barrier.kind !== 'stands') throw new Error(barrier.kind);
    let end = barrier.end;
    const append = async () => {
      const outcome = await log.append(change(3, randomUUID()), end);
      if (outcome.kind === 'stored') end = outcome.sequence;
      else {
        // Refused where one that went unanswered has landed after the end was read.
        const state = await readStreamState(writer, namesOf(1).changes, 1000);
        end = state?.lastSequence ?? end;
      }
    };
    for (let i = 0; i < 50; i += 1) await append();
    await waitFor('the follower', () => seen.at(-1)?.sequence === end, { timeoutMs: 20_000 });
    await nats.kill(2);
    const goal = end + 50;
    while (end < goal) await append();
    await waitFor('the follower after the kill', () => seen.at(-1)?.sequence === end, {
      timeoutMs: 20_000,
    });
    stop.abort();
    const sequences = seen.map(({ sequence }) => sequence);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(new Set(sequences).size).toBe(sequences.length);
    expect(sequences.filter((sequence) => sequence > barrier.end)).toHaveLength(end - barrier.end);
    await nats.restart(2);
  }, 60_000);
});

describe('user states', () => {
  it('have exactly one winner when 12 write from the same revision, every time', async () => {
    const writers = [0, 1, 2].map((i) => new UserStates(connect(`states ${i}`, i), 1));
    for (const [i, writer] of writers.entries()) {
      await waitFor('writes through each server', () => writer.probe(`t${i}`, 500), {
        timeoutMs: 20_000,
      });
    }
    for (let round = 0; round < 40; round += 1) {
      const userId = randomUUID();
      const outcomes = await Promise.all(
        Array.from({ length: 12 }, (_, i) =>
          writers[i % 3]!.write(userId, Buffer.from(`{"by":${i}}`), 0, 10_000),
        ),
      );
      const written = outcomes.filter(({ kind }) => kind === 'written');
      expect(written).toHaveLength(1);
      expect(outcomes.filter(({ kind }) => kind !== 'written' && kind !== 'conflict')).toEqual([]);
    }
  }, 60_000);
});

describe('the lease', () => {
  it('has one holder, a new epoch at each gain, and none can write under an old one', async () => {
    const history: { node: string; epoch: number; gained: boolean }[] = [];
    const terms = new Map<string, Term>();
    const start = (node: string, i: number) => {
      const stop = new AbortController();
      const lease = new Lease({
        link: connect(node, i),
        incarnationNumber: 1,
        baseEpoch: 0,
        node,
        instance: randomUUID(),
        isPromotable: true,
        // Longer than anything here is waited for: nobody takes it because its holder is silent.
        policy: () => ({ mode: 'automatic', afterMs: 60_000 }),
        isFit: () => true,
        times,
        onGain(term) {
          history.push({ node, epoch: term.epoch, gained: true });
          terms.set(node, term);
        },
        onLoss: () => history.push({ node, epoch: 0, gained: false }),
        onMoved() {},
        log: silent,
      });
      return { lease, stop, run: lease.run(stop.signal) };
    };
    const a = start('node-a', 0);
    await waitFor('the first holder', () => a.lease.isHeld, { timeoutMs: 15_000 });
    const b = start('node-b', 1);
    const firstTerm = terms.get('node-a')!;
    expect(firstTerm.isValid()).toBe(true);

    // Planned hand-over, and back.
    expect(await a.lease.offerTo('node-b')).toBe(true);
    expect(firstTerm.isValid()).toBe(false);
    expect(firstTerm.signal.aborted).toBe(true);
    expect(await b.lease.claimOffer()).toBe(true);
    expect(terms.get('node-b')!.epoch).toBe(firstTerm.epoch + 1);
    expect(a.lease.isHeld).toBe(false);

    // An unclaimed offer falls back to the giver as a further epoch.
    expect(await b.lease.offerTo('node-c')).toBe(true);
    await waitFor('the fall-back', () => b.lease.isHeld, { timeoutMs: 12_000 });
    expect(terms.get('node-b')!.epoch).toBe(firstTerm.epoch + 2);

    // The same holder after doubt: another epoch.
    expect(await b.lease.beginNextEpoch('test')).toBe(true);
    expect(terms.get('node-b')!.epoch).toBe(firstTerm.epoch + 3);

    // A holder that stops hands the lease on at once.
    b.stop.abort();
    await b.run;
    await waitFor('the next holder', () => a.lease.isHeld, { timeoutMs: 12_000 });
    const epochs = history.filter(({ gained }) => gained).map(({ epoch }) => epoch);
    expect(epochs).toEqual(epochs.toSorted((x, y) => x - y));
    expect(new Set(epochs).size).toBe(epochs.length);
    a.stop.abort();
    await a.run;
  }, 60_000);

  it('is not taken from a holder that renews, and is taken after a silent one', async () => {
    const link = connect('lease reader');
    const silentHolder = {
      holder: 'node-z',
      instance: 'z',
      epoch: 900,
      since: '',
      previous: 'node-z',
      offeredTo: null,
    };
    const key = namesOf(1).leaseKey;
    let revision = await untilWorks(async () => {
      const state = await readStreamState(link, namesOf(1).lease, 5000);
      const outcome = await publishIf(
        link,
        key,
        Buffer.from(JSON.stringify(silentHolder)),
        { lastSubjectSequence: state!.lastSequence },
        5000,
      );
      if (outcome.kind !== 'stored') throw new Error(outcome.kind);
      return outcome.sequence;
    });
    const stop = new AbortController();
    let gainedAt = 0;
    const lease = new Lease({
      link: connect('candidate', 1),
      incarnationNumber: 1,
      baseEpoch: 0,
      node: 'node-y',
      instance: randomUUID(),
      isPromotable: true,
      policy: () => ({ mode: 'automatic', afterMs: 5000 }),
      isFit: () => true,
      times,
      onGain: () => {
        gainedAt = performance.now();
      },
      onLoss() {},
      onMoved() {},
      log: silent,
    });
    const run = lease.run(stop.signal);
    let renewedAt = 0;
    for (let i = 0; i < 16; i += 1) {
      renewedAt = performance.now();
      const outcome = await publishIf(
        link,
        key,
        Buffer.from(JSON.stringify(silentHolder)),
        { lastSubjectSequence: revision },
        5000,
      );
      if (outcome.kind !== 'stored') throw new Error(outcome.kind);
      revision = outcome.sequence;
      expect(await lease.takeOver(500)).toBe('held');
    }
    await waitFor('the take-over', () => gainedAt > 0, { timeoutMs: 12_000 });
    expect(gainedAt - renewedAt).toBeGreaterThan(4500);
    expect(lease.record?.epoch).toBe(901);
    stop.abort();
    await run;
  }, 60_000);
});
