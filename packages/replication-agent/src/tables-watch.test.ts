import { randomUUID } from 'node:crypto';
import { CHANGE_FORMAT, encodeChange, type Sealer } from '@countersign/cluster';
import {
  applyChanges,
  initApplied,
  takeFinalOutbox,
  type Database,
  type ReceivedChange,
} from '@countersign/database';
import { sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { beforeAll, describe, expect, it } from 'vitest';
import { AgentEvents } from './events.ts';
import { TablesWatch } from './tables-watch.ts';
import { exampleDirectory, exampleDirectorySync } from './testing/example-directory.ts';
import { makeIncarnation, silent, useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const AT = '2026-03-01T12:00:00.000Z';
let sealer: Sealer;
beforeAll(() => {
  sealer = sealerOf(test.makeKeys().document);
});

type What = {
  kind: ReceivedChange['kind'];
  id: string;
  document: unknown;
};

function user(id: string, username: string, more = {}): What {
  const document = {
    id,
    username,
    enabled: true,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: AT,
    updatedAt: AT,
    ...more,
  };
  return { kind: 'user', id, document };
}

const apiKey: What['document'] = {
  id: randomUUID(),
  name: 'a key',
  secretHash: 'ab'.repeat(32),
  scopes: ['verify'],
  applications: null,
  networks: null,
  expiresAt: null,
  createdAt: AT,
};

/** As it would come from the log; a document that is null is removed. */
function change(revision: number, { kind, id, document }: What): ReceivedChange {
  const common = { revision, epoch: 1, kind, id, at: AT, removed: document === null, document };
  const wire = { format: CHANGE_FORMAT, changeId: randomUUID(), commandId: null, actor: 'test' };
  return {
    ...common,
    bytes: encodeChange({ ...common, ...wire, commands: [] }, sealer),
    commands: [],
  };
}

const application = {
  id: randomUUID(),
  name: 'vpn',
  enabled: true,
  userMatch: 'require',
  settings: {},
  createdAt: AT,
  updatedAt: AT,
};
const settings = { id: 'lockout', failures: 5, resetMinutes: 10, releaseMinutes: 10 };
const node = { id: 'node-1', name: 'node-1', addedAt: AT, version: '1' };
const [alice, bob, gone] = [randomUUID(), randomUUID(), randomUUID()];
const [carol, away] = [randomUUID(), randomUUID()];
const directory = exampleDirectory('corp');
const sync = exampleDirectorySync(directory.id);

const target = {
  id: randomUUID(),
  name: 'nps',
  servers: [{ host: '192.0.2.9', port: 1812 }],
  sealedSecret: 'c2VhbGVk',
  messageAuthenticator: 'require',
  timeoutMs: 12_000,
  passAttributes: ['Class'],
  createdAt: AT,
  updatedAt: AT,
};
const radiusClient = {
  id: randomUUID(),
  name: 'gateway',
  application: 'vpn',
  enabled: true,
  addresses: ['192.0.2.7'],
  sealedSecret: 'c2VhbGVk',
  messageAuthenticator: 'require',
  firstFactor: { kind: 'radius', target: target.id },
  canChallenge: true,
  codeLength: 6,
  commaCode: true,
  appendedCode: false,
  callingStation: 'text',
  isBalancer: false,
  waitSeconds: 60,
  replies: [],
  createdAt: AT,
  updatedAt: AT,
};

function linked(name: string) {
  const [names, mails] = [[`CORP\\${name}`], [`${name}@corp.test`]];
  const dn = `CN=${name},DC=corp,DC=test`;
  return { directory: { id: directory.id, object: name, dn, item: null, names, mails } };
}

const incarnation = makeIncarnation();
let shared: Promise<Database> | undefined;

async function filledReplica(): Promise<Database> {
  const db = await (shared ??= test.openDatabase());
  await db.sql`truncate documents, users, user_names, removed_users, settings_groups, applications,
    api_keys, nodes, directories, directory_syncs, radius_clients, radius_targets, command_results, applied, outbox, examination`;
  await initApplied(db, incarnation);
  await applyChanges(db, [
    change(1, user(alice, 'alice', { displayName: 'Alice 🦊' })),
    change(2, user(bob, 'Jürgen')),
    change(3, user(gone, 'gone')),
    change(4, { kind: 'settings', id: 'lockout', document: settings }),
    change(5, { kind: 'api-key', id: (apiKey as { id: string }).id, document: apiKey }),
    change(6, { kind: 'node', id: 'node-1', document: node }),
    change(7, { kind: 'probe', id: 'node-1', document: { at: AT } }),
    change(8, { kind: 'user', id: gone, document: null }),
    change(9, { kind: 'application', id: application.id, document: application }),
    change(10, { kind: 'directory', id: directory.id, document: directory }),
    change(11, { kind: 'directory-sync', id: directory.id, document: sync }),
    change(12, user(carol, 'Carol', linked('carol'))),
    change(13, user(away, 'away', { ...linked('away'), removedAt: AT })),
    change(14, { kind: 'radius-target', id: target.id, document: target }),
    change(15, { kind: 'radius-client', id: radiusClient.id, document: radiusClient }),
  ]);
  return db;
}

function watch(db: Database, signal = new AbortController().signal): TablesWatch {
  const events = new AgentEvents(db, 'node-1', (error) => {
    throw error;
  });
  return new TablesWatch({
    db,
    sealer,
    incarnationId: () => incarnation.id,
    isCaughtUp: () => true,
    events,
    log: silent,
    signal,
  });
}

describe('examining the tables', () => {
  it('finds nothing in tables that hold what was applied', async () => {
    const db = await filledReplica();
    const watching = watch(db);
    const found = await watching.examine();
    expect(found).toEqual({
      incarnationId: incarnation.id,
      revision: 15,
      documents: 14,
      problems: [],
      problemCount: 0,
    });
    expect(watching.damage).toBeNull();
    expect(await takeFinalOutbox(db, 9)).toEqual([]);
  });

  it.each([
    [
      'a flipped bit of a document',
      `update documents set bytes = set_byte(bytes, 9, get_byte(bytes, 9) # 1) where id = '${alice}'`,
      `user ${alice} is not what was received at revision 1`,
    ],
    [
      'a user who was changed by hand',
      `update users set document = document || '{"enabled": false}' where id = '${bob}'`,
      `user ${bob} is something else in its table than in its document`,
    ],
    [
      'a user found under another name',
      `update users set username_key = 'mallory' where id = '${bob}'`,
      `user ${bob} is something else`,
    ],
    ['a lost user', `delete from users where id = '${alice}'`, `user ${alice} is missing`],
    [
      'a removed user who is back',
      `insert into users select '${gone}', 'gone', document, 3 from users where id = '${alice}'`,
      `user ${gone} was removed and is still in its table`,
    ],
    [
      'a user from nowhere',
      `insert into users select '00000000-0000-4000-8000-000000000000', 'x', document, 3 from users
        where id = '${alice}'`,
      'user 00000000-0000-4000-8000-000000000000 stands in its table and is in no document',
    ],
    [
      'a user who is found by a name of somebody else',
      `insert into user_names values ('${carol}', 'away', false)`,
      `user ${carol} is something else in its table`,
    ],
    [
      'a user with a name less',
      `delete from user_names where key = 'corp\\carol'`,
      `user ${carol} is something else in its table`,
    ],
    [
      'a mail address that counts as a name',
      `update user_names set is_mail = false`,
      `user ${carol} is something else in its table`,
    ],
    [
      'a name that leads to nobody',
      `insert into user_names values ('${away}', 'away', false)`,
      `name of user ${away} stands in its table and is in no document`,
    ],
    [
      'a removed and kept user who is found again',
      `insert into users select id, 'away', document, revision from removed_users`,
      `user ${away} is something else in its table`,
    ],
    [
      'a removed and kept user who was changed by hand',
      `update removed_users set document = document - 'removedAt'`,
      `user ${away} is something else in its table`,
    ],
    [
      'a lost user of those removed and kept',
      `delete from removed_users`,
      `user ${away} is missing in its table`,
    ],
    [
      'a user who is kept as removed besides',
      `insert into removed_users select id, document, revision from users where id = '${bob}'`,
      `user ${bob} stands in its table and is in no document`,
    ],
    [
      'a directory that was led elsewhere',
      `update directories set document = document || '{"servers": ["ldap://192.0.2.9"]}'`,
      `directory ${directory.id} is something else in its table`,
    ],
    [
      'the place of a synchronisation from nowhere',
      `insert into directory_syncs values ('00000000-0000-4000-8000-000000000000', '{}', 3)`,
      'directory-sync 00000000-0000-4000-8000-000000000000 stands in its table',
    ],
    [
      'a RADIUS client at another address',
      `update radius_clients set document = document || '{"addresses": ["192.0.2.66"]}'`,
      `radius-client ${radiusClient.id} is something else in its table`,
    ],
    [
      'a lost RADIUS target',
      `delete from radius_targets`,
      `radius-target ${target.id} is missing in its table`,
    ],
    [
      'a RADIUS client from nowhere',
      `insert into radius_clients values ('00000000-0000-4000-8000-000000000000', '{}', 3)`,
      'radius-client 00000000-0000-4000-8000-000000000000 stands in its table',
    ],
    [
      'another hash of an API key',
      `update api_keys set secret_hash = '${'cd'.repeat(32)}'`,
      `is something else in its table`,
    ],
    [
      'settings changed by hand',
      `update settings_groups set document = document || '{"failures": 99}'`,
      'settings lockout is something else',
    ],
    [
      'an application that takes anybody now',
      `update applications set document = document || '{"userMatch": "pass"}'`,
      'is something else in its table',
    ],
    [
      'an application from nowhere',
      `insert into applications values ('00000000-0000-4000-8000-000000000000', '{}', 3)`,
      'application 00000000-0000-4000-8000-000000000000 stands in its table',
    ],
    [
      'a lost document',
      `delete from documents where kind = 'probe'`,
      'at revision 15 the documents give',
    ],
    [
      'a document with a hash that fits it',
      `update documents set bytes = 'x', hash = sha256(
         convert_to('probe', 'UTF8') || '\\x00' || convert_to(id, 'UTF8') || '\\x00' ||
         convert_to(revision::text, 'UTF8') || '\\x00' || 'x') where kind = 'probe'`,
      'at revision 15 the documents give',
    ],
    [
      'a digest from elsewhere',
      `update applied set digest = sha256('x')`,
      'at revision 15 the documents give digest',
    ],
  ])('finds %s', async (_what, tamper, problem) => {
    const db = await filledReplica();
    await db.sql.unsafe(tamper);
    const watching = watch(db);
    const { problems } = await watching.examine();
    expect(problems.join('\n')).toContain(problem);
    expect(watching.damage).toContain(problems[0]);
  });

  it('is not confused by changes that are applied meanwhile', async () => {
    const db = await filledReplica();
    const ids = Array.from({ length: 450 }, () => randomUUID());
    await applyChanges(
      db,
      ids.map((id, index) => change(16 + index, user(id, `user-${index}`))),
    );
    let revision = 16 + ids.length;
    let isDone = false;
    const apply = async () => {
      while (!isDone) {
        const batch = Array.from({ length: 20 }, (_, index) => {
          const at = (revision * 7) % ids.length;
          const document = revision % 5 === 0 ? null : user(ids[at]!, `again-${revision}`).document;
          return change((revision += index === 0 ? 1 : 2), {
            kind: 'user',
            id: ids[at]!,
            document,
          });
        });
        await applyChanges(db, batch);
      }
    };
    const applying = apply();
    const watching = watch(db);
    const before = revision;
    for (let round = 0; round < 3 || revision === before; round += 1) {
      expect((await watching.examine()).problems).toEqual([]);
    }
    isDone = true;
    await applying;
  });

  it('leaves an event when damage is found and when it is gone, and remembers it across a restart', async () => {
    const db = await filledReplica();
    await db.sql`update users set document = document || '{"enabled": false}' where id = ${bob}`;
    await watch(db).examine();

    const stop = new AbortController();
    let isCaughtUp = false;
    let tablesOf = incarnation.id;
    const events = new AgentEvents(db, 'node-1', () => undefined);
    const again = new TablesWatch({
      db,
      sealer,
      incarnationId: () => tablesOf,
      isCaughtUp: () => isCaughtUp,
      events,
      log: silent,
      signal: stop.signal,
    });
    const running = again.run();
    await waitFor('the damage', () => again.damage?.includes(bob), { timeoutMs: 5000 });
    tablesOf = 'the next';
    expect(again.damage).toBeNull();
    tablesOf = incarnation.id;
    await db.sql`update users set document = document || '{"enabled": true}' where id = ${bob}`;
    isCaughtUp = true;
    await waitFor('no damage', () => again.damage === null, { timeoutMs: 5000 });
    const types = async () => (await takeFinalOutbox(db, 9)).map(({ event }) => event.type);
    await waitFor('both events', async () => (await types()).length === 2, { timeoutMs: 5000 });
    expect(await types()).toEqual(['node.tables_differ', 'node.tables_match']);
    stop.abort();
    await running;
  });
});
