import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ensureStreams, namesOf, NatsLink, type Incarnation, type Log } from '@countersign/cluster';
import { migrate, openDatabase, type Database } from '@countersign/database';
import { createClusterKeyFile, deriveKeys } from '@countersign/keys';
import { createTestDatabase, startTestNats, waitFor, type TestNats } from '@countersign/testing';
import { afterAll, beforeAll } from 'vitest';

export const silent: Log = { info() {}, warn() {} };

const limits = { changesBytes: 8 << 20, statesBytes: 1 << 20, eventsBytes: 4 << 20 };

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

/** A real nats-server and real PostgreSQL databases for one test file. */
export function useTestLog() {
  const closing: (() => Promise<unknown>)[] = [];
  let nats: TestNats;
  let lastNumber = 0;

  beforeAll(async () => {
    nats = await startTestNats({ servers: 1 });
  }, 60_000);

  afterAll(async () => {
    for (const close of closing.toReversed()) await close();
    await nats.stop();
  });

  function connect(): NatsLink {
    const servers = nats.urls.map((url) => url.replace('nats://', ''));
    const { user, password } = nats;
    const link = new NatsLink({ servers, user, password, name: 'test', log: silent });
    closing.push(() => link.close());
    return link;
  }

  return {
    connect,
    /** Runs at the end, before what was opened earlier is closed. */
    atEnd: (close: () => Promise<unknown>) => void closing.push(close),
    /** Streams of their own. */
    async beginIncarnation(link: NatsLink): Promise<Incarnation> {
      lastNumber += 1;
      const number = lastNumber;
      const begin = () => ensureStreams(link, namesOf(number), { logReplicas: 1, limits });
      await waitFor('the streams', () => begin().then(() => true), { timeoutMs: 15_000 });
      return makeIncarnation(number);
    },
    async openDatabase(): Promise<Database> {
      const { drop, ...connection } = await createTestDatabase();
      closing.push(drop);
      const db = openDatabase({ ...connection, max: 6, applicationName: 'test' });
      closing.push(() => db.close());
      await migrate(db);
      return db;
    },
    makeKeys() {
      const folder = mkdtempSync(join(tmpdir(), 'countersign-agent-'));
      closing.push(async () => rmSync(folder, { recursive: true, force: true }));
      const key = createClusterKeyFile(join(folder, 'cluster.key'));
      return deriveKeys(key, ['document', 'seed', 'socket-proof', 'event']);
    },
  };
}
