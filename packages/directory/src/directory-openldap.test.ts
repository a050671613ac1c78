import { hasSlapd, startTestSlapd, waitFor } from '@countersign/testing';
import type { TestSlapd } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { directoryDefaults } from './defaults.ts';
import { dnKey } from './dn.ts';
import { Directory } from './directory.ts';
import { startRelay } from './testing/faulty-servers.ts';
import type { DirectoryConfig } from './types.ts';

describe.skipIf(!hasSlapd)('a directory that is an OpenLDAP', () => {
  let slapd: TestSlapd;
  let directory: Directory;

  beforeAll(async () => {
    slapd = await startTestSlapd();
    directory = new Directory(configOf(slapd));
  });
  afterAll(async () => {
    await directory?.[Symbol.asyncDispose]();
    await slapd?.stop();
  });

  const dnOf = (uid: string) => slapd.people.find((person) => person.uid === uid)!.dn;
  const open = (change: Partial<DirectoryConfig>) => new Directory(configOf(slapd, change));

  it('is named and counted by its test', async () => {
    const seen = await directory.test();
    expect(seen).toMatchObject({ ok: true, fault: null, seen: { server: 'OpenLDAP', people: 25 } });
    expect(seen.seen.namingContexts).toEqual([slapd.baseDn]);
    expect(seen.servers).toEqual([
      { url: slapd.ldapsUrl, ok: true, line: 'answers, and the account may read there' },
    ]);
  });

  it.each([
    ['alice', 'alice'],
    ['ALICE', 'alice'],
    ['EXAMPLE\\alice', 'alice'],
    ['alice@example.test', 'alice'],
    ['Alice@EXAMPLE.test', 'alice'],
  ])('finds who is called %s', async (name, uid) => {
    expect(await directory.resolve(name)).toMatchObject({ kind: 'found', dn: dnOf(uid) });
  });

  it('finds people by their DNs, with commas and pluses in them', async () => {
    for (const uid of ['alice', 'jvries']) {
      const found = await directory.resolve(uid);
      expect(found).toMatchObject({ kind: 'found' });
      expect(dnKey((found as { dn: string }).dn)).toBe(dnKey(dnOf(uid)));
      expect(await directory.resolve(dnOf(uid))).toEqual(found);
      expect(await directory.resolve(dnOf(uid).toUpperCase())).toEqual(found);
    }
  });

  it.each([
    '*',
    'ali*',
    '*)(uid=*',
    'alice)(uid=*',
    'alice*)(|(uid=*',
    '\\',
    'alice\\',
    '\\61lice',
    'alice\0',
    'alice#',
    '#alice',
    '(uid=alice)',
    'uid=alice',
    '<GUID=00000000-0000-0000-0000-000000000000>',
    'Alice Jansen',
    'OTHER\\alice',
    'alice@other.test',
    '@example.test',
    'EXAMPLE\\',
    'EXAMPLE\\*',
    '',
    ' ',
    '\ud800',
    'dc=example,dc=test',
    'uid=alice,dc=elsewhere,dc=test',
    'uid=alice,ou=people,',
    'cn=reader,ou=services,dc=example,dc=test',
  ])('has nobody who is called %j', async (name) => {
    expect(await directory.resolve(name)).toEqual({ kind: 'unknown' });
    const signIn = await directory.signIn({ name }, slapd.personPassword);
    expect(signIn).toEqual({ kind: 'refused', reason: 'unknown_name' });
  });

  it('has nobody whose name has more than 1,024 bytes', async () => {
    expect(await directory.resolve(`${'é'.repeat(512)}x`)).toEqual({ kind: 'unknown' });
  });

  it('takes neither of two who are called the same', async () => {
    const [alice, bob] = [dnOf('alice'), dnOf('bob')];
    await slapd.modify(`dn: ${bob}\nchangetype: modify\nadd: uid\nuid: alice\n`);
    try {
      expect(await directory.resolve('alice')).toEqual({ kind: 'ambiguous' });
      const signIn = await directory.signIn({ name: 'alice' }, slapd.personPassword);
      expect(signIn).toEqual({ kind: 'refused', reason: 'ambiguous_name' });
      expect(await directory.resolve(alice)).toMatchObject({ kind: 'found', dn: alice });
    } finally {
      await slapd.modify(`dn: ${bob}\nchangetype: modify\ndelete: uid\nuid: alice\n`);
    }
  });

  it('does not let a mail address stand in the way of a name', async () => {
    const [alice, bob] = [dnOf('alice'), dnOf('bob')];
    await slapd.modify(
      `dn: ${bob}\nchangetype: modify\nadd: mail\nmail: alice@example.test\nmail: only.bob@example.test\n`,
    );
    try {
      expect(await directory.resolve('alice@example.test')).toMatchObject({ dn: alice });
      expect(await directory.resolve('Only.Bob@example.test')).toMatchObject({ dn: bob });
    } finally {
      await slapd.modify(
        `dn: ${bob}\nchangetype: modify\ndelete: mail\nmail: alice@example.test\nmail: only.bob@example.test\n`,
      );
    }
  });

  it('accepts the right password, and tells why it refuses others', async () => {
    const signIn = (uid: string, password = slapd.personPassword) =>
      directory.signIn({ name: uid }, password);
    const accepted = await signIn('alice');
    expect(accepted).toMatchObject({ kind: 'accepted', dn: dnOf('alice') });
    const { object } = accepted as { object: string };
    expect(await directory.signIn({ object }, slapd.personPassword)).toEqual(accepted);
    const refused = (reason: string) => ({ kind: 'refused', reason });
    expect(await signIn('alice', 'wrong')).toEqual(refused('wrong_password'));
    expect(await signIn('lies')).toEqual(refused('account_locked'));
    expect(await signIn('mia')).toEqual(refused('must_change_password'));
    expect(await signIn('jvries')).toMatchObject({ kind: 'accepted' });
    const nobody = { object: '00000000-0000-4000-8000-000000000000' };
    expect(await directory.signIn(nobody, 'x')).toEqual(refused('unknown_name'));
    expect(await directory.signIn({ object: '*' }, 'x')).toEqual(refused('unknown_name'));
  });

  it.each([
    ['empty', ''],
    ['NUL', '\0'],
    ['NULs', '\0\0\0'],
    ['one behind NUL', '\0Wachtwoord.1'],
    ['of 1,025 bytes', 'x'.repeat(1025)],
  ])('is not even asked about a password that is %s', async (_what, password) => {
    let sent = 0;
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      sent += bytes.includes(dnOf('alice')) ? 1 : 0;
      onward.write(bytes);
    });
    await using watched = open({ servers: [relay.url] });
    const signIn = await watched.signIn({ name: 'alice' }, password);
    expect(signIn).toEqual({ kind: 'refused', reason: 'wrong_password' });
    expect(sent).toBe(0);
    expect(await watched.signIn({ name: 'alice' }, 'wrong')).toMatchObject({ kind: 'refused' });
    expect(sent).toBe(1);
  });

  it('lists containers and groups and searches people by text', async () => {
    const { containers } = await directory.listContainers(null);
    expect(containers.map(({ name }) => name)).toEqual(['groups', 'people', 'services']);
    const below = await directory.listContainers(`ou=people,${slapd.baseDn}`);
    expect(below).toMatchObject({ isMore: false, containers: { length: 5 } });
    const { groups } = await directory.listGroups('CIRCLE');
    expect(groups.map(({ name }) => name)).toEqual(['circle a', 'circle b']);
    const { people } = await directory.search({ text: 'Ångström', limit: 10 });
    expect(people.map(({ dn }) => dn)).toEqual([dnOf('zoe')]);
    expect(await directory.search({ text: '*)(uid=*', limit: 10 })).toEqual({
      people: [],
      isMore: false,
    });
    const some = await directory.search({ limit: 5 });
    expect([some.people.length, some.isMore]).toEqual([5, true]);
    await expect(directory.listContainers('dc=elsewhere')).rejects.toThrow(/not below/);
    await expect(directory.listContainers('nonsense')).rejects.toMatchObject({ fault: 'base_dn' });
  });

  it('gives values of 100 kB as they are', async () => {
    const long = 'x'.repeat(100_000);
    await slapd.modify(
      `dn: ${dnOf('bob')}\nchangetype: modify\nreplace: description\ndescription: ${long}\n`,
    );
    try {
      const { people } = await directory.search({ text: 'bob', limit: 5 });
      expect(people[0]).toMatchObject({ dn: dnOf('bob'), description: null });
      expect(people[0]?.dropped).toContainEqual(
        expect.objectContaining({ attribute: 'description' }),
      );
    } finally {
      await slapd.modify(`dn: ${dnOf('bob')}\nchangetype: modify\ndelete: description\n`);
    }
  });

  it.each<[string, Partial<DirectoryConfig>, string, RegExp]>([
    [
      'a wrong password',
      { account: { name: 'cn=x', password: 'y' } },
      'credentials',
      /name or password/,
    ],
    ['an empty password', { account: { name: 'x', password: '' } }, 'credentials', /no password/],
    ['another base', { baseDn: 'dc=elsewhere' }, 'base_dn', /the server has dc=example,dc=test/],
    ['a base that is none', { baseDn: 'nonsense' }, 'base_dn', /nonsense is not there/],
    ['nobody', { account: null }, 'base_dn', /not shown to this account/],
    ['a filter for nobody', filterUsers('(uid=none)'), 'rights', /finds nobody/],
    ['a filter that is none', filterUsers('(uid=\\ff)'), 'rights', /cannot be read/],
  ])('tells in one line that its account has %s', async (_what, change, fault, line) => {
    await using wrong = open(change);
    const seen = await wrong.test();
    expect(seen).toMatchObject({ ok: false, fault, line: expect.stringMatching(line) as string });
    expect(seen.line).not.toContain('\n');
  });

  it('does not try an account that was refused again and again', async () => {
    let binds = 0;
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      binds += bytes.includes('cn=reader') ? 1 : 0;
      onward.write(bytes);
    });
    const account = { name: slapd.reader.name, password: 'changed' };
    await using refused = open({ servers: [relay.url], account });
    const asked = await Promise.all(Array.from({ length: 20 }, () => refused.resolve('alice')));
    asked.push(await refused.resolve('alice'));
    const problem = expect.stringMatching(/refuses the account/) as string;
    for (const one of asked) expect(one).toEqual({ kind: 'unavailable', problem });
    await expect(refused.listGroups('')).rejects.toMatchObject({ fault: 'credentials' });
    expect(binds).toBe(1);
    expect(JSON.stringify(await refused.test())).not.toContain('changed');
  });

  it('never takes what a limit of size cut off for all', async () => {
    const limited = await startTestSlapd({ people: 30, sizeLimit: 10, tls: false });
    await using cut = new Directory(configOf(limited, { servers: [limited.ldapUrl] }));
    try {
      const people = await cut.search({ limit: 20 });
      expect([people.people.length, people.isMore]).toEqual([10, true]);
      const read = async () => {
        for await (const page of cut.readPeople(new AbortController().signal)) void page;
      };
      await expect(read()).rejects.toMatchObject({
        fault: 'answer',
        message: expect.stringMatching(/size limit/) as string,
      });
    } finally {
      await limited.stop();
    }
  });

  it('takes 200 sign-ins at once with twelve connections', async () => {
    let most = 0;
    await using relay = await startRelay(slapd.ldapUrl, (bytes, onward) => {
      most = Math.max(most, relay.open());
      onward.write(bytes);
    });
    await using busy = open({ servers: [relay.url] });
    const signIns = await Promise.all(
      Array.from({ length: 200 }, (_none, index) =>
        busy.signIn({ name: 'alice' }, index % 2 === 0 ? slapd.personPassword : 'wrong'),
      ),
    );
    expect(signIns.filter(({ kind }) => kind === 'accepted')).toHaveLength(100);
    expect(signIns.filter(({ kind }) => kind === 'refused')).toHaveLength(100);
    expect(most).toBeLessThanOrEqual(12);
    expect(relay.taken()).toBeLessThanOrEqual(12);
  });

  it('is asked again by name on a new connection after the server closed the idle ones', async () => {
    await using relay = await startRelay(slapd.ldapUrl);
    await using cut = open({ servers: [relay.url] });
    expect(await cut.signIn({ name: 'alice' }, slapd.personPassword)).toMatchObject({
      kind: 'accepted',
    });
    relay.cut();
    await waitFor('no connection', () => relay.open() === 0, { timeoutMs: 10_000 });
    expect(await cut.signIn({ name: 'alice' }, slapd.personPassword)).toMatchObject({
      kind: 'accepted',
    });
  });
});

function configOf(slapd: TestSlapd, change: Partial<DirectoryConfig> = {}): DirectoryConfig {
  const defaults = directoryDefaults('ldap');
  return {
    ...defaults,
    name: 'people',
    type: 'ldap',
    domains: ['EXAMPLE', 'example.test'],
    servers: [slapd.ldapsUrl],
    certificates: { ...defaults.certificates, authorities: slapd.authority },
    account: slapd.reader,
    baseDn: slapd.baseDn,
    defaultCountry: 'NL',
    connectMs: 10_000,
    answerMs: 10_000,
    ...change,
  };
}

function filterUsers(user: string): Partial<DirectoryConfig> {
  return { filters: { ...directoryDefaults('ldap').filters, user } };
}
