import { randomUUID } from 'node:crypto';
import { emptyState } from '@countersign/verification';
import type { UserState } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { applyChanges } from './apply-changes.ts';
import { openCircuit } from './circuit.ts';
import { readPosition } from './positions.ts';
import { initApplied } from './read-applied.ts';
import { beginAttempts } from './reservations.ts';
import { exampleEvent, exampleNode, exampleUser, setChange } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { readUserState, storeUserStates } from './user-states.ts';
import { findUser, findUserById, listExemptUsers, listUsers } from './users.ts';
import { readForVerification } from './read-for-verification.ts';

const postgres = useTestPostgres();

async function replicaWith(...usernames: string[]) {
  const db = await postgres.cleanDatabase();
  await initApplied(db, {
    number: 1,
    id: 'a',
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  });
  const users = usernames.map((username) => exampleUser(username));
  const changes = users.map((document, index) => setChange(index + 1, { kind: 'user', document }));
  if (changes.length > 0) await applyChanges(db, changes);
  return { db, users };
}

function lockedState(lockedUntil: number): UserState {
  const state = emptyState();
  return { ...state, methods: { code: { ...state.methods.code, lockedUntil } } };
}

describe('reading for a verification', () => {
  it('gives the user, the state, the reservations and how this node stands', async () => {
    const { db, users } = await replicaWith('Alice', 'bob');
    const [alice] = users;
    const reservation = {
      userId: alice!.id,
      item: 'totp:x:1',
      attemptId: 'attempt',
      holder: 'node-2',
      phase: 'asking' as const,
      degraded: true,
      claim: null,
    };
    await applyChanges(db, [
      setChange(3, { kind: 'node', document: exampleNode('node-1') }),
      setChange(4, { kind: 'node', document: exampleNode('node-2') }),
      setChange(5, {
        kind: 'settings',
        document: { id: 'failover', mode: 'manual', afterSeconds: 6 },
      }),
      setChange(6, { kind: 'node', document: exampleNode('node-3') }),
    ]);
    await storeUserStates(db, [{ userId: alice!.id, revision: 40, state: emptyState() }], 40);
    await beginAttempts(db, [{ reservation, event: exampleEvent(), isFinal: false }]);
    await openCircuit(db, 'silence');
    const [aliceRead, bobRead] = await readForVerification(db, ['alice', 'bob']);
    expect(aliceRead).toEqual({
      users: [
        {
          id: alice!.id,
          document: alice,
          revision: 1,
          state: emptyState(),
          stateRevision: 40,
          reservations: [{ ...reservation, merged: false }],
          stopFacts: [],
        },
      ],
      revision: 6,
      keysRevision: 6,
      settingsRevision: 5,
      codesNotBeforeMs: null,
      isCircuitOpen: true,
      knownNodes: 3,
    });
    expect(bobRead!.users).toMatchObject([{ state: null, stateRevision: 0, reservations: [] }]);
  });

  it('tells an unknown name from an ambiguous one', async () => {
    const { db } = await replicaWith('carol', 'CAROL', 'Ｃarol');
    const strangers = ['dave', '', 'car', 'carol\0', "' or true --", 'carol'];
    const reads = await readForVerification(db, strangers);
    expect(reads.pop()!.users).toHaveLength(3);
    for (const read of reads) expect(read).toMatchObject({ users: [], revision: 3 });
  });

  it('looks the name up in the index', async () => {
    const { db } = await replicaWith(...Array.from({ length: 400 }, (_, index) => `user ${index}`));
    await db.sql`analyze users`;
    const plan = await db.sql`
      explain select * from applied a left join users u on u.username_key = ${'user 7'}`;
    expect(JSON.stringify(plan)).toContain('users_by_username_key');
  });

  it('refuses to guess on a node that belongs to no incarnation', async () => {
    const db = await postgres.cleanDatabase();
    await expect(readForVerification(db, ['alice'])).rejects.toThrow('no incarnation');
  });
});

