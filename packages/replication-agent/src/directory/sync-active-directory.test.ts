import { findUserById } from '@countersign/database';
import { hasSamba, startTestSamba, replaceAttributes, type TestSamba } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { exampleItem, startTestSync } from '../testing/start-test-sync.ts';
import { useTestLog } from '../testing/use-test-log.ts';

const test = useTestLog();

describe.skipIf(!hasSamba)('the synchronisation of an Active Directory', () => {
  let samba: TestSamba;
  beforeAll(async () => {
    samba = await startTestSamba({ people: 'staff' });
  }, 60_000);
  afterAll(() => samba.stop());

  const dnOf = (account: string) => samba.staff.find((one) => one.account === account)!.dn;
  const moving = (dn: string, rdn: string, to: string) =>
    samba.modify(
      `dn: ${dn}\nchangetype: modrdn\nnewrdn: ${rdn}\ndeleteoldrdn: 1\nnewsuperior: ${to}\n\n`,
    );

  function startSync(items = [exampleItem('all', { kind: 'domain' })]) {
    return startTestSync(test, {
      type: 'active-directory',
      servers: [samba.ldapsUrl],
      baseDn: samba.baseDn,
      domains: ['CORP', 'corp.test'],
      certificates: { authorities: samba.authority, pinned: [], serverName: null },
      reader: samba.reader,
      items,
    });
  }

  it('turns each change there into one here, and nothing where there is none', async () => {
    const staff = `OU=Staff,${samba.baseDn}`;
    const vpn = `CN=VPN Users,OU=Groups,${samba.baseDn}`;
    const sync = await startSync([
      exampleItem('vpn', { kind: 'group', dn: vpn }, { method: 'call' }),
      exampleItem('staff', { kind: 'container', dn: staff }, { onRemoval: 'remove' }),
    ]);
    await sync.run();
    const all = await sync.users();
    expect(all).toHaveLength(samba.staff.length);
    for (let round = 0; round < 3; round += 1) expect(await sync.run()).toBe(0);
    const item = (name: string) => sync.directory.items.find((one) => one.name === name)!.id;
    const byAccount = async (account: string) =>
      (await sync.users()).find(({ directory }) => directory!.names.includes(`corp\\${account}`))!;
    expect(await byAccount('daan')).toMatchObject({ enabled: false });
    expect((await byAccount('alice')).directory).toMatchObject({ item: item('vpn') });

    const change = async (work: Promise<unknown>) => {
      await work;
      // One change more: the place in the directory's changes.
      return (await sync.run()) - 1;
    };
    const gijs = await byAccount('gijs');
    expect(await change(samba.modify(replaceAttributes(dnOf('gijs'), { sn: 'Singel' })))).toBe(1);
    expect(
      await change(samba.modify(replaceAttributes(dnOf('gijs'), { mobile: '+31687654321' }))),
    ).toBe(1);
    const principal = { userPrincipalName: 'gs@corp.test', sAMAccountName: 'gs' };
    expect(await change(samba.modify(replaceAttributes(dnOf('gijs'), principal)))).toBe(1);
    const utrecht = `OU=Utrecht,OU=Staff,${samba.baseDn}`;
    expect(await change(moving(dnOf('gijs'), 'CN=Gijs Singel', utrecht))).toBe(1);
    const moved = `CN=Gijs Singel,${utrecht}`;
    expect(await findUserById(sync.db, gijs.id)).toMatchObject({
      username: 'gs@corp.test',
      lastName: 'Singel',
      authenticators: [{ number: '+31687654321' }],
      directory: { dn: moved, item: item('staff') },
    });
    expect(
      await change(
        samba.modify(`dn: ${vpn}\nchangetype: modify\nadd: member\nmember: ${moved}\n-\n\n`),
      ),
    ).toBe(1);
    expect((await findUserById(sync.db, gijs.id))?.directory?.item).toBe(item('vpn'));
    expect(
      await change(
        samba.modify(`dn: ${vpn}\nchangetype: modify\ndelete: member\nmember: ${moved}\n-\n\n`),
      ),
    ).toBe(1);
    expect(
      await change(samba.modify(replaceAttributes(moved, { userAccountControl: '514' }))),
    ).toBe(1);
    expect(await findUserById(sync.db, gijs.id)).toMatchObject({ enabled: false });
    expect(
      await change(samba.modify(replaceAttributes(moved, { userAccountControl: '512' }))),
    ).toBe(1);
    expect(await change(moving(moved, 'CN=Gijs Singel', `OU=Services,${samba.baseDn}`))).toBe(1);
    expect(await findUserById(sync.db, gijs.id)).toBeNull();
    expect(
      await change(
        moving(
          `CN=Gijs Singel,OU=Services,${samba.baseDn}`,
          'CN=Gijs Gracht',
          `OU=Amsterdam,${staff}`,
        ),
      ),
    ).toBe(1);
    expect(await findUserById(sync.db, gijs.id)).toMatchObject({ username: 'gs@corp.test' });
    expect(await change(samba.samba('user', 'delete', 'gs'))).toBe(1);
    expect(await findUserById(sync.db, gijs.id)).toBeNull();
    expect(await sync.run()).toBe(0);
    expect(await sync.users()).toHaveLength(all.length);
  }, 60_000);

  it('holds back what people write into their own mobile once it has verified', async () => {
    const sync = await startSync();
    await sync.run();
    const find = async () =>
      (await sync.users()).find(({ directory }) => directory!.names.includes('corp\\hanna'))!;
    const hanna = await find();
    const verified = { ...hanna.authenticators[0]!, verifiedAt: new Date().toISOString() };
    const document = { ...hanna, authenticators: [verified] };
    await sync.mastership.write({ kind: 'user', id: hanna.id, document });
    const ldif = replaceAttributes(dnOf('hanna'), { mobile: '+31687650001' });
    await samba.modify(ldif);
    await sync.run();
    const after = await find();
    expect(after.authenticators).toEqual([verified]);
    expect(after.directory?.pendingPhones).toMatchObject([{ number: '+31687650001' }]);
    const args = { username: hanna.username, phone: verified.id, number: '+31687650001' };
    await sync.mastership.handle(sync.command('directory.reject-phone', args));
    await sync.run({ full: true });
    expect((await find()).directory?.pendingPhones).toMatchObject([
      { number: '+31687650001', rejected: { by: 'test' } },
    ]);
    sync.clock.ms += 25 * 3_600_000;
    await sync.run();
    expect((await find()).authenticators).toEqual([verified]);
  }, 60_000);
});
