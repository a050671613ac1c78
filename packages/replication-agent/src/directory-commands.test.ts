import { randomUUID } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { listDirectories } from '@countersign/database';
import { openDirectoryPassword } from '@countersign/operations';
import { makeTestCertificate } from '@countersign/testing';
import type { DirectoryDocument } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { scopeOf, touchedBy } from './plan-command.ts';
import { useTestCommands } from './testing/use-test-commands.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const now = new Date('2026-05-01T12:00:00.000Z');
const tables = ['documents', 'users', 'directories', 'command_results', 'applied'];
const { db, keys, run, apply, refusalOf } = useTestCommands(test, { tables, now });

async function corp(): Promise<DirectoryDocument> {
  const [found] = await listDirectories(db());
  return found!;
}

const given = {
  name: 'corp',
  type: 'active-directory',
  servers: ['ldaps://dc1.corp.test', 'ldaps://dc2.corp.test'],
  baseDn: 'DC=corp,DC=test',
  account: { name: 'CN=reader,DC=corp,DC=test', password: 'HUSH-password' },
};
const add = (fields: object = {}) => run('directory.add', { directory: { ...given, ...fields } });
const set = (changes: object) => run('directory.set', { name: 'corp', changes });
const refusalOfSetting = (changes: object) => refusalOf('directory.set', { name: 'corp', changes });

describe('directory.add', () => {
  it('fills in what is usual, and keeps the password sealed and out of results and events', async () => {
    const planned = await add();
    expect(JSON.stringify(planned)).not.toContain('HUSH');
    expect(planned.event.details).toEqual({
      directory: 'corp',
      type: 'active-directory',
      servers: given.servers,
      account: given.account.name,
    });
    const document = await corp();
    expect(document).toMatchObject({
      attributes: { uniqueId: 'objectGUID', usernames: ['userPrincipalName', 'sAMAccountName'] },
      sync: { enabled: false },
      items: [],
    });
    expect(openDirectoryPassword(keys().seed, document)).toBe('HUSH-password');
    await add({ name: 'people', type: 'ldap', account: null });
    const [, people] = await listDirectories(db());
    expect(people).toMatchObject({ account: null, attributes: { uniqueId: 'entryUUID' } });
    expect(openDirectoryPassword(keys().seed, people!)).toBeNull();
  });

  it.each([
    ['a server without encryption', { servers: ['ldap://dc1.corp.test'] }],
    ['one that only looks like this machine', { servers: ['ldap://127.evil.test'] }],
    ['a server twice', { servers: ['ldaps://dc1', 'ldaps://DC1'] }],
    ['DirSync of an LDAP server', { type: 'ldap', sync: { changes: 'dirsync' } }],
    ['authorities that are none', { certificates: { authorities: 'abc' } }],
    ['an account without a name', { account: { password: 'x' } }],
  ])('refuses %s', async (_, fields) => {
    const args = { directory: { ...given, ...fields } };
    expect(await refusalOf('directory.add', args)).toBe('400 invalid_directory');
  });

  it('takes plain LDAP to this machine, StartTLS, and certificates of authorities', async () => {
    const certificate = await makeAuthority();
    await add({
      servers: ['ldap://127.0.0.10:389', 'ldap://[::1]', 'ldap://localhost'],
      certificates: { authorities: certificate },
    });
    await set({ servers: ['ldap://dc1.corp.test'], startTls: true, account: given.account });
  });

  it('refuses an account without its password, names that are taken, and more than there may be', async () => {
    const account = { name: 'CN=reader' };
    const without = { directory: { ...given, account } };
    expect(await refusalOf('directory.add', without)).toBe('400 secret_required');
    await add();
    const again = { directory: { ...given, name: 'CORP' } };
    expect(await refusalOf('directory.add', again)).toBe('409 directory_name_taken');
    for (let count = 1; count < 50; count += 1) await add({ name: `d${count}` });
    const more = { directory: { ...given, name: 'one more' } };
    expect(await refusalOf('directory.add', more)).toBe('409 too_many_directories');
  });
});

describe('directory.set', () => {
  it('changes what it names, tells what that was, and changes nothing that is so already', async () => {
    await add();
    const { event } = await set({
      domains: ['CORP'],
      attributes: { phones: { custom: 'otherMobile' } },
      sync: { enabled: true, intervalMinutes: 1 },
    });
    const { phones } = (await corp()).attributes;
    expect(phones).toMatchObject({ custom: 'otherMobile', mobile: 'mobile' });
    expect(event.details).toEqual({
      directory: 'corp',
      domains: ['CORP'],
      'attributes.phones': phones,
      'sync.enabled': true,
      'sync.intervalMinutes': 1,
    });
    expect(await refusalOfSetting({ domains: ['CORP'] })).toBe('unchanged');
    expect(await refusalOfSetting({ account: given.account })).toBe('unchanged');
    await add({ name: 'other' });
    expect(await refusalOfSetting({ name: 'Other' })).toBe('409 directory_name_taken');
    await set({ name: 'CORP' });
    expect((await corp()).name).toBe('CORP');
  });

  it('asks for the password again before it would go anywhere else (rule 25)', async () => {
    await add();
    const certificate = await makeAuthority();
    const moves = [
      { servers: ['ldaps://evil.test'] },
      { servers: [...given.servers, 'ldaps://evil.test'] },
      { startTls: true },
      { certificates: { authorities: certificate } },
      { certificates: { serverName: 'evil.test' } },
      { certificates: { pinned: ['ab'.repeat(32)] } },
      { account: { name: 'CN=other' } },
    ];
    for (const changes of moves) {
      expect([changes, await refusalOfSetting(changes)]).toEqual([changes, '400 secret_required']);
    }
    await set({ servers: given.servers.toReversed() });
    expect(openDirectoryPassword(keys().seed, await corp())).toBe('HUSH-password');
    const password = 'HUSH-other';
    const { event } = await set({ servers: ['ldaps://dc3.corp.test'], account: { password } });
    expect(event.details).toMatchObject({ 'account.password': 'set' });
    expect(JSON.stringify(event)).not.toContain('HUSH');
    expect(openDirectoryPassword(keys().seed, await corp())).toBe(password);
    await set({ account: null });
    expect(await refusalOfSetting({ account: { name: 'CN=reader' } })).toBe('400 secret_required');
  });

  it('leaves the password worthless to whoever changes its place in the tables', async () => {
    await add();
    await db()
      .sql`update directories set document = document || '{"servers": ["ldaps://evil.test"]}'`;
    const moved = await corp();
    expect(() => openDirectoryPassword(keys().seed, moved)).toThrow('another context');
  });
});

