import { describe, expect, it } from 'vitest';
import { migrate } from './migrate.ts';
import { beginNextTables } from './next-tables.ts';
import { readApplied } from './read-applied.ts';
import { emptyDatabase, finishRestore, isDatabaseUnused } from './restore-tables.ts';
import { firstIncarnation } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';

const test = useTestPostgres();
const place = {
  incarnation: firstIncarnation,
  revision: 41,
  epoch: 3,
  digest: 'ab'.repeat(32),
  settingsRevision: 7,
};

describe('a database that a restore fills', () => {
  it('is a replica at the place of the backup once that is finished, and not before', async () => {
    const db = test.open(await test.migratedDatabase());
    expect(await isDatabaseUnused(db)).toBe(true);
    await finishRestore(db, place);
    expect(await isDatabaseUnused(db)).toBe(false);
    expect(await readApplied(db)).toMatchObject({
      revision: 41,
      epoch: 3,
      digest: place.digest,
      settingsRevision: 7,
      isFilled: true,
      isDigestComparable: true,
    });
  });

  it('can be emptied, and filled again', async () => {
    const db = test.open(await test.migratedDatabase());
    await finishRestore(db, place);
    await beginNextTables(db, { ...firstIncarnation, id: 'next' });
    await emptyDatabase(db);
    const [left] = await db.sql<{ count: number }[]>`
      select count(*)::int as count from pg_tables where schemaname in ('public', 'next')`;
    expect(left!.count).toBe(0);
    await migrate(db);
    expect(await isDatabaseUnused(db)).toBe(true);
    await finishRestore(db, place);
  });
});
