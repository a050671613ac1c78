import {
  Membership,
  namesOf,
  readStreamState,
  UserStates,
  type NatsLink,
} from '@countersign/cluster';
import { waitFor } from '@countersign/testing';
import { expect, it } from 'vitest';
import type { Plan } from './commands/plan.ts';
import type { DiskReport, LogServerHealth } from './config.ts';
import { LimitKeeper } from './limit-keeper.ts';
import { Storage } from './storage.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const MIB = 1024 * 1024;
const limits = { changesBytes: 8 * MIB, statesBytes: MIB, eventsBytes: 4 * MIB };

const add: Extract<Plan, { kind: 'change' }> = {
  kind: 'change',
  document: { kind: 'user', id: 'a', removed: false, content: {} },
  result: {},
  event: { userId: null, username: null },
};
const remove = { ...add, document: { ...add.document, removed: true } };

async function startStorage(disks: DiskReport[] = []) {
  const link = test.connect();
  const { number } = await test.beginIncarnation(link);
  const healths: LogServerHealth[] = [];
  const storage = new Storage({
    node: 'node-1',
    link,
    membership: new Membership(link),
    incarnationNumber: number,
    limits,
    disks: () => disks,
    isLogWritable: () => true,
    tellSupervisor: ({ health }) => healths.push(health),
  });
  const stop = new AbortController();
  const running = storage.run(stop.signal);
  test.atEnd(() => {
    stop.abort();
    return running;
  });
  return { link, number, storage, healths };
}

/** States of 4 KiB each until the bucket is that full. */
async function fillStates(link: NatsLink, number: number, part: number): Promise<void> {
  const states = new UserStates(link, number);
  const stream = namesOf(number).states;
  for (let i = 0; ; i += 1) {
    const state = await readStreamState(link, stream, 2000);
    if (state && state.sizeBytes >= state.maxBytes * part) return;
    await states.write(`${part}-${i}`, Buffer.alloc(4096), 0, 2000);
  }
}

it('a stream is an alarm from 80 % and takes only removals and blocks from 90 %', async () => {
  const { link, number, storage, healths } = await startStorage();
  await waitFor('a first look', () => healths.includes('working'), { timeoutMs: 10_000 });
  expect(storage.problems()).toEqual([]);
  expect(storage.refusalOf('user.add', add)).toBeNull();

  await fillStates(link, number, 0.81);
  await waitFor('the alarm', () => storage.problems().length === 1, { timeoutMs: 10_000 });
  expect(storage.problems()[0]).toMatch(/user states is 8\d % full: raise limits.statesBytes/);
  expect(storage.refusalOf('user.add', add)).toBeNull();

  await fillStates(link, number, 0.91);
  const refusal = await waitFor('the refusal', () => storage.refusalOf('user.add', add), {
    timeoutMs: 10_000,
  });
  expect(refusal).toMatchObject({ status: 507, code: 'log_full' });
  expect(storage.refusalOf('user.remove', remove)).toBeNull();
  expect(storage.refusalOf('user.block', add)).toBeNull();
  expect(storage.refusalOf('settings.set', add)).toMatchObject({ code: 'log_full' });
});

it('a raised limit is in force once the master has looked, and one that is too small is told', async () => {
  const { link, number, storage } = await startStorage();
  await fillStates(link, number, 0.91);
  await waitFor('the refusal', () => storage.refusalOf('user.add', add), { timeoutMs: 10_000 });

  const raised = new LimitKeeper({
    link,
    limits: { ...limits, statesBytes: 2 * MIB },
    log: silent,
  });
  await raised.tend(number);
  expect(raised.problems).toEqual([]);
  await waitFor('room', () => storage.refusalOf('user.add', add) === null, { timeoutMs: 10_000 });

  const cut = { ...limits, statesBytes: 64 * 1024, eventsBytes: 2 * MIB };
  const tooSmall = new LimitKeeper({ link, limits: cut, log: silent });
  await tooSmall.tend(number);
  expect(tooSmall.problems).toHaveLength(1);
  expect(tooSmall.problems[0]).toContain('limits.statesBytes is not in force');
  const { states, events } = namesOf(number);
  expect((await readStreamState(link, states, 10_000))?.maxBytes).toBe(2 * MIB);
  expect((await readStreamState(link, events, 10_000))?.maxBytes).toBe(2 * MIB);
});

it('a master whose PostgreSQL has no room says so, and is not fit', async () => {
  const { storage } = await startStorage([
    { parts: ['log', 'database'], state: 'full', freeBytes: 3 * MIB, totalBytes: 100 * MIB },
  ]);
  expect(storage.disks).toEqual({ log: 'full', database: 'full' });
  expect(storage.defect).toContain('PostgreSQL');
  expect(storage.problems()).toEqual([
    'the disk under its log and its PostgreSQL is full: 3 MiB of 100 MiB free',
  ]);
  expect(storage.refusalOf('user.add', add)).toMatchObject({ status: 507, code: 'disk_full' });
  expect(storage.refusalOf('user.remove', remove)).toBeNull();
});
