import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureStreams, namesOf, NatsLink, type Incarnation, type Log } from '@countersign/cluster';
import { migrate, openDatabase, type Database } from '@countersign/database';
import { createClusterKeyFile, deriveKeys } from '@countersign/keys';
import {
  createTestDatabase,
  startTestNats,
  waitFor,
  type TestConnection,
  type TestNats,
} from '@countersign/testing';
import { afterAll, beforeAll } from 'vitest';
import { AGENT_KEYS } from '../config.ts';

export const silent: Log = { info() {}, warn() {} };

export const limits = { changesBytes: 8 << 20, statesBytes: 1 << 20, eventsBytes: 4 << 20 };

/** One that nothing was rebuilt for. */
export function makeIncarnation(number = 1): Incarnation {
  return {
    number,
    id: randomUUID(),
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  };
}

/** Real nats-servers and real PostgreSQL databases for one test file. */
export function useTestLog({ servers }: { servers: 1 | 3 } = { servers: 1 }) {
  const closing: (() => Promise<unknown>)[] = [];
  const connections = new Map<Database, TestConnection>();
  let nats: TestNats;
  let lastNumber = 0;

  beforeAll(async () => {
    nats = await startTestNats({ servers });
  }, 60_000);

  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
    await nats.stop();
  });

  /** To any of them, or to one alone. */
  function connect(index?: number): NatsLink {
    const all = nats.urls.map((url) => url.replace('nats://', ''));
    const { user, password } = nats;
    const to = index === undefined ? all : [all[index]!];
    const link = new NatsLink({ servers: to, user, password, name: 'test', log: silent });
    closing.push(() => link.close());
    return link;
  }

  function open(connection: TestConnection): Database {
    const db = openDatabase({ ...connection, max: 6, applicationName: 'test' });
    connections.set(db, connection);
    closing.push(() => db.close());
    return db;
  }

  return {
    connect,
    nats: () => nats,
    /** Runs at the end, before what was opened earlier is closed. */
    atEnd: (close: () => Promise<unknown>) => void closing.push(close),
    /** Streams of their own. */
    async beginIncarnation(link: NatsLink): Promise<Incarnation> {
      // Rebuilds count on from here.
      lastNumber += 10;
      const number = lastNumber;
      const begin = () => ensureStreams(link, namesOf(number), { logReplicas: servers, limits });
      await waitFor('the streams', () => begin().then(() => true), { timeoutMs: 15_000 });
      return makeIncarnation(number);
    },
    async openDatabase(): Promise<Database> {
      const { drop, ...connection } = await createTestDatabase();
      closing.push(drop);
      const db = open(connection);
      await migrate(db);
      return db;
    },
    /** Another pool on the same database. */
    openAgain: (db: Database): Database => open(connections.get(db)!),
    makeKeys() {
      const folder = mkdtempSync(join(tmpdir(), 'countersign-agent-'));
      closing.push(async () => rmSync(folder, { recursive: true, force: true }));
      const key = createClusterKeyFile(join(folder, 'cluster.key'));
      return deriveKeys(key, AGENT_KEYS);
    },
  };
}
