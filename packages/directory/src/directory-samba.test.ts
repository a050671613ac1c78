import { hasSamba, startTestSamba, waitFor } from '@countersign/testing';
import type { TestSamba } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Connection } from './connection.ts';
import { directoryDefaults } from './defaults.ts';
import { Directory } from './directory.ts';
import { parseServer } from './open-socket.ts';
import { guidBytes } from './read-person.ts';
import type { DirectoryConfig } from './types.ts';

describe.skipIf(!hasSamba)('a directory that is an Active Directory (Samba)', () => {
  let samba: TestSamba;
  let directory: Directory;

  beforeAll(async () => {
    samba = await startTestSamba();
    directory = new Directory(configOf(samba));
  });
  afterAll(async () => {
    await directory?.[Symbol.asyncDispose]();
    await samba?.stop();
  });

  const dnOf = (account: string) => samba.staff.find((one) => one.account === account)!.dn;
  const open = (change: Partial<DirectoryConfig>) => new Directory(configOf(samba, change));
  /** What Samba itself says to a bind with these words. */
  const binds = async (name: string, password = samba.personPassword) => {
    const config = configOf(samba);
    await using connection = await Connection.open(parseServer(samba.ldapsUrl), config);
    return (await connection.bind(name, password)).code === 0;
  };

  it('is named and counted by its test, with DirSync for an ordinary account', async () => {
    const seen = await directory.test();
    expect(seen).toMatchObject({ ok: true, fault: null });
    expect(seen.seen).toMatchObject({ server: 'Active Directory (Samba)', changes: 'DirSync' });
    expect(seen.seen.people).toBeGreaterThanOrEqual(samba.staff.length);
    expect(seen.seen.namingContexts).toContain(samba.baseDn);
  });

  // What Samba takes in a bind (Windows takes more of these), and whom we take for it.
  it.each([
    ['a short name', () => 'alice', { samba: false, found: true }],
    ['a domain and a short name', () => 'CORP\\alice', { samba: true, found: true }],
    ['a realm and a short name', () => 'corp.test\\alice', { samba: false, found: true }],
    ['a user principal name', () => 'alice@corp.test', { samba: true, found: true }],
    ['a principal in other letters', () => 'ALICE@CORP.TEST', { samba: true, found: true }],
    ['a short name at the domain', () => 'alice@CORP', { samba: true, found: true }],
    ['a DN', () => dnOf('alice'), { samba: true, found: true }],
    ['a DN in other letters', () => dnOf('alice').toUpperCase(), { samba: true, found: true }],
    ['a display name', () => 'Alice Jansen', { samba: false, found: false }],
    [
      'a canonical name',
      () => 'corp.test/Staff/Amsterdam/Alice Jansen',
      { samba: true, found: false },
    ],
    ['an object GUID', () => guid, { samba: false, found: false }],
    ['an object GUID in braces', () => `{${guid}}`, { samba: false, found: false }],
    ['an object GUID as a DN', () => `<GUID=${guid}>`, { samba: true, found: false }],
    ['a SID', () => sid, { samba: true, found: false }],
    ['a SID as a DN', () => `<SID=${sid}>`, { samba: true, found: false }],
    ['a service principal', () => 'HTTP/alice.corp.test', { samba: false, found: false }],
    ['a mapped name', () => 'alice\0', { samba: false, found: false }],
  ])('takes only what is a name of ours: %s', async (_what, form, { samba: isTaken, found }) => {
    expect(await binds(form())).toBe(isTaken);
    const resolved = await directory.resolve(form());
    if (!found) expect(resolved).toEqual({ kind: 'unknown' });
    else expect(resolved).toEqual({ kind: 'found', object: guid, dn: dnOf('alice') });
  });

  let guid: string;
  let sid: string;
  beforeAll(async () => {
    const alice = await directory.resolve('alice');
    guid = (alice as { object: string }).object;
    sid = await readSid(samba, guid);
    await samba.modify(
      `dn: ${dnOf('alice')}\nchangetype: modify\nadd: servicePrincipalName\nservicePrincipalName: HTTP/alice.corp.test\n`,
    );
  });

  it.each(['*', 'ali*', '*)(sAMAccountName=*', 'CORP\\*', 'OTHER\\alice', 'alice@other.example'])(
    'has nobody who is called %j',
    async (name) => {
      expect(await directory.resolve(name)).toEqual({ kind: 'unknown' });
    },
  );

  it('finds and lets in people with letters of other alphabets, commas and pluses', async () => {
    for (const account of ['zoe', 'øyvind', 'ØYVIND', 'jvries', 'lixl']) {
      const dn = dnOf(account.toLowerCase());
      const signIn = await directory.signIn({ name: account }, samba.personPassword);
      expect(signIn).toMatchObject({ kind: 'accepted' });
      expect(await directory.resolve(dn)).toMatchObject({ kind: 'found' });
    }
  });

  it('tells why somebody cannot sign in', async () => {
    const signIn = (account: string, password = samba.personPassword) =>
      directory.signIn({ name: account }, password);
    const refused = (reason: string) => ({ kind: 'refused', reason });
    expect(await signIn('bob')).toMatchObject({ kind: 'accepted', dn: dnOf('bob') });
    expect(await signIn('bob', 'wrong')).toEqual(refused('wrong_password'));
    expect(await signIn('daan')).toEqual(refused('account_disabled'));
    expect(await signIn('xander')).toEqual(refused('account_expired'));
    expect(await signIn('mia')).toEqual(refused('must_change_password'));
    expect(await signIn('nobody')).toEqual(refused('unknown_name'));
    await samba.modify(
      `dn: ${samba.baseDn}\nchangetype: modify\nreplace: lockoutThreshold\nlockoutThreshold: 3\n`,
    );
    for (let count = 0; count < 3; count += 1) await signIn('gijs', 'wrong');
    expect(await signIn('gijs')).toEqual(refused('account_locked'));
  });

  it('finds a person by object after a rename and a move, and not after a removal', async () => {
    const { object } = (await directory.resolve('lotte')) as { object: string };
    const dn = dnOf('lotte');
    const moved = `CN=Lotte Renamed,OU=Utrecht,OU=Staff,${samba.baseDn}`;
    await samba.modify(
      `dn: ${dn}\nchangetype: modrdn\nnewrdn: CN=Lotte Renamed\ndeleteoldrdn: 1\nnewsuperior: OU=Utrecht,OU=Staff,${samba.baseDn}\n`,
    );
    const signIn = () => directory.signIn({ object }, samba.personPassword);
    expect(await signIn()).toEqual({ kind: 'accepted', object, dn: moved });
    expect(await directory.resolve(dn)).toEqual({ kind: 'unknown' });
    await samba.modify(`dn: ${moved}\nchangetype: delete\n`);
    expect(await signIn()).toEqual({ kind: 'refused', reason: 'unknown_name' });
  });

  it('does not choose between two with the same mail address', async () => {
    const write = (account: string) =>
      `dn: ${dnOf(account)}\nchangetype: modify\nreplace: mail\nmail: team@corp.test\n\n`;
    await samba.modify(write('hanna') + write('ivo'));
    expect(await directory.resolve('team@corp.test')).toEqual({ kind: 'ambiguous' });
    const signIn = await directory.signIn({ name: 'team@corp.test' }, samba.personPassword);
    expect(signIn).toEqual({ kind: 'refused', reason: 'ambiguous_name' });
  });

  it('does not take a password without TLS, and takes one with StartTLS', async () => {
    await using plain = open({ servers: [samba.ldapUrl] });
    expect(await plain.test()).toMatchObject({ ok: false, fault: 'certificate' });
    await using secured = open({ servers: [samba.ldapUrl], startTls: true });
    expect(await secured.test()).toMatchObject({ ok: true });
  });

  it('is read again within the pause after it was down', async () => {
    await using restarted = open({});
    expect(await restarted.resolve('alice')).toMatchObject({ kind: 'found' });
    await samba.kill();
    expect(await restarted.resolve('alice')).toMatchObject({ kind: 'unavailable' });
    await samba.restart();
    const isBack = async () => (await restarted.resolve('alice')).kind === 'found';
    await waitFor('the directory', isBack, { timeoutMs: 15_000, everyMs: 100 });
  });
});

