import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { migrate } from '../migrate.ts';
import { openDatabase } from '../open-database.ts';
import type { Database, DatabaseOptions } from '../open-database.ts';
import { startTestPostgres } from './start-postgres.ts';
import type { TestPostgres } from './start-postgres.ts';

/** One server for the test file, and as many empty databases of it as its tests want. */
export function useTestPostgres() {
  let server: TestPostgres | undefined;
  const open: { db: Database; name: string | null }[] = [];

  beforeAll(async () => {
    server = await startTestPostgres();
  }, 60_000);

  afterAll(async () => {
    await Promise.all(open.map(({ db }) => db.close()));
    if (!server) return;
    const admin = openDatabase({ ...server.connection, max: 1, applicationName: 'test' });
    for (const { name } of open) {
      if (name) await admin.sql`drop database if exists ${admin.sql(name)} with (force)`;
    }
    await admin.close();
    await server.stop();
  }, 60_000);

  const running = () => {
    if (!server) throw new Error('the test server is not up yet');
    return server;
  };

  return {
    server: running,
    /** Another pool on the same database. */
    reopen(db: Database, options: Partial<DatabaseOptions> = {}): Database {
      const again = openDatabase({ ...optionsOf.get(db)!, ...options });
      optionsOf.set(again, { ...optionsOf.get(db)!, ...options });
      open.push({ db: again, name: null });
      return again;
    },
    async emptyDatabase(options: Partial<DatabaseOptions> = {}): Promise<Database> {
      const name = `countersign_${randomUUID().replaceAll('-', '')}`;
      const connection = { ...running().connection, max: 8, applicationName: 'test' };
      const admin = openDatabase({ ...connection, max: 1 });
      await admin.sql`create database ${admin.sql(name)}`;
      await admin.close();
      const db = openDatabase({ ...connection, database: name, ...options });
      optionsOf.set(db, { ...connection, database: name, ...options });
      open.push({ db, name });
      return db;
    },
    async migratedDatabase(options: Partial<DatabaseOptions> = {}): Promise<Database> {
      const db = await this.emptyDatabase(options);
      await migrate(db);
      return db;
    },
  };
}

const optionsOf = new WeakMap<Database, DatabaseOptions>();
