import { randomUUID } from 'node:crypto';
import {
  keepStopFacts,
  initApplied,
  applyChanges,
  migrate,
  openDatabase,
  readForVerification,
  type Database,
} from '@countersign/database';
import { hashApiKey } from '@countersign/operations';
import { createTestDatabase, type TestDatabase } from '@countersign/testing';
import type { ApiKeyDocument } from '@countersign/verification';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { DatabaseGate } from './database-gate.ts';
import { KeyCallers } from './key-callers.ts';

let database: TestDatabase;
let db: Database;

beforeAll(async () => {
  database = await createTestDatabase();
  db = openDatabase({ ...database, max: 2, applicationName: 'key callers' });
  await migrate(db);
  await initApplied(db, {
    number: 1,
    id: randomUUID(),
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  });
});
afterAll(async () => {
  await db.close();
  await database.drop();
});

const key: ApiKeyDocument = {
  id: randomUUID(),
  name: 'vpn',
  secretHash: hashApiKey('cs_secret'),
  scopes: ['verify'],
  applications: null,
  networks: null,
  expiresAt: null,
  createdAt: '2026-01-01T00:00:00.000Z',
};

async function apply(revision: number, document: ApiKeyDocument | null): Promise<void> {
  const change = { revision, epoch: 1, kind: 'api-key' as const, id: key.id };
  const bytes = Buffer.from(String(revision));
  const at = new Date().toISOString();
  await applyChanges(db, [
    { ...change, at, bytes, removed: document === null, document, commands: [] },
  ]);
}

it('confirms a remembered key by the revision read later, and refuses one revoked meanwhile', async () => {
  const callers = new KeyCallers(db, new DatabaseGate(() => db.sql`select 1`));
  const ask = (bearer: string) =>
    callers.authenticate({
      bearer,
      remoteAddress: '127.0.0.1',
      local: false,
      isConfirmedLater: true,
    });
  await apply(1, key);
  expect(await ask('cs_other')).toBeNull();

  const first = await ask('cs_secret');
  expect(first?.id).toBe(key.id);
  expect(first?.isStillValid).toBeUndefined();

  const second = await ask('cs_secret');
  expect(await second?.isStillValid?.(1)).toBe(true);

  await apply(2, { ...key, scopes: ['verify', 'reasons:read'] });
  expect(await second?.isStillValid?.(2)).toBe(false);
  const third = await ask('cs_secret');
  expect(third?.scopes.has('reasons:read')).toBe(true);
  expect(await third?.isStillValid?.(2)).toBe(true);

  const fourth = await ask('cs_secret');
  await apply(3, null);
  expect(await fourth?.isStillValid?.(3)).toBe(false);
  expect(await ask('cs_secret')).toBeNull();
});

it('refuses a remembered key that a stop fact revoked, though no change was applied', async () => {
  const callers = new KeyCallers(db, new DatabaseGate(() => db.sql`select 1`));
  const other: ApiKeyDocument = { ...key, id: randomUUID(), secretHash: hashApiKey('cs_third') };
  const change = { revision: 4, epoch: 1, kind: 'api-key' as const, id: other.id };
  const at = new Date().toISOString();
  await applyChanges(db, [
    { ...change, at, bytes: Buffer.from('4'), removed: false, document: other, commands: [] },
  ]);
  const ask = () =>
    callers.authenticate({
      bearer: 'cs_third',
      remoteAddress: '127.0.0.1',
      local: false,
      isConfirmedLater: true,
    });
  await ask();
  const remembered = await ask();
  const [before] = await readForVerification(db, ['anybody']);
  expect(await remembered?.isStillValid?.(before!.keysRevision)).toBe(true);
  const fact = { kind: 'api-key' as const, subject: other.id, reason: 'leaked', by: 'me' };
  await keepStopFacts(db, [{ ...fact, id: randomUUID(), node: 'node-2', at, expiresAt: null }]);
  const [after] = await readForVerification(db, ['anybody']);
  expect(after!.revision).toBe(before!.revision);
  expect(await remembered?.isStillValid?.(after!.keysRevision)).toBe(false);
  expect(await ask()).toBeNull();
});
