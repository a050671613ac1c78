import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { isRunning } from '@countersign/engines';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { certificateAt } from './certificate-at.ts';
import { isListening } from './is-listening.ts';
import { startInKilledProcess } from './killed-test.ts';
import { deleteEntry, replaceAttributes } from './ldif.ts';
import { searchDirectory } from './search-directory.ts';
import { hasSlapd, startTestSlapd, type TestSlapd } from './start-test-slapd.ts';
import { waitFor } from './wait-for.ts';

function searchAsReader(slapd: TestSlapd, filter: string, over: 'tls' | 'starttls' = 'tls') {
  return searchDirectory({
    url: over === 'tls' ? slapd.ldapsUrl : slapd.ldapUrl,
    startTls: over === 'starttls',
    authorityFile: join(slapd.folder, 'ca.pem'),
    name: slapd.reader.name,
    password: slapd.reader.password,
    base: slapd.baseDn,
    filter,
    attributes: ['*', '+'],
  });
}

describe.skipIf(!hasSlapd)('OpenLDAP', () => {
  let slapd: TestSlapd;
  beforeAll(async () => {
    slapd = await startTestSlapd({ people: 1_200 });
  });
  afterAll(async () => await slapd?.stop());

  const search = (filter: string, over?: 'tls' | 'starttls') => searchAsReader(slapd, filter, over);
  const dnOf = (uid: string) => slapd.people.find((person) => person.uid === uid)!.dn;
  const signIn = (uid: string, password = slapd.personPassword) =>
    slapd.modifyAs(dnOf(uid), password, '');

  it('the reader sees everybody through TLS and StartTLS, with what identifies them', async () => {
    for (const over of ['tls', 'starttls'] as const) {
      const people = await search('(objectClass=inetOrgPerson)', over);
      expect(people.match(/^dn:/gm)).toHaveLength(1_200);
      expect(people.match(/^entryUUID: /gm)).toHaveLength(1_200);
      expect(people).not.toContain('userPassword');
    }
  });

  it('people sign in unless the password is wrong or the account locked', async () => {
    await signIn('jvries');
    await signIn('person001199');
    await expect(signIn('alice', 'wrong')).rejects.toThrow('(49)');
    await expect(signIn('lies')).rejects.toThrow('(49)');
    await signIn('bart');
    await slapd.modify(replaceAttributes(dnOf('bart'), { pwdAccountLockedTime: '000001010000Z' }));
    await expect(signIn('bart')).rejects.toThrow('(49)');
  });

  it('people may write their own mobile number and nothing of others', async () => {
    const asBob = (ldif: string) => slapd.modifyAs(dnOf('bob'), slapd.personPassword, ldif);
    await asBob(replaceAttributes(dnOf('bob'), { mobile: '+31 6 7777 0001' }));
    expect(await search('(uid=bob)')).toContain('mobile: +31 6 7777 0001');
    await expect(asBob(replaceAttributes(dnOf('bob'), { title: 'Chief' }))).rejects.toThrow('(50)');
    await expect(asBob(replaceAttributes(dnOf('zoe'), { mobile: '1' }))).rejects.toThrow('(50)');
  });

  it('memberOf is there for who was loaded, and follows changes', async () => {
    const members = `cn=vpn users,ou=groups,${slapd.baseDn}`;
    expect(await search('(uid=bob)')).toContain(`memberOf: ${members}`);
    await slapd.modify(replaceAttributes(members, { member: [dnOf('nora'), dnOf('eva')] }));
    expect(await search('(uid=bob)')).not.toContain(`memberOf: ${members}`);
    expect(await search('(uid=nora)')).toContain(`memberOf: ${members}`);
    await slapd.modify(deleteEntry(dnOf('eva')));
    expect(await search('(cn=vpn users)')).not.toContain(dnOf('eva'));
  });

  it('a limit of size cuts what the reader gets, also in pages', async () => {
    const limited = await startTestSlapd({ people: 600, sizeLimit: 100, tls: false });
    await expect(
      searchDirectory({
        ...{ url: limited.ldapUrl, base: limited.baseDn, filter: '(uid=*)', attributes: ['uid'] },
        ...limited.reader,
      }),
    ).rejects.toThrow('Size limit exceeded');
    await limited.stop();
  });

  it('an expired certificate is shown, and refused by who looks', async () => {
    const expired = await startTestSlapd({ certificate: 'expired' });
    const port = Number(new URL(expired.ldapsUrl).port);
    const shown = () => certificateAt('127.0.0.1', port);
    expect(await waitFor('a certificate', shown, { timeoutMs: 10_000 })).toBe(expired.sha256);
    await expect(searchAsReader(expired, '(uid=alice)')).rejects.toThrow(
      "Can't contact LDAP server",
    );
    await expired.stop();
  });

  it('a server falls silent when paused, survives being killed, and is gone when stopped', async () => {
    const trial = await startTestSlapd();
    const port = Number(new URL(trial.ldapsUrl).port);
    const answers = async () => (await certificateAt('127.0.0.1', port)) === trial.sha256;
    await waitFor('an answer', answers, { timeoutMs: 10_000 });
    trial.pause();
    expect(await answers()).toBe(false);
    trial.resume();
    await waitFor('an answer after the pause', answers, { timeoutMs: 10_000 });
    const alice = trial.people[0]!.dn;
    await trial.modify(replaceAttributes(alice, { mail: 'kept@example.test' }));
    const first = trial.pid();
    await trial.kill();
    expect(isRunning(first)).toBe(false);
    await trial.restart();
    expect(await searchAsReader(trial, '(uid=alice)')).toContain('kept@example.test');
    const second = trial.pid();
    await trial.stop();
    expect(isRunning(second)).toBe(false);
    expect(await isListening(port)).toBe(false);
    expect(existsSync(trial.folder)).toBe(false);
  });

  it('a killed test process leaves no server behind', async () => {
    const { pid, folder } = await startInKilledProcess(`async ({ startTestSlapd }) => {
      const server = await startTestSlapd();
      await server.modifyAs(server.reader.name, server.reader.password, '');
      return server;
    }`);
    await waitFor('the server to be gone', () => !isRunning(pid), { timeoutMs: 10_000 });
    await rm(folder, { recursive: true, force: true });
  });
});