describe('directory.set-items', () => {
  const scope = { kind: 'domain' };
  const edit = (what: object) => run('directory.set-items', { name: 'corp', edit: what });
  const refusalOfEdit = (what: object) =>
    refusalOf('directory.set-items', { name: 'corp', edit: what });
  const names = async () => (await corp()).items.map(({ name }) => name).join(' ');

  it('keeps the items in order, each edit one change', async () => {
    await add();
    await edit({ do: 'add', item: { name: 'all', scope } });
    const { event, result } = await edit({
      do: 'add',
      item: { name: 'vpn', scope: { kind: 'group', dn: 'CN=VPN' }, method: 'text' },
      place: { before: 'ALL' },
    });
    expect(event.details).toMatchObject({ item: 'vpn', what: 'add', position: 1 });
    await edit({ do: 'add', item: { name: 'last', scope, update: { mail: 'never' } } });
    expect(await names()).toBe('vpn all last');
    await edit({ do: 'move', item: String(result.item), place: { after: 'all' } });
    expect(await names()).toBe('all vpn last');
    await edit({ do: 'move', item: 'last', place: { position: 1 } });
    expect(await names()).toBe('last all vpn');
    await edit({ do: 'set', item: 'last', changes: { name: 'first', update: { names: 'never' } } });
    const [first] = (await corp()).items;
    expect(first).toMatchObject({
      onRemoval: 'disable',
      update: { mail: 'never', names: 'never', phones: 'always' },
    });
    await edit({ do: 'remove', item: 'all' });
    expect(await names()).toBe('first vpn');
    expect(await refusalOfEdit({ do: 'move', item: 'vpn', place: { position: 99 } })).toBe(
      'unchanged',
    );
  });

  it('refuses names that are taken, items that are not there, and more than there may be', async () => {
    await add();
    await edit({ do: 'add', item: { name: 'a', scope } });
    await edit({ do: 'add', item: { name: 'b', scope } });
    const again = { do: 'add', item: { name: 'A', scope } };
    expect(await refusalOfEdit(again)).toBe('409 item_name_taken');
    const renamed = { do: 'set', item: 'b', changes: { name: 'A' } };
    expect(await refusalOfEdit(renamed)).toBe('409 item_name_taken');
    expect(await refusalOfEdit({ do: 'remove', item: 'c' })).toBe('404 unknown_item');
    const lost = { do: 'move', item: 'a', place: { before: 'c' } };
    expect(await refusalOfEdit(lost)).toBe('404 unknown_item');
    for (let count = 2; count < 100; count += 1) {
      await edit({ do: 'add', item: { name: `i${count}`, scope } });
    }
    const more = { do: 'add', item: { name: 'one more', scope } };
    expect(await refusalOfEdit(more)).toBe('409 too_many_items');
  });
});

describe('directory.remove', () => {
  it('keeps its users only where that is wanted', async () => {
    const { document } = await add();
    const at = now.toISOString();
    const link = { id: document.id, object: 'o-1', dn: 'CN=a', item: null, names: [], mails: [] };
    const id = randomUUID();
    const own = { enabled: true, blocked: null, unlockedAt: null, authenticators: [] };
    const dates = { createdAt: at, updatedAt: at };
    const content = { id, username: 'alice', ...own, directory: link, ...dates };
    await apply({ kind: 'user', id, removed: false, content });
    expect(await refusalOf('directory.remove', { name: 'corp' })).toBe('409 directory_has_users');
    const { result } = await run('directory.remove', { name: 'CORP', keepUsers: true });
    expect(result).toEqual({ id: document.id, keptUsers: 1 });
    expect(await listDirectories(db())).toEqual([]);
    expect(await refusalOf('directory.remove', { name: 'corp' })).toBe('404 unknown_directory');
  });
});

it('directories are for whoever may write settings, and no two commands of them run at once', () => {
  for (const name of ['directory.add', 'directory.set', 'directory.set-items']) {
    expect(scopeOf(name)).toBe('settings:write');
    expect(touchedBy(name, { name: 'corp' })).toBe('everything');
  }
});

async function makeAuthority(): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-authority-'));
  try {
    return (await makeTestCertificate(folder)).authority;
  } finally {
    rmSync(folder, { recursive: true });
  }
}
