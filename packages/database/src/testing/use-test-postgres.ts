import { randomUUID } from 'node:crypto';
import { afterAll, beforeAll } from 'vitest';
import { untilAnswering } from '../claim-database.ts';
import { migrate } from '../migrate.ts';
import { openDatabase } from '../open-database.ts';
import type { Database, DatabaseOptions } from '../open-database.ts';
import { startTestPostgres } from './start-postgres.ts';
import type { TestPostgres } from './start-postgres.ts';

/** One server for the test file, and as many databases of it as its tests want. */
export function useTestPostgres() {
  const databases: string[] = [];
  const pools: Database[] = [];
  let server: TestPostgres;
  let admin: Database;
  let template: Promise<string> | undefined;
  let shared: Database | undefined;

  beforeAll(async () => {
    server = await startTestPostgres();
    const connection = { ...server.connection, max: 1, applicationName: 'test admin' };
    // Copying a database takes a slow disk its time.
    admin = openDatabase({ ...connection, statementTimeoutMs: 30_000 });
    await untilAnswering(admin, { timeoutMs: 30_000 });
  });

  afterAll(async () => {
    await Promise.all(pools.map((db) => db.close()));
    for (const name of databases) {
      await admin.sql`drop database if exists ${admin.sql(name)} with (force)`;
    }
    await admin.close();
    await server.stop();
  });

  async function createDatabase(from: string): Promise<string> {
    const name = `countersign_${randomUUID().replaceAll('-', '')}`;
    await admin.sql`create database ${admin.sql(name)} template ${admin.sql(from)}`;
    databases.push(name);
    return name;
  }

  async function createTemplate(): Promise<string> {
    const name = await createDatabase('template0');
    await using db = open(name);
    await untilAnswering(db, { timeoutMs: 30_000 });
    await migrate(db);
    return name;
  }

  /** A pool of its own on the database of this name. */
  function open(database: string, options: Partial<DatabaseOptions> = {}): Database {
    const connection = { ...server.connection, max: 8, applicationName: 'test' };
    const db = openDatabase({ ...connection, database, ...options });
    pools.push(db);
    return db;
  }

  async function migratedDatabase(): Promise<string> {
    template ??= createTemplate();
    return createDatabase(await template);
  }

  return {
    open,
    emptyDatabase: () => createDatabase('template0'),
    migratedDatabase,
    /** The file's own database with its tables emptied: quicker, but one test at a time. */
    async cleanDatabase(): Promise<Database> {
      if (!shared) {
        shared = open(await migratedDatabase());
        await untilAnswering(shared, { timeoutMs: 30_000 });
      }
      await shared.sql`truncate documents, users, user_names, removed_users, settings_groups, applications,
        api_keys, administrators, nodes, directories, directory_syncs, radius_clients, radius_targets, epochs, command_results, applied, examination, erasures, user_states, positions, events, outbox, reservations, stop_facts`;
      await shared.sql`update circuit set open = false`;
      return shared;
    },
  };
}
