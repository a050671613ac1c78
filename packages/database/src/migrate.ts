import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Database, Transaction } from './open-database.ts';

export class MigrationError extends Error {
  override readonly name = 'MigrationError';
}

type Migration = { version: number; name: string; text: string; checksum: string };

/**
 * Brings the schema up to what this version knows. Safe to call from several processes at once.
 * @throws MigrationError when the database is newer, or was built from other migrations
 */
export async function migrate(
  db: Database,
  directory = join(import.meta.dirname, 'migrations'),
): Promise<void> {
  const migrations = readMigrations(directory);
  for (;;) {
    const isDone = await db.transaction((tx) => runNext(tx, migrations));
    if (isDone) return;
  }
}

function readMigrations(directory: string): Migration[] {
  const names = readdirSync(directory).filter((name) => name.endsWith('.sql'));
  const seen = new Set<number>();
  return names.toSorted().map((name) => {
    const version = Number(name.slice(0, 3));
    if (!Number.isInteger(version) || seen.has(version)) {
      throw new MigrationError(`migration ${name} needs a number of its own`);
    }
    seen.add(version);
    const text = readFileSync(join(directory, name), 'utf8');
    return { version, name, text, checksum: createHash('sha256').update(text).digest('hex') };
  });
}

async function runNext(tx: Transaction, migrations: Migration[]): Promise<boolean> {
  await tx`set local statement_timeout = '60s'`;
  await tx`select pg_advisory_xact_lock(hashtextextended('countersign migrate', 0))`;
  await tx`create table if not exists schema_migrations (
    version integer primary key,
    name text not null,
    checksum text not null,
    applied_at timestamptz not null default now()
  )`;
  const done = await tx<{ version: number; name: string; checksum: string }[]>`
    select version, name, checksum from schema_migrations order by version`;
  checkHistory(done, migrations);
  const next = migrations[done.length];
  if (!next) return true;
  await tx.unsafe(next.text);
  await tx`insert into schema_migrations (version, name, checksum)
    values (${next.version}, ${next.name}, ${next.checksum})`;
  return false;
}

function checkHistory(
  done: { version: number; name: string; checksum: string }[],
  known: Migration[],
): void {
  if (done.length > known.length) {
    throw new MigrationError(
      `the database has schema ${done.length}, this version of Countersign knows ` +
        `${known.length}: start the version that wrote it, or a newer one`,
    );
  }
  for (const [index, { name, checksum }] of done.entries()) {
    if (checksum === known[index]?.checksum) continue;
    throw new MigrationError(
      `the database was built from another ${name} than this version of Countersign has`,
    );
  }
}
