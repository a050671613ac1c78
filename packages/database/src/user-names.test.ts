import { beforeEach, describe, expect, it } from 'vitest';
import type { UserDocument } from '@countersign/verification';
import { applyChanges } from './apply-changes.ts';
import type { Database } from './open-database.ts';
import { initApplied } from './read-applied.ts';
import { readForVerification } from './read-for-verification.ts';
import {
  exampleDirectory,
  exampleDirectoryUser,
  exampleUser,
  firstIncarnation,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { findUser, findUsernamesBehind } from './users.ts';

const postgres = useTestPostgres();
const [corp, branch] = [exampleDirectory('corp'), exampleDirectory('branch')];
let db: Database;
let revision: number;

beforeEach(async () => {
  db = await postgres.cleanDatabase();
  await initApplied(db, firstIncarnation);
  revision = 0;
});

async function add(...documents: UserDocument[]): Promise<void> {
  const changes = documents.map((document) =>
    setChange((revision += 1), { kind: 'user', document }),
  );
  await applyChanges(db, changes);
}

/** The username of who may sign in by that name, or 'ambiguous'. */
async function meant(key: string): Promise<string | null> {
  const [read] = await readForVerification(db, [key]);
  const [user, namesake] = read!.users;
  return namesake ? 'ambiguous' : (user?.document.username ?? null);
}

/** The username of who is named to an administrator, or 'ambiguous'. */
async function named(name: string): Promise<string | null> {
  const found = await findUser(db, name);
  return found === null || found === 'ambiguous' ? found : found.document.username;
}

describe('a name', () => {
  it('finds a user of a directory in each of its forms', async () => {
    const link = {
      names: ['corp\\alice', 'alice@corp.test', 'cn=alice,dc=corp,dc=test'],
      mails: ['a.smith@corp.test'],
    };
    await add(exampleDirectoryUser('alice', corp.id, { link }), exampleUser('bob'));
    for (const name of ['alice', ...link.names, ...link.mails]) {
      expect(await meant(name)).toBe('alice');
      expect(await named(name.toUpperCase())).toBe('alice');
    }
    for (const name of ['corp\\bob', 'corp', 'dc=test', '', '%', 'corp\\alice\0']) {
      expect([await meant(name), await named(name)]).toEqual([null, null]);
    }
  });

  it('is that of a local user first, whatever a directory calls somebody', async () => {
    const link = { names: ['admin'], mails: ['admin'] };
    await add(exampleUser('admin'), exampleDirectoryUser('mallory', corp.id, { link }));
    expect([await meant('admin'), await named('admin')]).toEqual(['admin', 'admin']);
    expect(await meant('mallory')).toBe('mallory');
  });

  it('of a user from a directory gives way to a local user of the same username', async () => {
    await add(exampleDirectoryUser('Admin', corp.id), exampleUser('admin'));
    expect(await meant('admin')).toBe('admin');
    // An administrator is told rather than given one of the two.
    expect(await named('admin')).toBe('ambiguous');
    expect(await named('corp\\admin')).toBe('Admin');
  });

  it('that two directories have is ambiguous to sign in with, and each user has others', async () => {
    const link = { names: ['alice', 'branch\\alice'], mails: [] };
    await add(
      exampleDirectoryUser('alice', corp.id),
      exampleDirectoryUser('alice@branch.test', branch.id, { link }),
    );
    expect(await meant('alice')).toBe('ambiguous');
    expect(await meant('corp\\alice')).toBe('alice');
    expect(await meant('branch\\alice')).toBe('alice@branch.test');
    // So that every user can be administered: a username before any alias.
    expect(await named('alice')).toBe('alice');
    expect(await named('alice@branch.test')).toBe('alice@branch.test');
  });

  it('counts as a mail address only where nobody has it otherwise', async () => {
    const shared = { mails: ['info@corp.test'] };
    await add(
      exampleDirectoryUser('alice', corp.id, { link: shared }),
      exampleDirectoryUser('bob', corp.id, { link: shared }),
    );
    expect([await meant('info@corp.test'), await named('info@corp.test')]).toEqual([
      'ambiguous',
      'ambiguous',
    ]);
    const link = { names: ['info@corp.test'] };
    await add(exampleDirectoryUser('carol', corp.id, { link }));
    expect([await meant('info@corp.test'), await named('info@corp.test')]).toEqual([
      'carol',
      'carol',
    ]);
  });

  it('of a removed user is free for the next, and is nobody until then', async () => {
    const alice = exampleDirectoryUser('alice', corp.id);
    await add({ ...alice, removedAt: '2026-03-02T12:00:00.000Z' });
    expect([await meant('alice'), await named('corp\\alice')]).toEqual([null, null]);
    const [byId] = await readForVerification(db, [{ userId: alice.id }]);
    expect(byId!.users).toEqual([]);
    await add({ ...exampleDirectoryUser('alice', corp.id), displayName: 'another' });
    expect(await findUser(db, 'alice')).toMatchObject({ document: { displayName: 'another' } });
  });

  it('that very many share reads no more than two of them', async () => {
    const link = { names: [], mails: ['info@corp.test'] };
    await add(
      ...Array.from({ length: 300 }, (_, n) => exampleDirectoryUser(`u${n}`, corp.id, { link })),
    );
    const [read] = await readForVerification(db, ['info@corp.test']);
    expect(read!.users).toHaveLength(2);
    expect(await findUsernamesBehind(db, ['info@corp.test', 'u7'])).toHaveLength(2);
  });

  it('is read beside users by id and others by name, each answer in its place', async () => {
    const [alice, bob] = [exampleDirectoryUser('alice', corp.id), exampleUser('bob')];
    await add(alice, bob);
    expect(await readForVerification(db, [])).toEqual([]);
    const wanted = ['nobody', { userId: bob.id }, 'corp\\alice', { userId: corp.id }, 'bob'];
    const reads = await readForVerification(db, wanted);
    expect(reads.map(({ users }) => users.map(({ id }) => id))).toEqual([
      [],
      [bob.id],
      [alice.id],
      [],
      [bob.id],
    ]);
  });
});
