import { randomUUID } from 'node:crypto';
import { startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { deleteStream, ensureStream, publishIf, readStreamState } from './jetstream.ts';
import { Lease, LEASE_TIMES, type LeaseRecord } from './lease.ts';
import { namesOf } from './names.ts';
import { NatsLink, type Log } from './nats-link.ts';

const silent: Log = { info() {}, warn() {} };
const times = { ...LEASE_TIMES, ttlMs: 400, renewMs: 100, skewMs: 50, afterFailedReadsMs: 150 };

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
  const config = {
    name: lease,
    subjects: [allLease],
    num_replicas: 1,
    max_msgs_per_subject: 1,
    max_bytes: 1 << 20,
    discard: 'new' as const,
    allow_direct: false,
  };
  const make = () => ensureStream(link, config, 500).then(() => true);
  await waitFor('the bucket', make, { timeoutMs: 10_000 });
}

function candidate(incarnationNumber: number, node: string, mode: 'automatic' | 'manual') {
  const stop = new AbortController();
  let gains = 0;
  const lease = new Lease({
    link,
    incarnationNumber,
    baseEpoch: 0,
    node,
    instance: randomUUID(),
    isPromotable: true,
    policy: () => ({ mode, afterMs: times.ttlMs + times.skewMs }),
    isFit: () => true,
    onGain: () => (gains += 1),
    onLoss() {},
    times,
    log: silent,
  });
  return { lease, stop, run: lease.run(stop.signal), gains: () => gains };
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
      await publishIf(link, namesOf(number).leaseKey, bytes, { lastSubjectSequence: 0 }, 1000);
    }
    const automatic = candidate(1, 'node-3', 'automatic');
    const manual = candidate(2, 'node-3', 'manual');
    await waitFor('the automatic one', () => automatic.lease.isHeld, { timeoutMs: 8000 });
    // By now it has waited as long as the other had to, and once more.
    const until = performance.now() + 3 * times.ttlMs;
    await waitFor('time', () => performance.now() > until, { timeoutMs: 5000 });
    expect(manual.lease.isHeld).toBe(false);
    expect(await manual.lease.takeOver(2000)).toBe('taken');
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
    const other = candidate(3, 'node-2', 'automatic');
    const name = namesOf(3).lease;
    const isRenewed = async () => ((await readStreamState(link, name, 500))?.lastSequence ?? 0) > 5;
    await waitFor('renewals', isRenewed, { timeoutMs: 8000 });
    await waitFor('the watcher', () => other.lease.record !== null, { timeoutMs: 8000 });

    const record = Buffer.from(JSON.stringify(holder.lease.record));
    await deleteStream(link, name, 1000);
    await makeBucket(3);
    await publishIf(link, namesOf(3).leaseKey, record, { lastSubjectSequence: 0 }, 1000);
    // Longer than any of them would wait for anything.
    const until = performance.now() + 4 * times.ttlMs;
    await waitFor('time', () => performance.now() > until, { timeoutMs: 5000 });
    await waitFor('the holder', () => holder.lease.isHeld, { timeoutMs: 8000 });
    expect(other.gains()).toBe(0);
    holder.stop.abort();
    await holder.run;
    await waitFor('the other', () => other.lease.isHeld, { timeoutMs: 8000 });
    other.stop.abort();
    await other.run;
  }, 30_000);
});
