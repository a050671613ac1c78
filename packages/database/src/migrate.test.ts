import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getTableColumns, getTableName, is } from './drizzle.ts';
import { PgTable } from './drizzle.ts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { migrate, MigrationError } from './migrate.ts';
import * as schema from './schema.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const postgres = useTestPostgres();
let directory: string;

beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'migrations-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

function writeMigrations(...texts: string[]): void {
  for (const [index, text] of texts.entries()) {
    writeFileSync(join(directory, `00${index + 1}-test.sql`), text);
  }
}

const first = 'create table a (n int); insert into a values (1);';
const second = 'alter table a add column m int;';

describe('migrating', () => {
  it('runs what is missing, once, however many processes ask at the same time', async () => {
    const name = await postgres.emptyDatabase();
    const pools = Array.from({ length: 4 }, () => postgres.open(name));
    writeMigrations(first);
    await Promise.all(pools.map((db) => migrate(db, directory)));
    writeMigrations(first, second);
    await Promise.all(pools.map((db) => migrate(db, directory)));
    expect(await pools[0]!.sql`select * from a`).toEqual([{ n: 1, m: null }]);
    expect(await pools[0]!.sql`select version, name from schema_migrations order by 1`).toEqual([
      { version: 1, name: '001-test.sql' },
      { version: 2, name: '002-test.sql' },
    ]);
  });

  it('refuses a database of a newer schema with one line that says what to do', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    await db.sql`
      insert into schema_migrations (version, name, checksum)
      select max(version) + 1, 'x', 'y' from schema_migrations`;
    const failure = migrate(db);
    await expect(failure).rejects.toThrow(MigrationError);
    await expect(failure).rejects.toThrow(/^the database has schema \d+, .* knows \d+: start .*$/);
  });

  it('refuses a database that was built from another migration of the same number', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    writeMigrations(first, second);
    await migrate(db, directory);
    writeMigrations(`${first} -- changed`);
    await expect(migrate(db, directory)).rejects.toThrow(/another 001-test.sql/);
  });

  it('leaves nothing of a migration that fails', async () => {
    const db = postgres.open(await postgres.emptyDatabase());
    writeMigrations(first, 'create table b (n int); select 1 / 0;');
    await expect(migrate(db, directory)).rejects.toThrow('division by zero');
    const [row] = await db.sql`select to_regclass('a') as a, to_regclass('b') as b`;
    expect(row).toEqual({ a: 'a', b: null });
  });

  it('gives the tables that the code expects', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    const stored = await db.sql<{ table_name: string; column_name: string }[]>`
      select table_name, column_name, is_nullable from information_schema.columns
      where table_schema = 'public' and table_name <> 'schema_migrations'
        and table_name <> 'events_default'
      order by table_name, column_name`;
    const expected = Object.values(schema)
      .filter((table) => is(table, PgTable))
      .flatMap((table) =>
        Object.values(getTableColumns(table)).map((column) => ({
          table_name: getTableName(table),
          column_name: column.name,
          is_nullable: column.notNull ? 'NO' : 'YES',
        })),
      );
    const key = (row: { table_name: string; column_name: string }) =>
      `${row.table_name} ${row.column_name}`;
    expect([...stored].toSorted((a, b) => key(a).localeCompare(key(b)))).toEqual(
      expected.toSorted((a, b) => key(a).localeCompare(key(b))),
    );
  });

  it('gives replicated tables no unique or foreign key besides their identity', async () => {
    const db = postgres.open(await postgres.migratedDatabase());
    const keys = await db.sql`
      select conrelid::regclass::text as table, pg_get_constraintdef(oid) as key from pg_constraint
      where contype in ('u', 'f', 'x', 'p') and conrelid::regclass::text in
        ('documents', 'users', 'user_names', 'removed_users', 'settings_groups', 'applications',
          'administrators', 'api_keys', 'nodes', 'directories', 'directory_syncs',
          'radius_clients', 'radius_targets')
      order by 1`;
    expect(keys.map((row) => `${row.table}: ${row.key}`)).toEqual([
      'administrators: PRIMARY KEY (id)',
      'api_keys: PRIMARY KEY (id)',
      'applications: PRIMARY KEY (id)',
      'directories: PRIMARY KEY (id)',
      'directory_syncs: PRIMARY KEY (id)',
      'documents: PRIMARY KEY (kind, id)',
      'nodes: PRIMARY KEY (id)',
      'radius_clients: PRIMARY KEY (id)',
      'radius_targets: PRIMARY KEY (id)',
      'removed_users: PRIMARY KEY (id)',
      'settings_groups: PRIMARY KEY (id)',
      'user_names: PRIMARY KEY (user_id, key)',
      'users: PRIMARY KEY (id)',
    ]);
    const unique = await db.sql`
      select indexrelid::regclass::text as name from pg_index
      where indisunique and not indisprimary and indrelid::regclass::text not like 'pg_%'`;
    expect(unique).toEqual([]);
  });
});
