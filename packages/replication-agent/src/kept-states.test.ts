import { randomUUID } from 'node:crypto';
import { UserStates } from '@countersign/cluster';
import {
  applyChanges,
  initApplied,
  readUserState,
  storeUserStates,
  unplaceUserStates,
  type Database,
} from '@countersign/database';
import { waitFor } from '@countersign/testing';
import { emptyState, encodeState, parseState, type UserState } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { followStates } from './follow-states.ts';
import { whatIsMore } from './kept-states.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const NOW = Date.parse('2026-03-01T12:00:00.000Z');
const ids = { alice: randomUUID(), bob: randomUUID(), carol: randomUUID() };

/** A bucket, and replicas that know three users. */
async function start(replicas: number) {
  const link = test.connect();
  const incarnation = await test.beginIncarnation(link);
  const states = new UserStates(link, incarnation.number);
  const databases: Database[] = [];
  for (let i = 0; i < replicas; i += 1) {
    const db = await test.openDatabase();
    await initApplied(db, incarnation);
    await applyChanges(db, Object.entries(ids).map(userChange));
    databases.push(db);
  }
  return { states, databases };
}

function userChange([username, id]: [string, string], index: number) {
  const at = new Date(NOW).toISOString();
  const document = {
    id,
    username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
  return {
    revision: index + 1,
    epoch: 1,
    kind: 'user' as const,
    id,
    at,
    removed: false,
    bytes: Buffer.from(username),
    document,
    commands: [],
  };
}

function follow(db: Database, states: UserStates): void {
  const stop = new AbortController();
  const following = followStates({ db, states, signal: stop.signal, log: silent });
  test.atEnd(() => {
    stop.abort();
    return following;
  });
}

/** Accepted `step` at that second, with so many failures since. */
function used(step: number, second: number, failures = 0): UserState {
  const code = { ...emptyState().methods.code, failures, consecutive: failures };
  return {
    ...emptyState(),
    accepted: { 'a-1': [step, NOW / 1000 + second] },
    methods: { code },
  };
}

async function write(states: UserStates, userId: string, state: UserState): Promise<number> {
  const read = await states.readThroughLeader(userId, 10_000);
  const expected = read.kind === 'found' ? read.revision : 0;
  const outcome = await states.write(userId, encodeState(state), expected, 10_000);
  if (outcome.kind !== 'written') throw new Error(outcome.kind);
  return outcome.revision;
}

async function inBucket(states: UserStates, userId: string): Promise<UserState | null> {
  const read = await states.readThroughLeader(userId, 10_000);
  return read.kind === 'found' ? parseState(read.bytes) : null;
}

/** Until the bucket and all replicas agree about that user. */
async function untilEverywhere(
  { states, databases }: { states: UserStates; databases: Database[] },
  userId: string,
  accepted: number,
): Promise<void> {
  await waitFor(
    `step ${accepted} everywhere`,
    async () => {
      const known = await Promise.all(databases.map((db) => readUserState(db, userId)));
      const all = [await inBucket(states, userId), ...known.map((row) => row?.state)];
      return all.every((state) => state?.accepted['a-1']?.[0] === accepted);
    },
    { timeoutMs: 10_000 },
  );
}

describe('user states that the bucket has lost', () => {
  it('are written again by whoever knows them, whether the bucket ends before them or went on', async () => {
    const setting = await start(2);
    const { states, databases } = setting;
    const [one, other] = databases as [Database, Database];
    const aliceAt = await write(states, ids.alice, used(10, 0));
    await storeUserStates(
      one,
      [
        { userId: ids.alice, revision: aliceAt + 1, state: used(11, 30) },
        { userId: ids.bob, revision: aliceAt + 2, state: used(21, 30) },
      ],
      aliceAt + 2,
    );
    follow(one, states);
    follow(other, states);
    await untilEverywhere(setting, ids.alice, 11);
    await untilEverywhere(setting, ids.bob, 21);
  });

  it('are missed also where the bucket has gone on beyond them', async () => {
    const setting = await start(2);
    const { states, databases } = setting;
    const [one, other] = databases as [Database, Database];
    const aliceAt = await write(states, ids.alice, used(10, 0));
    await storeUserStates(
      one,
      [
        { userId: ids.alice, revision: aliceAt + 1, state: used(11, 30) },
        { userId: ids.bob, revision: aliceAt + 2, state: used(21, 30) },
      ],
      aliceAt + 2,
    );
    for (let i = 0; i < 5; i += 1) expect(await states.probe('test', 10_000)).toBe(true);
    await write(states, ids.carol, used(31, 40));
    follow(one, states);
    follow(other, states);
    await untilEverywhere(setting, ids.alice, 11);
    await untilEverywhere(setting, ids.bob, 21);
    await untilEverywhere(setting, ids.carol, 31);
  });
});

describe('user states kept over a rebuild', () => {
  it('end in one bucket with what each node knew, however many write them at once', async () => {
    const setting = await start(3);
    const { states, databases } = setting;
    for (const [index, db] of databases.entries()) {
      await storeUserStates(
        db,
        [
          { userId: ids.alice, revision: 5, state: used(100 + index, index) },
          { userId: ids.bob, revision: 6, state: used(200 - index, -index) },
        ],
        9,
      );
      await unplaceUserStates(db);
    }
    await write(states, ids.alice, used(100, 0));
    await states.probe('test', 10_000);
    for (const db of databases) follow(db, states);
    await untilEverywhere(setting, ids.alice, 102);
    await untilEverywhere(setting, ids.bob, 200);
  });
});

describe('what a node knows beyond the bucket', () => {
  it('is nothing where the bucket is as new', () => {
    expect(whatIsMore(used(7, 0), used(7, 0))).toBeNull();
    expect(whatIsMore(used(7, 0, 4), used(8, 30))).toBeNull();
  });

  it('is every accepted code, but of failures only those of a newer state', () => {
    const forgiven = { ...used(8, 30), accepted: {} };
    expect(whatIsMore(used(7, 0, 4), { ...forgiven, attempts: [attemptAt(30)] })).toEqual({
      ...forgiven,
      attempts: [attemptAt(30)],
      accepted: used(7, 0).accepted,
    });
    expect(whatIsMore(used(8, 60, 4), used(8, 30))).toEqual(used(8, 60, 4));
  });
});

function attemptAt(second: number) {
  const at = NOW + second * 1000;
  return {
    id: 'x'.repeat(16),
    key: null,
    approved: false,
    reason: 'wrong_code' as const,
    item: null,
    at,
  };
}

describe('user states that PostgreSQL has lost', () => {
  it('are read again once it is back: they were stored lazily a moment before it died', async () => {
    const setting = await start(1);
    const { states, databases } = setting;
    const [db] = databases as [Database];
    follow(db, states);
    const aliceAt = await write(states, ids.alice, used(10, 0));
    await untilEverywhere(setting, ids.alice, 10);
    await write(states, ids.bob, used(20, 0));
    await untilEverywhere(setting, ids.bob, 20);
    // The state and the position stand in one transaction, so they are lost together.
    await db.transaction(async (tx) => {
      await tx`delete from user_states where user_id = ${ids.bob}`;
      await tx`update positions set position = ${aliceAt} where name = 'states'`;
    });
    await write(states, ids.carol, used(30, 0));
    await untilEverywhere(setting, ids.carol, 30);
    await untilEverywhere(setting, ids.bob, 20);
  });
});
