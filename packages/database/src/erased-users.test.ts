import { randomUUID } from 'node:crypto';
import type { UserDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { applyChanges } from './apply-changes.ts';
import { eraseFromEvents, findKeptUsers } from './erased-users.ts';
import { storeEvents, type AuditEvent } from './events.ts';
import type { Database } from './open-database.ts';
import { readPerson } from './read-person.ts';
import { initApplied } from './read-applied.ts';
import { exampleUser, setChange } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
const AT = '2026-03-01T12:00:00.000Z';

function eventOf(user: { id: string; username: string }, differs: object = {}): AuditEvent {
  return {
    id: randomUUID(),
    at: AT,
    type: 'verification',
    node: 'node-1',
    userId: user.id,
    username: user.username,
    actor: 'vpn',
    application: 'vpn',
    clientAddress: '203.0.113.77',
    result: 'denied',
    reason: 'wrong_code',
    degraded: false,
    durationMs: 5,
    details: { method: 'text', displayName: 'Alice Liddell', email: 'alice@wonder.land', to: '42' },
    ...differs,
  };
}

async function openWith(user: UserDocument): Promise<Database> {
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
  await applyChanges(db, [setChange(1, { kind: 'user', document: user })]);
  return db;
}

function erased({ id }: UserDocument): UserDocument {
  return {
    id,
    username: 'erased-0123456789ab',
    removedAt: AT,
    erasedAt: AT,
    enabled: false,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: AT,
    updatedAt: AT,
  };
}

async function everything(db: Database): Promise<string> {
  const rows = await db.sql`
    select events::text as row from events union all select users::text from users
    union all select removed_users::text from removed_users
    union all select user_names::text from user_names
    union all select convert_from(bytes, 'UTF8') from documents`;
  return JSON.stringify(rows);
}

describe('an erased user', () => {
  it('is told by nothing on a node, whatever it stored before and whatever comes late', async () => {
    const alice = exampleUser('alice');
    const bob = exampleUser('bob');
    const db = await openWith({ ...alice, email: 'alice@wonder.land' });
    await storeEvents(db, [eventOf(alice), eventOf(alice), eventOf(bob)], 1);
    expect(await eraseFromEvents(db)).toBe(0);
    await applyChanges(db, [setChange(2, { kind: 'user', document: erased(alice) })]);
    expect(await eraseFromEvents(db)).toBe(2);
    expect(await eraseFromEvents(db)).toBe(0);
    const late = eventOf(alice, { type: 'late' });
    await storeEvents(db, [late, eventOf(bob)], 2);
    expect(await eraseFromEvents(db)).toBe(0);

    const left = await db.sql`select username, username_key, client_address, details, result
      from events where user_id = ${alice.id}`;
    expect(left).toHaveLength(3);
    for (const row of left) {
      expect(row).toMatchObject({
        username: 'erased-0123456789ab',
        username_key: 'erased-0123456789ab',
        client_address: null,
        details: { method: 'text' },
        result: 'denied',
      });
    }
    const all = await everything(db);
    // Bob is somebody else, and keeps what is his.
    expect(all).toContain('203.0.113.77');
    expect(all.replaceAll(/[^"]*bob[^"]*/g, '')).not.toMatch(/"alice"|alice,/);
    const ofBob = await db.sql`select details from events where user_id = ${bob.id}`;
    expect(ofBob).toMatchObject([{ details: { displayName: 'Alice Liddell' } }, {}]);
  });

  it('is taken from what was stored unknown and completed late', async () => {
    const alice = exampleUser('alice');
    const db = await openWith(alice);
    const open = eventOf(alice, { result: 'unknown' });
    await storeEvents(db, [open], 1);
    await applyChanges(db, [setChange(2, { kind: 'user', document: erased(alice) })]);
    await eraseFromEvents(db);
    await storeEvents(db, [{ ...open, result: 'done' }], 2);
    const [row] = await db.sql`select username, result, details from events`;
    expect(row).toEqual({
      username: 'erased-0123456789ab',
      result: 'done',
      details: { method: 'text' },
    });
  });

  it('is nobody who is kept, nor anybody who can be told', async () => {
    const alice = exampleUser('Alice');
    const db = await openWith({ ...alice, removedAt: AT });
    expect((await findKeptUsers(db, ' ALICE'.trim())).map(({ id }) => id)).toEqual([alice.id]);
    expect((await readPerson(db, 'alice'))?.user.document.removedAt).toBe(AT);
    await applyChanges(db, [setChange(2, { kind: 'user', document: erased(alice) })]);
    expect(await findKeptUsers(db, 'alice')).toEqual([]);
    expect(await findKeptUsers(db, 'erased-0123456789ab')).toEqual([]);
    expect(await readPerson(db, 'alice')).toBeNull();
  });
});

it('everything about somebody is what events say of them, newest first, and of nobody else', async () => {
  const alice = exampleUser('alice');
  const db = await openWith(alice);
  const later = eventOf(alice, { at: '2026-03-02T12:00:00.000Z', type: 'later' });
  await storeEvents(db, [eventOf(alice), later, eventOf(exampleUser('bob'))], 1);
  const told = (await readPerson(db, 'ALICE'))!;
  expect(told.user.document.id).toBe(alice.id);
  expect(told.events.map(({ type }) => type)).toEqual(['later', 'verification']);
  expect(told.isCut).toBe(false);
});
