import { existsSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { join } from 'node:path';

import { isRunning } from '@countersign/engines';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { certificateAt } from './certificate-at.ts';
import { replaceAttributes } from './ldif.ts';
import { startInKilledProcess } from './killed-test.ts';
import { searchDirectory } from './search-directory.ts';
import { hasSamba, startTestSamba, type TestSamba } from './start-test-samba.ts';
import { waitFor } from './wait-for.ts';

describe.skipIf(!hasSamba)('Samba as a domain controller', () => {
  let samba: TestSamba;
  beforeAll(async () => {
    samba = await startTestSamba({ people: 'staff' });
  }, 180_000);
  afterAll(async () => await samba?.stop());

  const search = (filter: string, ...attributes: string[]) =>
    searchDirectory({
      url: samba.ldapsUrl,
      authorityFile: join(samba.folder, 'ca.pem'),
      name: samba.reader.name,
      password: samba.reader.password,
      base: samba.baseDn,
      filter,
      attributes,
    });
  const signIn = (account: string, password = samba.personPassword) =>
    samba.modifyAs(`CORP\\${account}`, password, '');
  const find = (account: string) => samba.staff.find((person) => person.account === account)!;

  it('the reader sees everybody of the staff, through a certificate of the authority', async () => {
    const found = await search('(&(objectClass=user)(mobile=*))', 'sAMAccountName');
    expect(found.match(/^dn/gm)!.length).toBeGreaterThan(25);
    for (const { account } of samba.staff) {
      expect(await search(`(sAMAccountName=${account})`, 'cn')).toMatch(/^dn/);
    }
  });

  it('people sign in, and those who may not are told why', async () => {
    await signIn('alice');
    await signIn('øyvind');
    await samba.modifyAs('u.principal@other.example', samba.personPassword, '');
    await expect(signIn('alice', 'wrong')).rejects.toThrow('data 52e');
    await expect(signIn('nobody')).rejects.toThrow('data 52e');
    await expect(signIn('daan')).rejects.toThrow('data 533');
    await expect(signIn('mia')).rejects.toThrow('data 773');
    await expect(signIn('xander')).rejects.toThrow('data 701');
  });

  it('somebody in a group of a group is in the group; a circle of groups ends', async () => {
    const inGroup = (cn: string) =>
      `(memberOf:1.2.840.113556.1.4.1941:=CN=${cn},OU=Groups,${samba.baseDn})`;
    const members = await search(`(&(objectClass=user)${inGroup('VPN Users')})`, 'sAMAccountName');
    expect(members.match(/^sAMAccountName: .*$/gm)!.toSorted()).toEqual(
      ['alice', 'bob', 'daan', 'jvries', 'zoe'].map((account) => `sAMAccountName: ${account}`),
    );
    const circle = await search(`(&(objectClass=user)${inGroup('Circle A')})`, 'cn');
    expect(circle.match(/^cn: .*$/gm)!.toSorted()).toEqual(['cn: Gijs Gracht', 'cn: Hanna Gracht']);
  });

  it('people may write their own mobile number, and neither their title nor that of others', async () => {
    const [alice, bob] = [find('alice').dn, find('bob').dn];
    const asAlice = (ldif: string) => samba.modifyAs('alice@corp.test', samba.personPassword, ldif);
    await asAlice(replaceAttributes(alice, { mobile: '+31 6 7777 0001' }));
    expect(await search('(sAMAccountName=alice)', 'mobile')).toContain('+31 6 7777 0001');
    await expect(asAlice(replaceAttributes(alice, { title: 'Chief' }))).rejects.toThrow('(50)');
    await expect(asAlice(replaceAttributes(bob, { mobile: '1' }))).rejects.toThrow('(50)');
  });

  it('the administrator changes people over LDAP and with samba-tool', async () => {
    await samba.modify(replaceAttributes(find('lotte').dn, { mail: 'l@corp.test', mobile: [] }));
    const lotte = await search('(sAMAccountName=lotte)', 'mail', 'mobile');
    expect(lotte).toContain('mail: l@corp.test');
    expect(lotte).not.toContain('mobile');
    await samba.samba('user', 'disable', 'kees');
    await expect(signIn('kees')).rejects.toThrow('data 533');
  });

  it('a server falls silent when paused, survives being killed, and is gone when stopped', async () => {
    const trial = await startTestSamba({ people: 'none' });
    const answers = async () => (await certificateAt(trial.address, 636)) === trial.sha256;
    await waitFor('an answer', answers, { timeoutMs: 10_000 });
    trial.pause();
    expect(await answers()).toBe(false);
    trial.resume();
    await waitFor('an answer after the pause', answers, { timeoutMs: 10_000 });
    const first = trial.pid();
    await trial.kill();
    expect(isRunning(first)).toBe(false);
    await trial.restart();
    await waitFor('an answer after the restart', answers, { timeoutMs: 10_000 });
    const second = trial.pid();
    await trial.stop();
    expect(isRunning(second)).toBe(false);
    expect(existsSync(trial.folder)).toBe(false);
  }, 180_000);

  it('a killed test process leaves no server behind', async () => {
    const { pid, folder } = await startInKilledProcess(`async ({ startTestSamba }) => {
      const server = await startTestSamba({ people: 'none' });
      await server.modifyAs(server.reader.name, server.reader.password, '');
      return server;
    }`);
    await waitFor('the server to be gone', () => !isRunning(pid), { timeoutMs: 10_000 });
    await rm(folder, { recursive: true, force: true });
  }, 180_000);
});
