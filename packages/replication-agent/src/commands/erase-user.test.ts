import {
  eraseFromEvents,
  findUsersByName,
  listEvents,
  readPosition,
  storeEvents,
} from '@countersign/database';
import { newEvent } from '@countersign/operations';
import type { UserDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { useTestCommands } from '../testing/use-test-commands.ts';
import { useTestLog } from '../testing/use-test-log.ts';

const commands = useTestCommands(useTestLog(), {
  tables: ['documents', 'users', 'user_names', 'removed_users', 'events', 'erasures', 'applied'],
  now: new Date('2026-03-01T12:00:00.000Z'),
});

async function addAlice(): Promise<UserDocument> {
  const { document } = await commands.run('user.add', {
    username: 'alice',
    displayName: 'Alice Liddell',
    email: 'alice@wonder.land',
    authenticators: [{ type: 'phone', number: '+31612345678' }, { type: 'totp' }],
  });
  return document.content as UserDocument;
}

describe('erasing a user', () => {
  it('leaves a document with a pseudonym and nothing of the person', async () => {
    const alice = await addAlice();
    const { document, event, result } = await commands.run('user.erase', { username: ' ALICE' });
    const pseudonym = String(result.pseudonym);
    expect(pseudonym).toMatch(/^erased-[0-9a-f]{12}$/);
    expect(event).toEqual({ userId: alice.id, username: pseudonym });
    const text = JSON.stringify([document, event, result]);
    expect(text).not.toMatch(/alice|wonder|Liddell|\+316/i);
    for (const { id } of alice.authenticators) expect(text).not.toContain(id);
    expect(await commands.refusalOf('user.erase', { username: 'alice' })).toBe('404 unknown_user');
    expect(await commands.refusalOf('user.erase', { username: pseudonym })).toBe(
      '404 unknown_user',
    );
  });

  it('frees the name at once, and the next of that name is somebody else in events', async () => {
    const alice = await addAlice();
    const db = commands.db();
    const told = { type: 'verification', node: 'node-1', username: 'alice' };
    const place = await readPosition(db, 'events');
    await storeEvents(db, [newEvent({ ...told, userId: alice.id })], place + 1);
    await commands.run('user.erase', { username: 'alice' });
    await eraseFromEvents(db);
    const next = await addAlice();
    expect(next.id).not.toBe(alice.id);
    expect(await findUsersByName(db, 'alice')).toMatchObject([{ id: next.id }]);
    expect(await listEvents(db, { user: 'alice', limit: 10 })).toEqual([]);
  });

  it('reaches somebody whom synchronisation removed and keeps', async () => {
    const alice = await addAlice();
    const removedAt = '2026-02-01T12:00:00.000Z';
    const content = { ...alice, removedAt };
    await commands.apply({ kind: 'user', id: alice.id, removed: false, content });
    expect(await commands.plan('user.export', { username: 'Alice' })).toMatchObject({
      kind: 'unchanged',
      event: { userId: alice.id, username: 'alice' },
    });
    const { document } = await commands.run('user.erase', { username: 'alice' });
    expect(document.id).toBe(alice.id);
    expect(await commands.refusalOf('user.export', { username: 'alice' })).toBe('404 unknown_user');
  });
});