describe('finding users', () => {
  it('finds one by any spelling of the name, and says when there are several', async () => {
    const { db, users } = await replicaWith('Straße', 'eve', 'EVE');
    expect(await findUser(db, 'STRAßE')).toMatchObject({ id: users[0]!.id, revision: 1 });
    expect(await findUser(db, 'Eve')).toBe('ambiguous');
    expect(await findUser(db, 'nobody')).toBeNull();
    expect(await findUser(db, 'eve\0')).toBeNull();
    expect(await findUserById(db, users[1]!.id)).toEqual(users[1]);
    expect(await findUserById(db, randomUUID())).toBeNull();
  });

  it('says until when a user is locked out, unless that is over or was lifted', async () => {
    const { db, users } = await replicaWith('a', 'b', 'c', 'd', 'e');
    const soon = Date.now() + 60_000;
    const locks = [soon, -1, Date.now() - 1, soon];
    const rows = locks.map((lock, index) => {
      return { userId: users[index]!.id, revision: 1, state: lockedState(lock) };
    });
    await storeUserStates(db, rows, 1);
    const unlocked = { ...users[3]!, unlockedAt: new Date().toISOString() };
    await applyChanges(db, [setChange(6, { kind: 'user', document: unlocked })]);
    const listed = await listUsers(db, { limit: 10 });
    expect(listed.map((user) => user.lockedUntil)).toEqual([
      new Date(soon).toISOString(),
      '9999-12-31T23:59:59.999Z',
      null,
      null,
      null,
    ]);
  });

  it('lists pages in the order of the keys', async () => {
    const names = ['zoe', 'Adam', 'ben', 'Émile', 'carl'];
    const { db } = await replicaWith(...names);
    const namesOf = (users: { document: { username: string } }[]) =>
      users.map((user) => user.document.username);
    const first = await listUsers(db, { limit: 2 });
    expect(namesOf(first)).toEqual(['Adam', 'ben']);
    const rest = await listUsers(db, { limit: 10, after: 'BEN' });
    expect(namesOf(rest)).toEqual(['carl', 'zoe', 'Émile']);
  });

  it('searches names and addresses for what was typed, taken literally', async () => {
    const { db } = await replicaWith('ann_1', 'annx1', 'bert');
    const mail = { ...exampleUser('carl'), email: 'Ann@example.org', displayName: 'Carl 100%' };
    await applyChanges(db, [setChange(9, { kind: 'user', document: mail })]);
    const search = async (text: string) =>
      (await listUsers(db, { limit: 10, search: text })).map((user) => user.document.username);
    expect(await search('ANN')).toEqual(['ann_1', 'annx1', 'carl']);
    expect(await search('n_1')).toEqual(['ann_1']);
    expect(await search('100%')).toEqual(['carl']);
    expect(await search('%')).toEqual(['carl']);
    expect(await search("'")).toEqual([]);
  });
});

describe('user states', () => {
  it('are replaced by newer ones only, with the position in the same transaction', async () => {
    const db = await postgres.cleanDatabase();
    const userId = randomUUID();
    const other = randomUUID();
    await storeUserStates(db, [{ userId, revision: 5, state: lockedState(5) }], 5);
    await storeUserStates(db, [{ userId, revision: 4, state: lockedState(4) }], 6);
    expect(await readUserState(db, userId)).toEqual({ userId, revision: 5, state: lockedState(5) });
    await storeUserStates(
      db,
      [
        { userId, revision: 9, state: lockedState(9) },
        { userId: other, revision: 8, state: emptyState() },
        { userId, revision: 7, state: lockedState(7) },
      ],
      9,
    );
    expect(await readUserState(db, userId)).toMatchObject({ revision: 9, state: lockedState(9) });
    expect(await readUserState(db, other)).toMatchObject({ revision: 8 });
    expect(await readPosition(db, 'states')).toBe(9);
  });

  it('of a deleted key stay as nothing, at the revision of the deletion', async () => {
    const db = await postgres.cleanDatabase();
    const userId = randomUUID();
    expect(await readUserState(db, userId)).toBeNull();
    await storeUserStates(db, [{ userId, revision: 2, state: null }], 2);
    await storeUserStates(db, [{ userId, revision: 1, state: emptyState() }], 2);
    expect(await readUserState(db, userId)).toEqual({ userId, revision: 2, state: null });
  });

  it('leave the position alone when they cannot be stored', async () => {
    const db = await postgres.cleanDatabase();
    const bad = { userId: 'not a uuid', revision: 1, state: emptyState() };
    await expect(storeUserStates(db, [bad], 3)).rejects.toThrow(/uuid/);
    expect(await readPosition(db, 'states')).toBe(0);
    await storeUserStates(db, [], 4);
    expect(await readPosition(db, 'states')).toBe(4);
  });
});

describe('users who skip the second step', () => {
  it('are found while their exemption lasts, the last to end first', async () => {
    const { db, users } = await replicaWith('soon', 'late', 'past', 'never');
    const now = new Date('2026-05-01T12:00:00.000Z');
    const untils = ['2026-05-02T00:00:00.000Z', '2026-06-01T00:00:00.000Z', now.toISOString()];
    const at = '2026-04-01T00:00:00.000Z';
    const changes = untils.map((until, index) => {
      const exempt = { reason: 'a service', at, by: 'admin', until };
      return setChange(10 + index, { kind: 'user', document: { ...users[index]!, exempt } });
    });
    await applyChanges(db, changes);
    expect(await listExemptUsers(db, now, 10)).toEqual(['late', 'soon']);
    expect(await listExemptUsers(db, now, 1)).toEqual(['late']);
  });
});
