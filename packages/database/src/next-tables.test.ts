import { randomUUID } from 'node:crypto';
import { emptyState } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { findAdministrator } from './administrators.ts';
import { applyChanges, type ReceivedChange } from './apply-changes.ts';
import {
  beginNextTables,
  countNextDocuments,
  hasNextSeal,
  readNextApplied,
  swapInNextTables,
} from './next-tables.ts';
import type { Database } from './open-database.ts';
import { readPosition } from './positions.ts';
import { initApplied, readApplied, type Incarnation } from './read-applied.ts';
import { readForVerification } from './read-for-verification.ts';
import { readSettings } from './settings.ts';
import {
  exampleAdministrator,
  exampleApplication,
  exampleUser,
  firstIncarnation,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { waitFor } from './testing/wait-for.ts';
import {
  listUnplacedStates,
  listUserStates,
  readUserState,
  storeUserStates,
} from './user-states.ts';
import { findUser } from './users.ts';

const postgres = useTestPostgres();
const alice = exampleUser('alice');
const bob = exampleUser('bob');

/** A replica of the first incarnation with alice and bob. */
async function start() {
  const name = await postgres.migratedDatabase();
  const db = postgres.open(name);
  await initApplied(db, firstIncarnation);
  await applyChanges(db, [
    setChange(1, { kind: 'user', document: alice }),
    setChange(2, { kind: 'user', document: bob }),
  ]);
  return { name, db };
}

function nextOf(baseRevision: number, number = 2): Incarnation {
  const ancestors = [{ number: 1, id: firstIncarnation.id, revision: baseRevision }];
  const id = randomUUID();
  return { ...firstIncarnation, number, id, baseRevision, ancestors, by: 'node-1' };
}

/** Alice under another name, bob gone, and the seal. */
const renamed = { ...alice, displayName: 'Alice after the rebuild' };
function rebuilt(base: number): ReceivedChange[] {
  const seal = setChange(base + 2, { kind: 'user', document: exampleUser('seal') });
  return [
    setChange(base + 1, { kind: 'user', document: renamed }),
    { ...seal, kind: 'seal', id: '2', document: { count: 1, digest: '' } },
  ];
}

async function fill(db: Database): Promise<Incarnation> {
  const incarnation = nextOf(2);
  await beginNextTables(db, incarnation);
  await applyChanges(db, rebuilt(2), { intoNext: true });
  return incarnation;
}

describe('tables for the next incarnation', () => {
  it('are filled without a trace in those in use', async () => {
    const { db } = await start();
    const before = await readApplied(db);
    const incarnation = await fill(db);
    expect(await readApplied(db)).toEqual(before);
    expect(await findUser(db, 'alice')).toMatchObject({ document: alice });
    expect(await findUser(db, 'bob')).toMatchObject({ document: bob });
    expect(await readNextApplied(db)).toMatchObject({ incarnation, revision: 4 });
    expect(await countNextDocuments(db)).toBe(2);
    expect(await hasNextSeal(db)).toBe(true);
  });

  it('are gone on with by the next process, begun anew for another incarnation or on demand', async () => {
    const { db } = await start();
    const incarnation = nextOf(2);
    await beginNextTables(db, incarnation);
    await applyChanges(db, rebuilt(2).slice(0, 1), { intoNext: true });
    expect((await beginNextTables(db, incarnation)).revision).toBe(3);
    expect((await beginNextTables(db, incarnation, { isFresh: true })).revision).toBe(2);
    expect(await countNextDocuments(db)).toBe(0);
    await applyChanges(db, rebuilt(2).slice(0, 1), { intoNext: true });
    const other = nextOf(2, 3);
    expect(await beginNextTables(db, other)).toMatchObject({ incarnation: other, revision: 2 });
    expect(await countNextDocuments(db)).toBe(0);
  });

  it('take the place of those in use, with what belongs to other streams let go', async () => {
    const { db } = await start();
    await storeUserStates(
      db,
      [alice, bob].map(({ id }) => ({ userId: id, revision: 7, state: emptyState() })),
      7,
    );
    const incarnation = await fill(db);
    const applied = await swapInNextTables(db, incarnation.id);
    expect(applied).toMatchObject({ incarnation, revision: 4, isFilled: true });
    expect(await readApplied(db)).toEqual(applied);
    expect(await readNextApplied(db)).toBeNull();
    expect(await findUser(db, 'alice')).toMatchObject({ document: renamed });
    expect(await findUser(db, 'bob')).toBeNull();
    // A state without its user is nobody's; the other is the first guess until the bucket is followed.
    expect(await listUserStates(db, { after: null, limit: 10 })).toHaveLength(1);
    expect(await readUserState(db, alice.id)).toMatchObject({ revision: 0, state: emptyState() });
    expect(await readPosition(db, 'states')).toBe(0);
    await applyChanges(db, [setChange(5, { kind: 'user', document: bob })]);
    expect(await findUser(db, 'bob')).toMatchObject({ document: bob });
  });

  it('keep the states of users who are removed and kept', async () => {
    const { db } = await start();
    await storeUserStates(db, [{ userId: alice.id, revision: 7, state: emptyState() }], 7);
    const incarnation = nextOf(2);
    await beginNextTables(db, incarnation);
    const away = { ...alice, removedAt: '2026-03-02T12:00:00.000Z' };
    const [, seal] = rebuilt(2);
    const changes = [setChange(3, { kind: 'user', document: away }), seal!];
    await applyChanges(db, changes, { intoNext: true });
    await swapInNextTables(db, incarnation.id);
    expect(await findUser(db, 'alice')).toBeNull();
    expect(await listUnplacedStates(db, 9)).toEqual([{ userId: alice.id, state: emptyState() }]);
  });

  it('keep the states of administrators, whose codes stay used', async () => {
    const { db } = await start();
    const admin = exampleAdministrator('olive');
    await storeUserStates(db, [{ userId: admin.id, revision: 7, state: emptyState() }], 7);
    const incarnation = nextOf(2);
    await beginNextTables(db, incarnation);
    const [, seal] = rebuilt(2);
    const changes = [setChange(3, { kind: 'administrator', document: admin }), seal!];
    await applyChanges(db, changes, { intoNext: true });
    await swapInNextTables(db, incarnation.id);
    expect(await findAdministrator(db, ' OLIVE ')).toEqual(admin);
    expect(await listUnplacedStates(db, 9)).toEqual([{ userId: admin.id, state: emptyState() }]);
  });

  it('have the applications of their own incarnation', async () => {
    const { db } = await start();
    const [old, later] = [exampleApplication('old'), exampleApplication('later')];
    await applyChanges(db, [setChange(3, { kind: 'application', document: old })]);
    const incarnation = nextOf(3);
    await beginNextTables(db, incarnation);
    const changes = [setChange(4, { kind: 'application', document: later }), ...rebuilt(4)];
    await applyChanges(db, changes, { intoNext: true });
    expect((await readSettings(db)).applications).toEqual(new Map([['old', old]]));
    await swapInNextTables(db, incarnation.id);
    expect((await readSettings(db)).applications).toEqual(new Map([['later', later]]));
  });

  it('can be filled and put in place again and again', async () => {
    const { db } = await start();
    for (let number = 2; number < 6; number += 1) {
      const incarnation = nextOf(2, number);
      await beginNextTables(db, incarnation);
      await applyChanges(db, rebuilt(2), { intoNext: true });
      expect((await swapInNextTables(db, incarnation.id)).incarnation).toEqual(incarnation);
    }
    const indexes = await db.sql`
      select from pg_indexes where schemaname = 'public' and tablename = 'documents'`;
    expect(indexes.length).toBeGreaterThan(0);
  });

  it('come into use under readers whose statements are prepared, none of whom notices', async () => {
    const { name, db } = await start();
    const { id } = await fill(db);
    const readers = [postgres.open(name, { max: 2 }), postgres.open(name, { max: 2 })];
    const seenBy: (string | undefined)[][] = readers.map(() => []);
    let isOver = false;
    const reading = readers.map(async (reader, index) => {
      while (!isOver) {
        const { users } = await readForVerification(reader, ['alice']).then(([one]) => one!);
        seenBy[index]!.push(users[0]!.document.displayName);
      }
    });
    await waitFor('reads', () => seenBy.every((seen) => seen.length >= 25));
    await waitFor('the swap', () => swapInNextTables(db, id).then(Boolean, isLockTimeout));
    const swappedAt = seenBy.map((seen) => seen.length);
    const hasReadMore = (seen: unknown[], index: number) => seen.length >= swappedAt[index]! + 25;
    await waitFor('more reads', () => seenBy.every(hasReadMore));
    isOver = true;
    await Promise.all(reading);
    for (const [index, seen] of seenBy.entries()) {
      expect(seen[0]).toBeUndefined();
      // One read may have begun before the swap and be answered after it.
      const after = seen.slice(swappedAt[index]! + 1);
      expect(new Set(after)).toEqual(new Set([renamed.displayName]));
      expect(seen.lastIndexOf(undefined)).toBeLessThan(seen.indexOf(renamed.displayName));
    }
  });

  it('are not put in place while somebody reads the old ones for long, and nothing is changed then', async () => {
    const { db } = await start();
    const before = await readApplied(db);
    const { id } = await fill(db);
    const reading = Promise.withResolvers<void>();
    const released = Promise.withResolvers<void>();
    const reader = db.transaction(async (tx) => {
      await tx`select from users`;
      reading.resolve();
      await released.promise;
    });
    await reading.promise;
    await expect(swapInNextTables(db, id)).rejects.toThrow(/lock timeout/);
    expect(await readApplied(db)).toEqual(before);
    released.resolve();
    await reader;
    expect((await swapInNextTables(db, id)).incarnation.number).toBe(2);
  });

  it('are not put in place for an incarnation that others are being filled for by now', async () => {
    const { db } = await start();
    const before = await readApplied(db);
    const { id } = await fill(db);
    await beginNextTables(db, nextOf(2, 3));
    await expect(swapInNextTables(db, id)).rejects.toThrow(/not there any more/);
    expect(await readApplied(db)).toEqual(before);
  });
});

/** The swap gives way to readers and is tried again. */
function isLockTimeout(error: unknown): false {
  if (!/lock timeout|deadlock/.test(String(error))) throw error;
  return false;
}
