import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteStream, ensureStream, publishIf, readStreamState } from './jetstream.ts';
import { lastValues } from './last-values.ts';
import { Lease, LEASE_TIMES, type LeaseRecord, type LeaseTimes, type Term } from './lease.ts';
import type { LogLayout } from './log-layout.ts';
import { namesOf } from './names.ts';
import { NatsLink, type Log } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };
const times: LeaseTimes = {
  ...LEASE_TIMES,
  ttlMs: 400,
  renewMs: 100,
  skewMs: 50,
  afterFailedReadsMs: 150,
  // No test is about a log that answers late.
  requestTimeoutMs: 5000,
};

let nats: TestNats;
let link: NatsLink;

beforeAll(async () => {
  nats = await startTestNats({ servers: 1 });
  const servers = nats.urls.map((url) => url.replace('nats://', ''));
  const { user, password } = nats;
  link = new NatsLink({ servers, user, password, name: 'test', log: silent });
}, 60_000);

afterAll(async () => {
  await link.close();
  await nats.stop();
});

async function makeBucket(incarnationNumber: number): Promise<void> {
  const { lease, allLease } = namesOf(incarnationNumber);
  const config = lastValues({
    name: lease,
    subjects: allLease,
    logReplicas: 1,
    maxBytes: 1 << 20,
    allowDirect: false,
  });
  const make = () => ensureStream(link, config, 500).then(() => true);
  await waitFor('the bucket', make, { timeoutMs: 10_000 });
}

function candidate(
  incarnationNumber: number,
  node: string,
  mode: 'automatic' | 'manual',
  differs: Partial<LeaseTimes> = {},
) {
  const stop = new AbortController();
  const terms: Term[] = [];
  const moved: { to: string; at: number }[] = [];
  const lease = new Lease({
    link,
    incarnationNumber,
    baseEpoch: 0,
    node,
    instance: randomUUID(),
    isPromotable: true,
    policy: () => ({ mode, afterMs: times.ttlMs + times.skewMs }),
    isFit: () => true,
    onGain: (term) => terms.push(term),
    onLoss() {},
    onMoved: ({ tag }) => moved.push({ to: tag, at: performance.now() }),
    times: { ...times, ...differs },
    log: silent,
  });
  return { lease, terms, moved, stop, run: lease.run(stop.signal) };
}

describe('an offer whose giver and taker both died', () => {
  it('goes to another node by itself only where fail-over is automatic', async () => {
    const offer: LeaseRecord = {
      holder: null,
      instance: null,
      epoch: 5,
      since: '',
      previous: 'node-1',
      offeredTo: 'node-2',
    };
    for (const number of [1, 2]) {
      await makeBucket(number);
      const bytes = Buffer.from(JSON.stringify(offer));
      await publishIf(link, namesOf(number).leaseKey, bytes, { lastSubjectSequence: 0 }, 5000);
    }
    const automatic = candidate(1, 'node-3', 'automatic');
    const manual = candidate(2, 'node-3', 'manual');
    await waitFor('the automatic one', () => automatic.lease.isHeld, { timeoutMs: 8000 });
    // By now it has waited as long as the other had to, and once more.
    const until = performance.now() + 3 * times.ttlMs;
    await waitFor('time', () => performance.now() > until, { timeoutMs: 5000 });
    expect(manual.lease.isHeld).toBe(false);
    expect(await manual.lease.takeOver(8000)).toBe('taken');
    expect(manual.lease.record?.epoch).toBe(6);
    for (const { stop, run } of [automatic, manual]) {
      stop.abort();
      await run;
    }
  }, 30_000);
});

describe('a lease whose bucket lost its last renewals', () => {
  it('is kept by its holder and seen by the others', async () => {
    await makeBucket(3);
    const holder = candidate(3, 'node-1', 'automatic');
    await waitFor('the holder', () => holder.lease.isHeld, { timeoutMs: 8000 });
    // It waits longer than this test may stand still.
    const patience = { ttlMs: 3000 };
    const other = candidate(3, 'node-2', 'automatic', patience);
    const name = namesOf(3).lease;
    const isRenewed = async () => ((await readStreamState(link, name, 500))?.lastSequence ?? 0) > 5;
    await waitFor('renewals', isRenewed, { timeoutMs: 8000 });
    await waitFor('the watcher', () => other.lease.record !== null, { timeoutMs: 8000 });

    const record = Buffer.from(JSON.stringify(holder.lease.record));
    await deleteStream(link, name, 5000);
    await makeBucket(3);
    await publishIf(link, namesOf(3).leaseKey, record, { lastSubjectSequence: 0 }, 5000);
    // Longer than any of them would wait for anything.
    await sleep(1.5 * patience.ttlMs);
    await waitFor('the holder', () => holder.lease.isHeld, { timeoutMs: 8000 });
    expect(other.terms).toEqual([]);
    holder.stop.abort();
    await holder.run;
    await waitFor('the other', () => other.lease.isHeld, { timeoutMs: 8000 });
    other.stop.abort();
    await other.run;
  }, 30_000);
});

