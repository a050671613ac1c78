import { beforeEach, describe, expect, it } from 'vitest';
import { applyChanges, type ReceivedChange } from './apply-changes.ts';
import {
  countDirectoryUsers,
  findUsersByObject,
  listDirectories,
  listDirectoriesWithSync,
  listDirectoryUsers,
  listUsersWithPendingPhones,
  readDirectorySync,
} from './directories.ts';
import type { Database } from './open-database.ts';
import { initApplied } from './read-applied.ts';
import { readSettings } from './settings.ts';
import {
  exampleDirectory,
  exampleDirectorySync,
  exampleDirectoryUser,
  exampleUser,
  firstIncarnation,
  removeChange,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { findUsersByKeys } from './users.ts';

const postgres = useTestPostgres();
const corp = exampleDirectory('corp');
const AWAY = '2026-03-02T12:00:00.000Z';
let db: Database;
let revision: number;

beforeEach(async () => {
  db = await postgres.cleanDatabase();
  await initApplied(db, firstIncarnation);
  revision = 0;
});

const apply = (...changes: ((at: number) => ReceivedChange)[]) =>
  applyChanges(
    db,
    changes.map((make) => make((revision += 1))),
  );
const user = (document: ReturnType<typeof exampleUser>) => (at: number) =>
  setChange(at, { kind: 'user', document });

async function names(): Promise<string[]> {
  const rows = await db.sql<{ key: string; isMail: boolean }[]>`
    select key, is_mail as "isMail" from user_names order by key`;
  return rows.map(({ key, isMail }) => (isMail ? `${key} (mail)` : key));
}

describe('what a directory becomes', () => {
  it('shows directories by name, and with the settings, whose revision moves', async () => {
    const other = exampleDirectory('branch');
    await apply(
      (at) => setChange(at, { kind: 'directory', document: corp }),
      (at) => setChange(at, { kind: 'directory', document: other }),
      user(exampleUser('alice')),
    );
    expect(await listDirectories(db)).toEqual([other, corp]);
    expect(await readSettings(db)).toMatchObject({ revision: 2, directories: [other, corp] });
    await apply((at) => removeChange(at, 'directory', corp.id));
    expect(await readSettings(db)).toMatchObject({ revision: 4, directories: [other] });
  });

  it('keeps the place of each synchronisation, and leaves the settings as they are', async () => {
    const sync = exampleDirectorySync(corp.id);
    await apply((at) => setChange(at, { kind: 'directory-sync', document: sync }));
    expect(await readDirectorySync(db, corp.id)).toEqual(sync);
    expect((await readSettings(db)).revision).toBe(0);
    await apply((at) => removeChange(at, 'directory-sync', corp.id));
    expect(await readDirectorySync(db, corp.id)).toBeNull();
  });
});

describe('users of a directory', () => {
  it('are found by all their names, folded, each once and never again by their username', async () => {
    const link = {
      names: ['CORP\\Alice', 'alice', 'a@corp.test'],
      mails: ['a@corp.test', 'A.Lice@corp.test'],
    };
    const alice = exampleDirectoryUser('Alice', corp.id, { link });
    await apply(user(alice), user(exampleUser('bob')));
    expect(await names()).toEqual(['a.lice@corp.test (mail)', 'a@corp.test', 'corp\\alice']);
    const renamed = { ...alice, username: 'a@corp.test' };
    await apply(user(renamed));
    expect(await names()).toEqual(['a.lice@corp.test (mail)', 'alice', 'corp\\alice']);
    await apply(user({ ...exampleUser('alice', alice.id) }));
    expect(await names()).toEqual([]);
  });

  it('keep the rows of names that do not change', async () => {
    const alice = exampleDirectoryUser('alice', corp.id);
    await apply(user(alice));
    const rows = () => db.sql`select key, ctid, xmin, xmax from user_names order by key`;
    const before = await rows();
    await apply(user({ ...alice, enabled: false }));
    expect(await rows()).toEqual(before);
    const link = { ...alice.directory!, names: ['corp\\alice', 'new'] };
    await apply(user({ ...alice, directory: link }));
    const kept = (row: { key?: string }) =>
      row.key === 'corp\\alice' || row.key!.endsWith('.mail@corp.test');
    expect((await rows()).filter(kept)).toEqual(before.filter(kept));
    expect(await names()).toEqual(['alice.mail@corp.test (mail)', 'corp\\alice', 'new']);
  });

  it('leave and come back with their document; while away they are no users', async () => {
    const alice = exampleDirectoryUser('alice', corp.id);
    const bob = exampleDirectoryUser('bob', corp.id);
    await apply(user(alice), user(bob));
    const away = { ...alice, removedAt: AWAY };
    await apply(user(away));
    expect(await findUsersByKeys(db, ['alice', 'bob', 'carol', 'bob'])).toEqual([bob]);
    expect(await names()).toEqual(['bob.mail@corp.test (mail)', 'bob@corp.test', 'corp\\bob']);
    expect(await countDirectoryUsers(db, corp.id)).toBe(1);
    expect(await findUsersByObject(db, corp.id, ['x', bob.id, alice.id])).toEqual([bob, away]);
    await apply(user(alice));
    expect(await countDirectoryUsers(db, corp.id)).toBe(2);
    expect(await names()).toHaveLength(6);
    expect(await db.sql`select from removed_users`).toHaveLength(0);
    await apply(user(away));
    await apply((at) => removeChange(at, 'user', alice.id));
    expect(await findUsersByObject(db, corp.id, [alice.id])).toEqual([]);
    expect(await db.sql`select from users`).toHaveLength(1);
  });

  it('are found by the object of their own directory only', async () => {
    const [one, other] = [exampleDirectory('one'), exampleDirectory('other')];
    const link = { object: 'same-object' };
    const alice = exampleDirectoryUser('alice', one.id, { link });
    const namesake = exampleDirectoryUser('alice@other', other.id, { link });
    await apply(user(alice), user(namesake));
    expect(await findUsersByObject(db, one.id, ['same-object'])).toEqual([alice]);
    expect(await findUsersByObject(db, other.id, ['same-object'])).toEqual([namesake]);
  });

  it('are listed page by page by id, those that were removed and are kept among them', async () => {
    const all = Array.from({ length: 7 }, (_, index) => ({
      ...exampleDirectoryUser(`user ${index}`, corp.id),
      ...(index % 2 ? { removedAt: AWAY } : {}),
    })).toSorted((a, b) => (a.id < b.id ? -1 : 1));
    await apply(...all.map(user), user(exampleUser('local')));
    const pages = [];
    let afterId: string | undefined;
    for (;;) {
      const page = await listDirectoryUsers(db, corp.id, { afterId, limit: 3 });
      if (page.length === 0) break;
      pages.push(page.length);
      expect(page).toEqual(all.slice((pages.length - 1) * 3, pages.length * 3));
      afterId = page.at(-1)!.id;
    }
    expect(pages).toEqual([3, 3, 1]);
  });

  it('are looked up and listed by index, however many the directory has', async () => {
    await db.sql`insert into users
      select gen_random_uuid(), 'user ' || n, jsonb_build_object('directory',
        jsonb_build_object('id', ${corp.id}::text, 'object', 'o' || n)), n
      from generate_series(1, 3000) n`;
    for (const isAnalyzed of [false, true]) {
      if (isAnalyzed) await db.sql`analyze users`;
      expect(await scannedBy((own) => findUsersByObject(own, corp.id, ['o1', 'o2']))).toEqual([
        'users_by_directory_object 2',
      ]);
      expect(await scannedBy((own) => listDirectoryUsers(own, corp.id, { limit: 10 }))).toEqual([
        'users_by_directory 10',
      ]);
    }
  });
});

it('directories are listed with how far each is, and users whose numbers wait by themselves', async () => {
  const sync = exampleDirectorySync(corp.id);
  const branch = exampleDirectory('branch');
  await apply(
    (at) => setChange(at, { kind: 'directory', document: corp }),
    (at) => setChange(at, { kind: 'directory', document: branch }),
    (at) => setChange(at, { kind: 'directory-sync', document: sync }),
  );
  expect(await listDirectoriesWithSync(db)).toEqual([
    { document: branch, sync: null },
    { document: corp, sync },
  ]);
  const pendingPhones = [{ phone: corp.id, number: '+31612345678', seenAt: AWAY }];
  await apply(
    user(exampleDirectoryUser('quiet', corp.id)),
    user(exampleUser('local')),
    user(exampleDirectoryUser('waiting', corp.id, { link: { pendingPhones } })),
  );
  const listed = await listUsersWithPendingPhones(db, 10);
  expect(listed.map(({ username }) => username)).toEqual(['waiting']);
  await db.sql`insert into users
    select gen_random_uuid(), 'user ' || n, '{"directory": {}}', n from generate_series(1, 3000) n`;
  expect(await scannedBy((own) => listUsersWithPendingPhones(own, 10))).toEqual([
    'users_with_pending_phones 1',
  ]);
});

/** The indexes of `users` that a read goes through, with the entries it takes from each. */
async function scannedBy(read: (own: Database) => Promise<unknown>): Promise<string[]> {
  const [name] = await db.sql<{ name: string }[]>`select current_database() as name`;
  await using own = postgres.open(name!.name, { max: 1 });
  await own.sql`begin`;
  await read(own);
  const rows = await own.sql<{ name: string; entries: number }[]>`
    select indexrelid::regclass::text as name,
      pg_stat_get_xact_tuples_returned(indexrelid)::int as entries
    from pg_index where indrelid = 'users'::regclass and not indisprimary
      and pg_stat_get_xact_numscans(indexrelid) > 0 order by 1`;
  await own.sql`rollback`;
  return rows.map((row) => `${row.name} ${row.entries}`);
}