async function readSid(samba: TestSamba, guid: string): Promise<string> {
  const config = configOf(samba);
  await using connection = await Connection.open(parseServer(samba.ldapsUrl), config);
  await connection.bind(config.account!.name, config.account!.password);
  const { entries } = await connection.search(`<GUID=${guid}>`, {
    scope: 'base',
    filter: '(objectClass=*)',
    attributes: ['objectSid', 'objectGUID'],
  });
  expect(entries[0]?.values.get('objectguid')).toEqual([guidBytes(guid)]);
  const bytes = entries[0]!.values.get('objectsid')![0]!;
  // MS-DTYP 2.4.2.2.
  const parts = Array.from({ length: bytes[1]! }, (_none, at) => bytes.readUInt32LE(8 + 4 * at));
  return ['S', bytes[0], bytes.readUIntBE(2, 6), ...parts].join('-');
}

function configOf(samba: TestSamba, change: Partial<DirectoryConfig> = {}): DirectoryConfig {
  return {
    ...directoryDefaults('active-directory'),
    name: 'Corp',
    type: 'active-directory',
    domains: [samba.netbios, samba.realm.toLowerCase()],
    servers: [samba.ldapsUrl],
    certificates: { authorities: samba.authority, pinned: [], serverName: null },
    account: samba.reader,
    baseDn: samba.baseDn,
    defaultCountry: 'NL',
    ...change,
  };
}
