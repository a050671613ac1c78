import { randomUUID } from 'node:crypto';
import { SYNC_ITEM_DEFAULTS, type UserDocument } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { directoryFixture, MemoryDirectories, startApi } from './testing/index.ts';

let server: Awaited<ReturnType<typeof startApi>>;

beforeAll(async () => {
  server = await startApi();
  server.ports.addKey('reader', ['settings:read', 'users:read']);
  server.ports.addKey('people', ['users:write']);
});
afterAll(() => server.close());
beforeEach(() => {
  server.ports.commandReply = null;
  Object.assign(server.ports.directories, new MemoryDirectories());
});

async function call(method: string, path: string, body?: unknown, key = 'all') {
  const response = await fetch(`${server.url}/api/v1${path}`, {
    method,
    headers: {
      authorization: `Bearer ${key}`,
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  const json = JSON.parse(text) as Record<string, unknown>;
  return { status: response.status, text, json, code: json.code };
}

const given = {
  name: 'corp',
  type: 'active-directory',
  servers: ['ldaps://dc1.corp.test'],
  baseDn: 'DC=corp,DC=test',
  account: { name: 'CN=reader,DC=corp,DC=test', password: 'HUSH-password' },
};

describe('directories', () => {
  it('are added, listed, changed and removed, and never show a password', async () => {
    const added = await call('POST', '/directories', given);
    expect(added.status).toBe(201);
    expect(added.json).toMatchObject({
      name: 'corp',
      applied: true,
      account: { name: 'CN=reader,DC=corp,DC=test', passwordSet: true },
    });
    const listed = await call('GET', '/directories');
    const shown = await call('GET', '/directories/CORP');
    expect(shown.json).toMatchObject({ name: 'corp', lastSync: { problem: null, held: null } });
    for (const { text } of [added, listed, shown]) {
      expect(text).not.toContain('HUSH');
      expect(text).not.toContain('sealed');
    }
    const changed = await call('PATCH', '/directories/corp', { domains: ['CORP'] });
    expect(changed.json).toMatchObject({ domains: ['CORP'] });
    expect((await call('DELETE', '/directories/corp?keepUsers=true')).status).toBe(200);
    expect(server.ports.commands.at(-1)?.args).toEqual({ name: 'corp', keepUsers: true });
    expect((await call('GET', '/directories/corp')).code).toBe('unknown_directory');
  });

  it.each([
    ['another scheme', { servers: ['http://dc1.corp.test'] }],
    ['a path behind the server', { servers: ['ldaps://dc1.corp.test/x'] }],
    ['an account in the address', { servers: ['ldaps://u:p@dc1.corp.test'] }],
    ['an unknown field', { shoeSize: 43 }],
    ['an empty password', { account: { name: 'x', password: '' } }],
    ['a filter without brackets', { filters: { user: 'cn=*' } }],
    ['a sync item', { items: [] }],
  ])('are refused with %s', async (_, fields) => {
    for (const path of ['/directories', '/directories/test']) {
      const answer = await call('POST', path, { ...given, ...fields });
      expect(answer.code).toBe('invalid_request');
      expect(answer.text).not.toContain('HUSH');
    }
  });

  it('are changed, tested and searched only with the rights for it', async () => {
    server.ports.directories.stored = [{ document: directoryFixture(), sync: null }];
    const forbidden = [
      ['POST', '/directories', given, 'reader'],
      ['POST', '/directories/test', given, 'reader'],
      ['POST', '/directories/corp/test', undefined, 'reader'],
      ['PATCH', '/directories/corp', {}, 'people'],
      ['GET', '/directories/corp/people', undefined, 'reader'],
      ['POST', '/directories/corp/import', { objects: ['a'] }, 'reader'],
      ['POST', '/directories/corp/check', { username: 'a', password: 'right' }, 'reader'],
      ['POST', '/directories/corp/sync', {}, 'reader'],
      ['POST', `/approvals/${'a'.repeat(64)}/approve`, undefined, 'reader'],
    ] as const;
    for (const [method, path, body, key] of forbidden) {
      expect([path, (await call(method, path, body, key)).status]).toEqual([path, 403]);
    }
  });

  it('are tested before they are added, and afterwards by their names', async () => {
    const { report, tested } = server.ports.directories;
    const before = await call('POST', '/directories/test', given);
    expect(before.json).toEqual(report);
    expect(tested[0]).toMatchObject({ account: { password: 'HUSH-password' } });
    const document = directoryFixture();
    server.ports.directories.stored = [{ document, sync: null }];
    await call('POST', '/directories/corp/test');
    expect(tested[1]).toEqual(document);
    expect((await call('POST', '/directories/other/test')).code).toBe('unknown_directory');
  });

  it('show their containers and groups, and what people of them would become', async () => {
    const directories = server.ports.directories;
    directories.stored = [{ document: directoryFixture(), sync: null }];
    const containers = await call('GET', '/directories/corp/containers');
    expect(containers.json).toEqual({ containers: directories.containers, isMore: false });
    const groups = await call('GET', '/directories/corp/groups?search=vpn');
    expect(groups.json).toEqual({ groups: directories.groups, isMore: false });
    const people = await call('GET', '/directories/corp/people?search=*)(uid=*&limit=7');
    expect(people.json).toEqual({ people: [], isMore: false });
    expect(directories.searches).toEqual([{ text: '*)(uid=*', limit: 7 }]);
    expect((await call('GET', '/directories/corp/people?limit=201')).code).toBe('invalid_request');
  });

  it('say how a first factor comes out', async () => {
    server.ports.directories.stored = [{ document: directoryFixture(), sync: null }];
    const check = (password: string) =>
      call('POST', '/directories/corp/check', { username: 'alice', password });
    expect((await check('right')).json).toMatchObject({ outcome: 'accepted', user: null });
    expect((await check('wrong')).json).toEqual({ outcome: 'refused', reason: 'wrong_password' });
    expect((await check('')).code).toBe('invalid_request');
  });
});

describe('sync items', () => {
  it('are added, read by name or id, changed, moved and removed, each by one command', async () => {
    server.ports.directories.stored = [{ document: directoryFixture(), sync: null }];
    const scope = { kind: 'group', dn: 'CN=VPN,DC=corp,DC=test' };
    const path = '/directories/corp/items';
    const added = await call('POST', path, { name: 'vpn', scope, place: { position: 1 } });
    expect(added.status).toBe(201);
    expect(server.ports.commands.at(-1)).toMatchObject({
      name: 'directory.set-items',
      args: {
        name: 'corp',
        edit: { do: 'add', item: { name: 'vpn', scope }, place: { position: 1 } },
      },
    });
    const item = { ...SYNC_ITEM_DEFAULTS, id: added.json.item, name: 'vpn', scope };
    expect((await call('GET', path)).json).toEqual({ items: [item] });
    expect((await call('GET', `${path}/${String(added.json.item)}`)).json).toEqual(item);
    await call('PATCH', `${path}/vpn`, { update: { mail: 'never' } });
    expect((await call('GET', `${path}/VPN`)).json).toMatchObject({
      update: { mail: 'never', names: 'always' },
    });
    await call('POST', `${path}/vpn/move`, { before: 'vpn' });
    expect(server.ports.commands.at(-1)?.args.edit).toEqual({
      do: 'move',
      item: 'vpn',
      place: { before: 'vpn' },
    });
    expect((await call('DELETE', `${path}/vpn`)).status).toBe(200);
    expect((await call('GET', `${path}/vpn`)).code).toBe('unknown_item');
    expect((await call('POST', `${path}/vpn/move`, { position: 0 })).code).toBe('invalid_request');
    expect((await call('POST', path, { name: 'x', scope: { kind: 'group' } })).code).toBe(
      'invalid_request',
    );
  });
});

describe('synchronising', () => {
  it('is asked of the master, and tells what runs, what was last and what waits', async () => {
    const directories = server.ports.directories;
    const document = directoryFixture();
    directories.stored = [{ document, sync: { ...noSync(document.id), held: held() } }];
    const asked = await call('POST', '/directories/corp/sync', { full: true });
    expect(asked).toMatchObject({ status: 202, json: { started: true } });
    expect(server.ports.commands.at(-1)?.args).toEqual({ name: 'corp', full: true, dryRun: false });
    directories.statuses = [{ running: running(), nextAt: null, lastDryRun: null }];
    expect((await call('GET', '/directories/corp/sync')).json).toMatchObject({
      masterAnswers: true,
      running: { done: 10, of: 25 },
      held: { count: 6 },
    });
    const offline = { kind: 'master_offline', lastMaster: null, since: null } as const;
    server.ports.commandReply = offline;
    expect((await call('GET', '/directories/corp/sync')).json).toMatchObject({
      masterAnswers: false,
      running: null,
      held: { count: 6 },
    });
    const refused = await call('POST', '/directories/corp/sync', {});
    expect(refused).toMatchObject({ status: 503, code: 'master_offline' });
  });

  it('imports people one by one', async () => {
    server.ports.directories.stored = [{ document: directoryFixture(), sync: null }];
    const imported = await call('POST', '/directories/corp/import', { objects: ['o-1'] });
    expect(imported.json).toMatchObject({ results: [{ object: 'o-1', outcome: 'refused' }] });
    const tooMany = { objects: Array.from({ length: 201 }, (_, at) => `o-${at}`) };
    expect((await call('POST', '/directories/corp/import', tooMany)).code).toBe('invalid_request');
  });
});

describe('approvals', () => {
  it('name exactly one plan, and exactly one number', async () => {
    const directories = server.ports.directories;
    const document = directoryFixture();
    directories.stored = [{ document, sync: { ...noSync(document.id), held: held() } }];
    const user = await userWithPendingPhone(document.id, '+31612345678');
    directories.pendingPhones = [user];
    const { json } = await call('GET', '/approvals', undefined, 'reader');
    const [plan, phone] = json.approvals as { hash: string }[];
    expect(plan).toMatchObject({ kind: 'plan', directory: 'corp', count: 6, of: 40 });
    expect(phone).toMatchObject({
      kind: 'phone',
      username: 'alice',
      from: '+31600000000',
      to: '+31612345678',
    });
    await call('POST', `/approvals/${plan!.hash}/approve`);
    expect(server.ports.commands.at(-1)).toMatchObject({
      name: 'directory.approve',
      args: { name: 'corp', hash: plan!.hash },
    });
    await call('POST', `/approvals/${phone!.hash}/reject`);
    expect(server.ports.commands.at(-1)).toMatchObject({
      name: 'directory.reject-phone',
      args: { username: 'alice', number: '+31612345678' },
    });
    const by = { at: '2026-05-01T12:00:00.000Z', by: 'test' };
    user.directory!.pendingPhones![0]!.rejected = by;
    const again = (await call('GET', '/approvals')).json.approvals as { decision: unknown }[];
    expect(again[1]!.decision).toEqual({ what: 'rejected', ...by });
    // Whoever can write the directory changes the number once more, after it was looked at.
    const { phone: replaced } = user.directory!.pendingPhones![0]!;
    user.directory!.pendingPhones = [
      { phone: replaced, number: '+31698765432', seenAt: '2026-05-01T12:00:00.000Z' },
    ];
    const late = await call('POST', `/approvals/${phone!.hash}/approve`);
    expect(late).toMatchObject({ status: 404, code: 'unknown_approval' });
    expect((await call('POST', `/approvals/${phone!.hash.slice(0, 8)}/approve`)).code).toBe(
      'invalid_request',
    );
  });
});

function noSync(id: string) {
  return { id, cursor: null, basis: null, lastFullAt: null, last: null, taken: [], held: null };
}

function held() {
  return {
    hash: 'ab'.repeat(32),
    at: '2026-05-01T12:00:00.000Z',
    count: 6,
    of: 40,
    first: [{ userId: randomUUID(), username: 'bob', what: 'disable' as const }],
    decision: null,
  };
}

function running() {
  const counts = { people: 25, added: 3, changed: 0, disabled: 0, removed: 0, kept: 0 };
  return {
    kind: 'full',
    dryRun: false,
    startedAt: '2026-05-01T12:00:00.000Z',
    phase: 'writing',
    done: 10,
    of: 25,
    counts: { ...counts, held: 0, refused: 0 },
  };
}

async function userWithPendingPhone(id: string, number: string): Promise<UserDocument> {
  const { ports } = server;
  await call('POST', '/users', { username: 'alice' });
  const { document } = (await ports.findUser('alice'))!;
  const phone = randomUUID();
  const seenAt = '2026-05-01T12:00:00.000Z';
  const pendingPhones = [{ phone, number, seenAt }];
  const link = { id, object: 'o-1', dn: 'CN=a', item: null, names: [], mails: [], pendingPhones };
  const own = { type: 'phone', id: phone, number: '+31600000000', use: 'primary' } as const;
  const authenticators = [{ ...own, vouchedBy: null, verifiedAt: seenAt, createdAt: seenAt }];
  return { ...document, authenticators, directory: link };
}
