import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { findApiKeys } from './api-keys.ts';
import { ApplyError, applyChanges, hashDocument } from './apply-changes.ts';
import type { ReceivedChange } from './apply-changes.ts';
import { findCommandResult, recentCommandResults } from './command-results.ts';
import { countDocuments } from './documents.ts';
import { listEpochs } from './epochs.ts';
import { listNodes } from './nodes.ts';
import type { Database } from './open-database.ts';
import { initApplied, readApplied } from './read-applied.ts';
import { recomputeDigest } from './recompute-digest.ts';
import { readForVerification } from './read-for-verification.ts';
import { readSettings } from './settings.ts';
import {
  barrier,
  exampleAdministrator,
  exampleApiKey,
  exampleApplication,
  exampleDirectory,
  exampleDirectoryUser,
  exampleNode,
  exampleRadiusClient,
  exampleRadiusTarget,
  exampleUser,
  removeChange,
  seededRandom,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { findUserById, findUsersByKey } from './users.ts';

const postgres = useTestPostgres();

async function freshReplica(database?: Database): Promise<Database> {
  const db = database ?? (await postgres.cleanDatabase());
  await initApplied(db, {
    number: 1,
    id: 'a1b2',
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  });
  return db;
}

describe('applying changes', () => {
  it('gives the same digest and tables however a run of changes is cut into batches', async () => {
    const history = randomHistory(seededRandom(42), 900);
    const names = [];
    for (let count = 0; count < 3; count++) names.push(await postgres.migratedDatabase());
    const replicas = await Promise.all(names.map((name) => freshReplica(postgres.open(name))));
    const contents = [];
    for (const [index, db] of replicas.entries()) {
      const random = seededRandom(index);
      // The first replica takes the largest batches, the others cut at random.
      const size = () => (index === 0 ? 500 : 1 + Math.floor(random() ** 3 * 200));
      for (let from = 0; from < history.length;) {
        const to = from + size();
        await applyChanges(db, history.slice(from, to));
        from = to;
      }
      const applied = await readApplied(db);
      expect(applied?.digest).toBe(digestByHand(history));
      expect(await recomputeDigest(db)).toEqual({
        revision: applied?.revision,
        digest: applied?.digest,
        stored: applied?.digest,
      });
      contents.push(await dump(db));
    }
    expect(contents[1]).toEqual(contents[0]);
    expect(contents[2]).toEqual(contents[0]);
    expect(Object.values(contents[0] ?? {}).every((rows) => rows.length > 0)).toBe(true);
  });

  it('ends with the digest of the full log when it follows a compacted one', async () => {
    const history = randomHistory(seededRandom(7), 300);
    const newest = new Map(history.map((change) => [change.kind + change.id, change]));
    const compacted = [...newest.values()].toSorted((a, b) => a.revision - b.revision);
    const db = await freshReplica();
    const horizon = history.at(-1)?.revision ?? 0;
    const partial = await applyChanges(db, compacted.slice(0, 5), { horizon });
    expect(partial.isDigestComparable).toBe(false);
    const applied = await applyChanges(db, compacted.slice(5));
    expect(applied).toMatchObject({ isDigestComparable: true, digest: digestByHand(history) });
  });

  it('takes the last of several changes of one document in a batch', async () => {
    const db = await freshReplica();
    const user = exampleUser('Alice');
    const applied = await applyChanges(db, [
      setChange(1, { kind: 'user', document: user }),
      setChange(2, { kind: 'user', document: { ...user, username: 'Alicia' } }),
    ]);
    expect(await findUsersByKey(db, 'alicia')).toMatchObject([
      { revision: 2, document: { ...user, username: 'Alicia' } },
    ]);
    expect(await findUsersByKey(db, 'alice')).toEqual([]);
    expect(applied.digest).toBe((await recomputeDigest(db)).digest);
  });

  it('keeps a tombstone in the digest but no user of it', async () => {
    const db = await freshReplica();
    const user = exampleUser('bob');
    await applyChanges(db, [setChange(1, { kind: 'user', document: user })]);
    const removal = removeChange(2, 'user', user.id);
    const applied = await applyChanges(db, [removal]);
    expect(await findUserById(db, user.id)).toBeNull();
    expect(await countDocuments(db, 'user')).toBe(1);
    expect(applied.digest).toBe(hashDocument(removal));
  });

  it('accepts two users of one name, which a compacted log can hold for a moment', async () => {
    const db = await freshReplica();
    await applyChanges(db, [
      setChange(1, { kind: 'user', document: exampleUser('carol') }),
      setChange(2, { kind: 'user', document: exampleUser('Carol') }),
    ]);
    expect(await findUsersByKey(db, 'carol')).toHaveLength(2);
  });

  it('refuses what was applied before and leaves everything as it was', async () => {
    const db = await freshReplica();
    const change = setChange(5, { kind: 'node', document: exampleNode('node-1') });
    await applyChanges(db, [change]);
    const before = await dump(db);
    const stale = setChange(5, { kind: 'node', document: exampleNode('node-2') });
    await expect(applyChanges(db, [stale])).rejects.toThrow(ApplyError);
    await expect(applyChanges(db, [{ ...stale, revision: 4 }])).rejects.toThrow(/4 came after 5/);
    expect(await dump(db)).toEqual(before);
  });

  it('refuses revisions that do not increase, documents that are missing, and empty batches', async () => {
    const db = await freshReplica();
    const one = setChange(3, { kind: 'node', document: exampleNode('node-1') });
    await expect(applyChanges(db, [one, { ...one, revision: 3 }])).rejects.toThrow(
      /3 came after 3/,
    );
    await expect(applyChanges(db, [{ ...one, document: null }])).rejects.toThrow(/no document/);
    await expect(applyChanges(db, [])).rejects.toThrow(ApplyError);
    expect(await readApplied(db)).toMatchObject({ revision: 0, digest: '00'.repeat(32) });
  });

  it('refuses to apply to a replica that is in no incarnation', async () => {
    const db = await postgres.cleanDatabase();
    const change = setChange(1, { kind: 'node', document: exampleNode('node-1') });
    await expect(applyChanges(db, [change])).rejects.toThrow(/no incarnation/);
  });

  it('lets exactly one of several processes apply the same revision', async () => {
    const db = await freshReplica();
    const results = await Promise.allSettled(
      Array.from({ length: 6 }, (_, index) =>
        applyChanges(db, [setChange(1, { kind: 'node', document: exampleNode(`node-${index}`) })]),
      ),
    );
    expect(results.filter((one) => one.status === 'fulfilled')).toHaveLength(1);
    const { digest, stored } = await recomputeDigest(db);
    expect(digest).toBe(stored);
  });

  it('enters an epoch with the last message of its barrier and not before', async () => {
    const db = await freshReplica();
    const messages = barrier(3, 1);
    const partial = await applyChanges(db, messages.slice(0, 127));
    expect(partial.epoch).toBe(0);
    const complete = await applyChanges(db, messages.slice(127));
    expect(complete).toMatchObject({ epoch: 3, revision: 128 });
    expect(await listEpochs(db)).toEqual([{ epoch: 3, firstRevision: 1 }]);
  });

  it('notices bytes that were changed on disk', async () => {
    const db = await freshReplica();
    await applyChanges(db, [setChange(1, { kind: 'user', document: exampleUser('dave') })]);
    await db.sql`update documents set bytes = '\\x00'`;
    const { digest, stored } = await recomputeDigest(db);
    expect(digest).not.toBe(stored);
  });

  it('stores text that PostgreSQL cannot, with the replacement character for it', async () => {
    const db = await freshReplica();
    const user = exampleUser('erin');
    const odd = { ...user, displayName: 'a\0b \ud800 \\u0000 \ud83d\ude00' };
    await applyChanges(db, [setChange(1, { kind: 'user', document: odd })]);
    const stored = await findUserById(db, user.id);
    expect(stored?.displayName).toBe('a\ufffdb \ufffd \\u0000 \ud83d\ude00');
  });
});

describe('the models filled by changes', () => {
  it('give settings with the highest revision of any of them, removals included', async () => {
    const db = await freshReplica();
    const failures = { id: 'lockout', failures: 3, resetMinutes: 10, releaseMinutes: 10 } as const;
    await applyChanges(db, [
      setChange(1, { kind: 'settings', document: failures }),
      setChange(2, { kind: 'user', document: exampleUser('frank') }),
    ]);
    expect(await readSettings(db)).toMatchObject({
      revision: 1,
      settings: { lockout: { failures: 3 }, failover: { mode: 'automatic' } },
    });
    await applyChanges(db, [removeChange(3, 'settings', 'lockout')]);
    expect(await readSettings(db)).toMatchObject({
      revision: 3,
      settings: { lockout: { failures: 5 } },
    });
  });

  it('give applications by folded name with the settings, and count towards the same revision', async () => {
    const db = await freshReplica();
    const vpn = exampleApplication('VPN Köln');
    await applyChanges(db, [setChange(1, { kind: 'application', document: vpn })]);
    expect(await readSettings(db)).toMatchObject({
      revision: 1,
      applications: new Map([['vpn köln', vpn]]),
    });
    const renamed = { ...vpn, name: 'mail', settings: {} };
    await applyChanges(db, [
      setChange(2, { kind: 'application', document: renamed }),
      setChange(3, { kind: 'user', document: exampleUser('gina') }),
    ]);
    const [read] = await readForVerification(db, ['gina']);
    expect(read?.settingsRevision).toBe(2);
    expect((await readSettings(db)).applications).toEqual(new Map([['mail', renamed]]));
    await applyChanges(db, [removeChange(4, 'application', vpn.id)]);
    expect(await readSettings(db)).toMatchObject({ revision: 4, applications: new Map() });
  });

  it('give the later of two applications that share a name while a replica catches up', async () => {
    const db = await freshReplica();
    const [first, second] = [exampleApplication('VPN'), exampleApplication('vpn')];
    await applyChanges(db, [
      setChange(1, { kind: 'application', document: second }),
      setChange(2, { kind: 'application', document: first }),
    ]);
    expect((await readSettings(db)).applications).toEqual(new Map([['vpn', first]]));
  });

  it('find an API key by the hash of its secret, and none where two share it', async () => {
    const db = await freshReplica();
    const key = exampleApiKey('secret');
    await applyChanges(db, [setChange(1, { kind: 'api-key', document: key })]);
    const [found, other] = await findApiKeys(db, [key.secretHash, 'ff'.repeat(32)]);
    expect(found).toEqual({ document: key, revision: 1 });
    expect(other).toBeNull();
    await applyChanges(db, [setChange(2, { kind: 'api-key', document: exampleApiKey('secret') })]);
    expect((await findApiKeys(db, [key.secretHash]))[0]).toBeNull();
  });

  it('list the nodes', async () => {
    const db = await freshReplica();
    await applyChanges(db, [
      setChange(1, { kind: 'node', document: exampleNode('node-2') }),
      setChange(2, { kind: 'node', document: exampleNode('node-1') }),
    ]);
    expect((await listNodes(db)).map((node) => node.name)).toEqual(['node-1', 'node-2']);
  });
});

describe('command results', () => {
  it('are kept from every change, also those another change of the batch replaced', async () => {
    const db = await freshReplica();
    const node = exampleNode('node-1');
    const [first, second] = [randomUUID(), randomUUID()];
    const at = '2026-03-01T12:00:00.000Z';
    const command = (commandId: string) => ({ commandId, contentHash: 'h', at, result: { ok: 1 } });
    await applyChanges(db, [
      setChange(1, { kind: 'node', document: node }, { commands: [command(first)], at }),
      setChange(2, { kind: 'node', document: node }, { commands: [command(second)], at }),
    ]);
    expect(await findCommandResult(db, first)).toEqual({
      commandId: first,
      contentHash: 'h',
      result: { ok: 1 },
      revision: 1,
      at,
    });
    expect(await findCommandResult(db, second)).toMatchObject({ revision: 2 });
    expect(await findCommandResult(db, randomUUID())).toBeNull();
    const recent = await recentCommandResults(db, 'node', 'node-1', 5);
    expect(recent.map((one) => one.commandId)).toEqual([first, second]);
    expect(await recentCommandResults(db, 'node', 'node-1', 1)).toEqual(recent.slice(1));
  });

  it('keep the revision at which they were first seen and go after 10 minutes', async () => {
    const db = await freshReplica();
    const commandId = randomUUID();
    const at = '2026-03-01T12:00:00.000Z';
    const commands = [{ commandId, contentHash: 'h', at, result: {} }];
    const user = exampleUser('grace');
    const later = (ms: number) => new Date(Date.parse(at) + ms).toISOString();
    await applyChanges(db, [setChange(1, { kind: 'user', document: user }, { at, commands })]);
    await applyChanges(db, [
      setChange(2, { kind: 'user', document: user }, { at: later(600_000), commands }),
    ]);
    expect(await findCommandResult(db, commandId)).toMatchObject({ revision: 1, result: {} });
    await applyChanges(db, [
      setChange(3, { kind: 'user', document: user }, { at: later(600_001) }),
    ]);
    expect(await findCommandResult(db, commandId)).toBeNull();
  });
});

/** Random changes over few documents, with gaps, times that step back, and two barriers. */
function randomHistory(random: () => number, length: number): ReceivedChange[] {
  const pick = (count: number) => Math.floor(random() * count);
  const ids = Array.from({ length: 40 }, () => randomUUID());
  const changes: ReceivedChange[] = barrier(1, 1, 5);
  let revision = 5;
  while (changes.length < length) {
    revision += 1 + pick(3);
    if (changes.length === Math.floor(length / 2)) {
      changes.push(...barrier(2, revision, 5));
      revision += 5;
    }
    const id = ids[pick(ids.length)] ?? '';
    const change = randomChange(revision, id, pick);
    const at = new Date(Date.UTC(2026, 2, 1) + revision * 2000 - pick(300_000)).toISOString();
    const commands = [{ commandId: randomUUID(), contentHash: 'h', at, result: { revision } }];
    changes.push({ ...change, at, commands });
  }
  return changes;
}

function randomChange(revision: number, id: string, pick: (count: number) => number) {
  const failures = { id: 'lockout', failures: 1 + pick(9), resetMinutes: 5, releaseMinutes: 5 };
  switch (pick(16)) {
    case 13:
      return setChange(revision, { kind: 'radius-client', document: exampleRadiusClient('r', id) });
    case 14:
      return pick(2) === 0
        ? removeChange(revision, 'radius-target', id)
        : setChange(revision, { kind: 'radius-target', document: exampleRadiusTarget('r', id) });
    case 9:
      return setChange(revision, { kind: 'directory', document: exampleDirectory('corp', id) });
    case 10:
    case 11:
    case 12:
      return setChange(revision, { kind: 'user', document: directoryUser(id, pick) });
    case 15: {
      const document = exampleAdministrator(`admin ${pick(9)}`, id);
      return pick(2) === 0
        ? removeChange(revision, 'administrator', id)
        : setChange(revision, { kind: 'administrator', document });
    }
    case 0:
      return removeChange(revision, 'user', id);
    case 1:
      return setChange(revision, { kind: 'settings', document: failures as never });
    case 2:
      return setChange(revision, { kind: 'api-key', document: exampleApiKey(`${pick(9)}`, id) });
    case 3:
      return setChange(revision, { kind: 'node', document: exampleNode(`node-${pick(5)}`) });
    case 4:
      return removeChange(revision, 'node', `node-${pick(5)}`);
    case 5:
      return setChange(revision, { kind: 'application', document: exampleApplication('vpn', id) });
    default:
      return setChange(revision, { kind: 'user', document: exampleUser(`user ${pick(30)}`, id) });
  }
}

/** Some are removed and kept, and names go from one to the other. */
function directoryUser(id: string, pick: (count: number) => number) {
  const names = Array.from({ length: pick(4) }, () => `name ${pick(9)}`);
  const mails = Array.from({ length: pick(3) }, () => `name ${pick(9)}`);
  const user = exampleDirectoryUser(`user ${pick(30)}`, id, { id, link: { names, mails } });
  return pick(3) === 0 ? { ...user, removedAt: '2026-03-02T12:00:00.000Z' } : user;
}

function digestByHand(history: ReceivedChange[]): string {
  const newest = new Map(history.map((change) => [`${change.kind} ${change.id}`, change]));
  const digest = Buffer.alloc(32);
  for (const change of newest.values()) {
    for (const [index, byte] of Buffer.from(hashDocument(change), 'hex').entries()) {
      digest[index] = (digest[index] ?? 0) ^ byte;
    }
  }
  return digest.toString('hex');
}

async function dump(db: Database) {
  return {
    documents: await db.sql`select * from documents order by kind, id`,
    users: await db.sql`select * from users order by id`,
    names: await db.sql`select * from user_names order by user_id, key`,
    removedUsers: await db.sql`select * from removed_users order by id`,
    directories: await db.sql`select * from directories order by id`,
    radiusClients: await db.sql`select * from radius_clients order by id`,
    radiusTargets: await db.sql`select * from radius_targets order by id`,
    settings: await db.sql`select * from settings_groups order by id`,
    applications: await db.sql`select * from applications order by id`,
    administrators: await db.sql`select * from administrators order by id`,
    apiKeys: await db.sql`select * from api_keys order by id`,
    nodes: await db.sql`select * from nodes order by id`,
    epochs: await db.sql`select * from epochs order by epoch`,
    commands: await db.sql`select * from command_results order by command_id`,
    applied: await db.sql`select epoch, revision, digest, settings_revision from applied`,
  };
}
