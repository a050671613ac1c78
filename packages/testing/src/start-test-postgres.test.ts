import postgres from 'postgres';
import { expect, it } from 'vitest';

import {
  createTestDatabase,
  formatPostgresUrl,
  parsePostgresUrl,
  testPostgres,
} from './start-test-postgres.ts';

it('databases are separate, copy their template and are gone after drop', async () => {
  const first = await createTestDatabase();
  const sql = postgres({ ...first, max: 1 });
  await sql`CREATE TABLE thing (name text)`;
  await sql`INSERT INTO thing VALUES ('one')`;
  await sql.end();

  const copy = await createTestDatabase({ template: first.database });
  const copySql = postgres({ ...copy, max: 1 });
  expect(await copySql`SELECT name FROM thing`).toEqual([{ name: 'one' }]);

  const empty = await createTestDatabase();
  const emptySql = postgres({ ...empty, max: 1 });
  await expect(emptySql`SELECT name FROM thing`).rejects.toThrow('does not exist');
  await emptySql.end();

  // Dropping must work although copySql still holds a connection.
  await Promise.all([first.drop(), copy.drop(), empty.drop()]);
  await copySql.end();
  const server = postgres({ ...(await testPostgres()), max: 1 });
  const names = [first.database, copy.database, empty.database];
  expect(await server`SELECT 1 FROM pg_database WHERE datname IN ${server(names)}`).toEqual([]);
  await server.end();
});

it('a URL names a server by host or by the folder of its socket', () => {
  const remote = {
    host: 'db.example',
    port: 6543,
    user: 'me',
    database: 'main',
    password: 'p@ss',
  };
  expect(parsePostgresUrl('postgres://me:p%40ss@db.example:6543/main')).toEqual(remote);
  const local = { host: '/tmp/a b', port: 5432, user: 'me', database: 'main' };
  for (const connection of [remote, local]) {
    expect(parsePostgresUrl(formatPostgresUrl(connection))).toEqual(connection);
  }
});