describe('a log that its master closed', () => {
  const next: LogLayout = { tag: 'next', servers: [], by: 'node-1', disasterAt: null };

  it('is taken by nobody any more, and sends away who finds it so', async () => {
    await makeBucket(4);
    const master = candidate(4, 'node-1', 'automatic', { ttlMs: LEASE_TIMES.ttlMs });
    await waitFor('the master', () => master.lease.isHeld, { timeoutMs: 8000 });
    const other = candidate(4, 'node-2', 'manual');
    await waitFor('the watcher', () => other.lease.record !== null, { timeoutMs: 8000 });
    const closedAt = performance.now();
    expect(await master.lease.closeLog(next, master.terms[0]!)).toBe('closed');
    expect(master.terms[0]!.isValid()).toBe(false);

    const newcomer = candidate(4, 'node-3', 'automatic');
    await waitFor('the newcomer', () => newcomer.moved.length > 0, { timeoutMs: 5000 });
    await waitFor('the watcher', () => other.moved.length > 0, { timeoutMs: 5000 });
    expect(other.moved[0]).toMatchObject({ to: 'next' });
    expect(newcomer.moved[0]).toMatchObject({ to: 'next' });
    expect(newcomer.moved[0]!.at).toBeLessThan(other.moved[0]!.at);
    expect(other.moved[0]!.at - closedAt).toBeGreaterThanOrEqual(times.ttlMs);
    // Longer than an unclaimed offer would stand, and by command too.
    expect(await other.lease.takeOver(4 * times.ttlMs)).toBe('held');
    expect(await newcomer.lease.claimOffer()).toBe(false);
    for (const { lease, terms, stop, run } of [master, other, newcomer]) {
      expect(lease.isHeld).toBe(false);
      expect(terms).toHaveLength(lease === master.lease ? 1 : 0);
      stop.abort();
      await run;
    }
    expect(other.lease.record).toMatchObject({ holder: null, movedTo: next });
  }, 30_000);

  it('stays open where another took over meanwhile', async () => {
    await makeBucket(5);
    const master = candidate(5, 'node-1', 'automatic', { ttlMs: LEASE_TIMES.ttlMs });
    await waitFor('the master', () => master.lease.isHeld, { timeoutMs: 8000 });
    const record: LeaseRecord = { ...master.lease.record!, holder: 'node-2', instance: 'two' };
    await overwrite(5, { ...record, epoch: 2 });
    expect(await master.lease.closeLog(next, master.terms[0]!)).toBe('kept');
    const other = candidate(5, 'node-3', 'manual');
    await waitFor('a look', () => other.lease.record !== null, { timeoutMs: 5000 });
    expect(other.lease.record).toMatchObject({ holder: 'node-2', epoch: 2 });
    expect(other.lease.record).not.toHaveProperty('movedTo');
    for (const { stop, run } of [master, other]) {
      stop.abort();
      await run;
    }
  }, 30_000);

  it('stays with its master, as the next epoch, where that could not close it', async () => {
    await makeBucket(6);
    // What follows at once is done before it renews, and would learn where its record stands.
    const seldom = { ttlMs: 12_000, renewMs: 3000 };
    const master = candidate(6, 'node-1', 'automatic', seldom);
    await waitFor('the master', () => master.lease.isHeld, { timeoutMs: 8000 });
    // Like a renewal of its own that landed without an answer.
    await overwrite(6, master.lease.record!);
    expect(await master.lease.closeLog(next, master.terms[0]!)).toBe('kept');
    await waitFor('the next epoch', () => master.terms.length === 2, { timeoutMs: 10_000 });
    expect(master.terms[1]).toMatchObject({ epoch: 2 });

    const { record } = master.lease;
    await deleteStream(link, namesOf(6).lease, 5000);
    expect(await master.lease.closeLog(next, master.terms[1]!)).toBe('unknown');
    await makeBucket(6);
    await overwrite(6, record!);
    await waitFor('the third epoch', () => master.terms.length === 3, { timeoutMs: 10_000 });
    expect(await master.lease.closeLog(next, master.terms[1]!)).toBe('kept');
    expect(await master.lease.closeLog(next, master.terms[2]!)).toBe('closed');
    master.stop.abort();
    await master.run;
  }, 30_000);

  it('is taken for open where the log servers lost that record again', async () => {
    await makeBucket(7);
    const open: LeaseRecord = {
      holder: 'node-1',
      instance: 'one',
      epoch: 1,
      since: '',
      previous: 'node-1',
      offeredTo: null,
    };
    await overwrite(7, open);
    // All below is done before it goes by what stands there.
    const patience = { ttlMs: 4000 };
    const other = candidate(7, 'node-2', 'manual', patience);
    await waitFor('a look', () => other.lease.record !== null, { timeoutMs: 5000 });
    await overwrite(7, { ...open, holder: null, instance: null, movedTo: next });
    await waitFor('the closing', () => other.lease.record?.movedTo, {
      timeoutMs: 5000,
      everyMs: 5,
    });
    await deleteStream(link, namesOf(7).lease, 5000);
    await makeBucket(7);
    // The same number of records as before.
    await overwrite(7, open);
    await overwrite(7, open);
    await sleep(1.5 * patience.ttlMs);
    expect(other.moved).toEqual([]);
    expect(other.lease.record).toEqual(open);
    other.stop.abort();
    await other.run;
  }, 30_000);
});

/** Puts a record in the place of the one that stands. */
async function overwrite(incarnationNumber: number, record: LeaseRecord): Promise<void> {
  const { lease, leaseKey } = namesOf(incarnationNumber);
  const bytes = Buffer.from(JSON.stringify(record));
  await waitFor(
    'the record to stand',
    async () => {
      const lastSubjectSequence = (await readStreamState(link, lease, 5000))?.lastSequence ?? 0;
      const outcome = await publishIf(link, leaseKey, bytes, { lastSubjectSequence }, 5000);
      return outcome.kind === 'stored';
    },
    { timeoutMs: 15_000, everyMs: 1 },
  );
}
