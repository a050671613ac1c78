import { randomUUID } from 'node:crypto';
import {
  ChangeLog,
  namesOf,
  readNextDirect,
  readStreamState,
  UserStates,
} from '@countersign/cluster';
import { findUser, readUserState } from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { emptyState, encodeState } from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import { drainLog } from './drain-log.ts';
import { Replica } from './replica.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const PAUSED_MS = 1500;

const test = useTestLog({ servers: 3 });
let survivor: number;

type Setting = Awaited<ReturnType<typeof start>>;

/** A log, and a replica that has followed nothing of it. */
async function start() {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const db = await test.openDatabase();
  const sealer = sealerOf(test.makeKeys().document);
  const log = new ChangeLog(link, incarnation, sealer);
  const { changes, states } = namesOf(incarnation.number);
  for (const stream of [changes, states]) {
    const hasLeader = async () => (await readStreamState(link, stream, 2000))?.hasLeader;
    await waitFor(`a leader of ${stream}`, hasLeader, { timeoutMs: 20_000 });
  }
  let end = 0;
  return {
    db,
    incarnation,
    sealer,
    async writeState(userId: string, bytes: Uint8Array): Promise<void> {
      const { kind } = await new UserStates(link, incarnation.number).write(
        userId,
        bytes,
        0,
        10_000,
      );
      if (kind !== 'written') throw new Error(kind);
    },
    async write(kind: string, document: { id: string; username?: string }): Promise<void> {
      const envelope = { epoch: 1, changeId: randomUUID(), commandId: null, actor: 'test' };
      const at = new Date().toISOString();
      const { id } = document;
      const outcome = await log.append(
        { ...envelope, kind, id, at, removed: false, document, commands: [] },
        end,
      );
      if (outcome.kind !== 'stored') throw new Error(JSON.stringify(outcome));
      end = outcome.sequence;
    },
    async findLeader(): Promise<string> {
      const state = await readStreamState(link, changes, 10_000);
      return state!.servers[0]!.name;
    },
    async untilAt(index: number): Promise<void> {
      const own = test.connect(index);
      const { changes, allChanges } = namesOf(incarnation.number);
      const readLast = () => readNextDirect(own, changes, allChanges, end, 500);
      await waitFor('the last change', async () => (await readLast()).kind === 'found', {
        timeoutMs: 10_000,
      });
    },
  };
}

function user(username: string) {
  const at = new Date().toISOString();
  return {
    id: randomUUID(),
    username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
}

async function drain({ db, incarnation, sealer }: Setting) {
  const link = test.connect(survivor);
  const replica = await Replica.open({
    db,
    link,
    incarnation,
    sealer,
    onApplied: () => undefined,
    onDiverged: async () => undefined,
    log: silent,
  });
  return { replica, drained: await drainLog({ db, link, incarnation, replica, log: silent }) };
}

const [alice, bob, carol] = [user('alice'), user('bob'), user('carol')];
let compacted: Setting;
let unreadable: Setting;

beforeAll(async () => {
  compacted = await start();
  await compacted.write('user', alice);
  await compacted.write('user', bob);
  await compacted.write('user', { ...alice, username: 'alice-2' });
  await compacted.write('user', { ...alice, username: 'alice-3' });
  for (const { id } of [alice, carol]) {
    await compacted.writeState(id, encodeState(emptyState()));
  }
  await compacted.writeState(bob.id, Buffer.from('not a state'));

  unreadable = await start();
  await unreadable.write('user', alice);
  await unreadable.write('node', { id: randomUUID() });
  await unreadable.write('user', bob);
  await unreadable.writeState(bob.id, encodeState(emptyState()));

  const settings = [compacted, unreadable];
  const leaders = await Promise.all(settings.map((setting) => setting.findLeader()));
  survivor = [0, 1, 2].find((index) => !leaders.includes(`test-${index}`))!;
  await Promise.all(settings.map((setting) => setting.untilAt(survivor)));
  const others = [0, 1, 2].filter((index) => index !== survivor);
  await Promise.all(others.map((index) => test.nats().kill(index)));
}, 60_000);

describe('the only log server left, without a leader,', () => {
  it('gives away changes of one user one after another and all states that can be read, after a moment of silence too', async () => {
    await test.nats().pause(survivor);
    setTimeout(() => void test.nats().resume(survivor), PAUSED_MS);
    const { replica, drained } = await drain(compacted);
    expect(drained).toEqual({ changes: 4, states: 2, missed: null });
    expect(replica.isComparable).toBe(true);
    expect(await findUser(compacted.db, 'alice-3')).toMatchObject({ document: { id: alice.id } });
    expect(await findUser(compacted.db, 'bob')).not.toBeNull();
    for (const { id } of [alice, carol]) {
      expect(await readUserState(compacted.db, id)).toMatchObject({ state: emptyState() });
    }
  });

  it('gives away what stands before a change that cannot be read, and that is told', async () => {
    const { replica, drained } = await drain(unreadable);
    expect(drained).toMatchObject({ changes: 1, states: 1 });
    expect(drained.missed).toMatch(/^change 2 cannot be read/);
    expect(replica.applied.revision).toBe(1);
    expect(await readUserState(unreadable.db, bob.id)).not.toBeNull();
  });

  it('is told where it does not answer any more', async () => {
    await test.nats().kill(survivor);
    const { drained } = await drain(unreadable);
    expect(drained).toMatchObject({ changes: 0, states: 0 });
    expect(drained.missed).toMatch(/^CHANGES-\d+ could not be read from 2 on: not connected/);
  });
});
