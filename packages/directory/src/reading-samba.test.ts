import { hasSamba, replaceAttributes, startTestSamba, type TestSamba } from '@countersign/testing';
import { Attribute, Change, Client, Control } from 'ldapts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { dnKey } from './dn.ts';
import { readingOf, readPages, sambaConfig } from './testing/open-for-test.ts';
import { readChanges } from './read-changes.ts';
import { readMembers } from './read-members.ts';
import { hasContainer, listObjects, readByDns, readByObjects, readPeople } from './read-people.ts';
import type { Reading } from './reading.ts';
import type { Changes, ChangesCursor, DirectoryConfig, Person } from './types.ts';

const { signal } = new AbortController();

describe.skipIf(!hasSamba)('reading Active Directory (Samba)', () => {
  let samba: TestSamba;
  let config: DirectoryConfig;
  let reading: Reading;
  let admin: Reading;
  beforeAll(async () => {
    samba = await startTestSamba({ people: 'staff' });
    config = sambaConfig(samba);
    reading = readingOf(config);
    admin = readingOf({ ...config, account: samba.administrator });
  }, 180_000);
  afterAll(async () => await samba?.stop());

  const dnOf = (account: string) => samba.staff.find((one) => one.account === account)!.dn;
  const readAll = async (of = reading): Promise<Person[]> => (await readPages(of)).flat();
  const find = async (account: string) =>
    (await readAll()).find((person) => person.names.includes(account))!;
  const rename = (dn: string, rdn: string, parent?: string) =>
    samba.modify(
      `dn: ${dn}\nchangetype: modrdn\nnewrdn: ${rdn}\ndeleteoldrdn: 1\n${parent ? `newsuperior: ${parent}\n` : ''}\n`,
    );
  const remove = (dn: string) => samba.modify(`dn: ${dn}\nchangetype: delete\n\n`);
  const addPerson = (account: string, more = '') =>
    samba.modify(
      `dn: CN=${account},OU=Staff,${samba.baseDn}\nchangetype: add\nobjectClass: user\nsAMAccountName: ${account}\n${more}\n`,
    );

  it('everybody is read, page by page, and neither computers nor the services of others', async () => {
    const small = readingOf({ ...config, pageSize: 10 });
    const pages = await readPages(small);
    expect(pages.length).toBeGreaterThan(3);
    const people = pages.flat();
    const names = people.flatMap((person) => person.names);
    for (const { account, dn } of samba.staff) {
      expect(names).toContain(account);
      expect(people.map((person) => person.dnKey)).toContain(dnKey(dn));
    }
    expect(names.filter((name) => name.endsWith('$'))).toEqual([]);
    expect(people.find(({ names }) => names.includes('daan'))?.isDisabled).toBe(true);
    expect(people.find(({ names }) => names.includes('xander'))?.isDisabled).toBe(false);
    expect((await listObjects(small, signal)).size).toBe(people.length);
    expect(new Set((await listObjects(small, signal)).values())).toEqual(
      new Set(people.map((person) => person.dnKey)),
    );
  });

  it('names, phones and languages come in their forms, however they are written', async () => {
    expect(await find('pieter')).toMatchObject({
      usernames: ['pieter@corp.test', 'pieter'],
      language: 'nl',
      phones: { pager: { number: '+31655550001' }, ip: { number: '+31205550003' } },
    });
    expect((await find('ursula')).usernames).toEqual([
      'u.principal@other.example',
      'ursula',
      'ursula@corp.test',
    ]);
    expect((await find('nico')).usernames).toEqual(['nico', 'nico@corp.test']);
    expect((await find('bart')).dropped).toEqual([
      { attribute: 'mobile', why: expect.any(String) },
    ]);
    expect(await find('lixl')).toMatchObject({ firstName: '小龍', lastName: '李' });
    expect((await find('eva')).phones.business).toEqual({
      number: '+31201234567',
      extension: '890',
    });
  });

  it('people are found by their objects and by DNs in any spelling; who is not there is absent', async () => {
    const alice = await find('alice');
    const absent = '00000000-0000-4000-8000-000000000000';
    const found = await readByObjects(reading, [alice.object, absent, '*)(objectClass=*', '']);
    expect([...found]).toEqual([[alice.object, alice]]);
    const everybody = (await readAll()).map(({ object }) => object);
    expect((await readByObjects(reading, everybody)).size).toBe(everybody.length);

    const spelled = dnOf('jvries').toUpperCase().replace('\\,', '\\2c');
    const byDn = await readByDns(reading, [
      spelled,
      dnOf('jvries'),
      `CN=Nobody at all,${samba.baseDn}`,
      `CN=VPN Users,OU=Groups,${samba.baseDn}`,
      'CN=Schema,CN=Configuration,DC=corp,DC=test',
      'DC=elsewhere',
    ]);
    expect(byDn.map(({ names }) => names[0])).toEqual(['jvries']);
  });

  it('a base DN bounds all that is read', async () => {
    const inside = readingOf({ ...config, baseDn: `OU=Amsterdam,OU=Staff,${samba.baseDn}` });
    const names = (await readAll(inside)).map(({ names }) => names[0]);
    expect(names).toContain('alice');
    expect(names).toContain('chris');
    expect(names).not.toContain('ursula');
    const ursula = await find('ursula');
    expect((await readByObjects(inside, [ursula.object])).size).toBe(0);
    expect(await readByDns(inside, [ursula.dn])).toEqual([]);
  });

  it('members are those of groups in groups, in circles too, and of the primary group', async () => {
    const membersOf = async (cn: string) => await readMembers(reading, cn);
    const keysOf = (...accounts: string[]) =>
      new Set(accounts.map((account) => dnKey(dnOf(account))));
    const group = (cn: string) => `CN=${cn},OU=Groups,${samba.baseDn}`;
    expect(await membersOf(group('VPN Users'))).toEqual(
      keysOf('alice', 'bob', 'daan', 'jvries', 'zoe'),
    );
    expect(await membersOf(group('circle a'))).toEqual(keysOf('gijs', 'hanna'));
    expect((await membersOf(group('Nobody'))).size).toBe(0);
    const all = await membersOf(`CN=Domain Users,CN=Users,${samba.baseDn}`);
    for (const { dn } of samba.staff) expect(all).toContain(dnKey(dn));
    // It has Domain Users in it, of which nobody is a member by name.
    const outer = await membersOf(`CN=Users,CN=Builtin,${samba.baseDn}`);
    expect([...all].filter((key) => !outer.has(key))).toEqual([]);
  });

  it('a group or a container that is not there is never an empty one', async () => {
    for (const dn of [`CN=Gone,${samba.baseDn}`, dnOf('alice'), 'nonsense']) {
      await expect(readMembers(reading, dn)).rejects.toThrow('is not there');
    }
    expect(await hasContainer(reading, `ou=staff,${samba.baseDn}`)).toBe(true);
    expect(await hasContainer(reading, samba.baseDn)).toBe(true);
    for (const dn of [`OU=Gone,${samba.baseDn}`, dnOf('alice'), 'nonsense']) {
      expect(await hasContainer(reading, dn)).toBe(false);
    }
  });

  it('an answer that is not whole is an error, never a short one', async () => {
    const few = readingOf({ ...config, peopleMax: 10 });
    await expect(readAll(few)).rejects.toThrow('more than 10 people');
    await expect(listObjects(few, signal)).rejects.toThrow('more than 10 people');
    const gone = readingOf({ ...config, baseDn: `OU=Renamed,${samba.baseDn}` });
    await expect(readAll(gone)).rejects.toMatchObject({ fault: 'base_dn' });
    const blind = { ...config.attributes, uniqueId: 'schemaIDGUID' };
    await expect(readAll(readingOf({ ...config, attributes: blind }))).rejects.toThrow(
      'has no schemaIDGUID',
    );
    const alike = { ...config.attributes, uniqueId: 'c', uniqueIdType: 'text' as const };
    await samba.modify(
      ['alice', 'bob'].map((account) => replaceAttributes(dnOf(account), { c: 'NL' })).join(''),
    );
    const twice = { ...config, attributes: alike, filters: { ...config.filters, user: '(c=NL)' } };
    await expect(readAll(readingOf(twice))).rejects.toThrow('have the c nl');
    await expect(
      readAll(readingOf({ ...config, filters: { ...config.filters, user: '((' } })),
    ).rejects.toThrow('filter');
  });

  it('a reading that is broken off ends', async () => {
    const small = readingOf({ ...config, pageSize: 10 });
    for await (const page of readPeople(small, signal)) {
      expect(page.length).toBeGreaterThan(0);
      break;
    }
    const stop = new AbortController();
    const pages = readPeople(small, stop.signal);
    await pages.next();
    stop.abort(new Error('the lease is lost'));
    await expect(pages.next()).rejects.toThrow('the lease is lost');
  });

  describe('changes', () => {
    let cursor: ChangesCursor;
    const since = async (of = reading): Promise<Extract<Changes, { kind: 'changes' }>> => {
      const changes = await readChanges(of, cursor);
      if (changes.kind !== 'changes') throw new Error(changes.why);
      ({ cursor } = changes);
      return changes;
    };
    const begin = async () => {
      const changes = await readChanges(reading, null);
      if (changes.kind !== 'changes') throw new Error(changes.why);
      expect(changes).toMatchObject({ changed: [], gone: [], haveGroupsChanged: false });
      ({ cursor } = changes);
    };
    const nothing = { changed: [], gone: [], haveGroupsChanged: false };

    it('nothing is told where nothing changed, within a second', async () => {
      await begin();
      const tookMs: number[] = [];
      for (let count = 0; count < 3; count += 1) {
        const started = performance.now();
        expect(await since()).toMatchObject(nothing);
        tookMs.push(performance.now() - started);
      }
      expect(Math.min(...tookMs)).toBeLessThan(1000);
      await samba.modify(replaceAttributes(dnOf('alice'), { title: 'not read' }));
      expect(await since()).toMatchObject(nothing);
    });

    it('an account that is added, changed or disabled is told, once', async () => {
      await begin();
      await addPerson('newcomer');
      const added = await since();
      const { object } = await find('newcomer');
      expect(added).toMatchObject({ changed: [object], gone: [], haveGroupsChanged: true });
      const { object: bob } = await find('bob');
      await samba.modify(replaceAttributes(dnOf('bob'), { mobile: '+31612340000' }));
      expect(await since()).toMatchObject({ changed: [bob], gone: [], haveGroupsChanged: false });
      expect(await since()).toMatchObject(nothing);
      await samba.modify(replaceAttributes(dnOf('bob'), { userAccountControl: '514' }));
      expect((await since()).changed).toEqual([bob]);
      expect((await readByObjects(reading, [bob])).get(bob)).toMatchObject({
        isDisabled: true,
        phones: { mobile: { number: '+31612340000' } },
      });
      await samba.modify(replaceAttributes(dnOf('bob'), { userAccountControl: '512', mobile: [] }));
      expect((await since()).changed).toEqual([bob]);
    });

    it('a rename and a move keep the object, and everybody below a renamed unit is told', async () => {
      await begin();
      const { object } = await find('tess');
      await rename(dnOf('tess'), 'CN=Tess Rivers');
      expect(await since()).toMatchObject({ changed: [object], haveGroupsChanged: true });
      const utrecht = `OU=Utrecht,OU=Staff,${samba.baseDn}`;
      await rename(
        `CN=Tess Rivers,${utrecht}`,
        'CN=Tess Rivers',
        `OU=Amsterdam,OU=Staff,${samba.baseDn}`,
      );
      expect((await since()).changed).toEqual([object]);
      expect((await readByObjects(reading, [object])).get(object)?.dn).toContain('OU=Amsterdam');

      const below = (await readAll()).filter(({ dn }) => dn.endsWith(utrecht));
      await rename(utrecht, 'OU=Utrecht 2');
      const moved = await since();
      expect(new Set(moved.changed)).toEqual(new Set(below.map(({ object }) => object)));
      expect(moved.haveGroupsChanged).toBe(true);
      await rename(`OU=Utrecht 2,OU=Staff,${samba.baseDn}`, 'OU=Utrecht');
      expect((await since()).changed).toHaveLength(below.length);
    });

    it('a group in a group that changes is told, and its description is not', async () => {
      await begin();
      const outer = `CN=Nobody,OU=Groups,${samba.baseDn}`;
      const inner = `CN=Admins VPN,OU=Groups,${samba.baseDn}`;
      await samba.modify(`dn: ${outer}\nchangetype: modify\nadd: member\nmember: ${inner}\n-\n\n`);
      expect(await since()).toMatchObject({ changed: [], haveGroupsChanged: true });
      expect((await readMembers(reading, outer)).size).toBe(3);
      await samba.modify(replaceAttributes(inner, { description: 'whatever' }));
      expect(await since()).toMatchObject(nothing);
      await samba.modify(
        `dn: ${outer}\nchangetype: modify\ndelete: member\nmember: ${inner}\n-\n\n`,
      );
      expect((await since()).haveGroupsChanged).toBe(true);
    });

    it('who leaves the user filter is told, and then not found', async () => {
      const filters = { ...config.filters, user: '(&(objectClass=user)(sn=Gracht))' };
      const narrow = readingOf({ ...config, filters });
      await begin();
      const { object } = await find('gijs');
      expect((await readByObjects(narrow, [object])).size).toBe(1);
      await samba.modify(replaceAttributes(dnOf('gijs'), { sn: 'Left' }));
      expect((await since(narrow)).changed).toEqual([object]);
      expect((await readByObjects(narrow, [object])).size).toBe(0);
    });

    it('removals and restorations are told to an account that may see them', async () => {
      await addPerson('leaver');
      const { object, dn } = await find('leaver');
      await begin();
      await remove(dn);
      const before = cursor;
      expect(await since(admin)).toMatchObject({
        changed: [],
        gone: [object],
        areRemovalsTold: true,
      });
      await restore(samba, object, dn);
      expect(await since(admin)).toMatchObject({ changed: [object], gone: [] });
      expect((await readByObjects(reading, [object])).get(object)?.dn).toBe(dn);
      await remove(dn);

      // An ordinary account is told that it is not told, and sees it in the list.
      cursor = before;
      expect(await since()).toMatchObject({ gone: [], areRemovalsTold: false });
      expect((await listObjects(reading, signal)).has(object)).toBe(false);
    });

    it('a place that the directory does not know needs a full reading, not an error', async () => {
      for (const cookie of ['AAAA', Buffer.alloc(300, 7).toString('base64')]) {
        expect(await readChanges(reading, { kind: 'dirsync', cookie })).toMatchObject({
          kind: 'full needed',
        });
      }
      expect(
        await readChanges(reading, { kind: 'timestamps', since: '20260101000000Z/1' }),
      ).toMatchObject({ kind: 'full needed' });
      const whole = readingOf({ ...config, sync: { changes: 'full' } });
      expect(await readChanges(whole, null)).toMatchObject({ kind: 'full needed' });
    });

    it('a server that is started again goes on from the same place', async () => {
      await begin();
      const { object } = await find('lotte');
      await samba.modify(replaceAttributes(dnOf('lotte'), { givenName: 'Charlotte' }));
      await samba.kill();
      await expect(readChanges(reading, cursor)).rejects.toMatchObject({ fault: 'unreachable' });
      await samba.restart();
      expect((await since()).changed).toEqual([object]);
    }, 30_000);

    it('the times of changes serve too, where they are wanted', async () => {
      const timed = readingOf({ ...config, sync: { changes: 'timestamps' } });
      const start = await readChanges(timed, null);
      if (start.kind !== 'changes') throw new Error(start.why);
      const { object } = await find('kees');
      await samba.modify(replaceAttributes(dnOf('kees'), { givenName: 'Cees' }));
      expect(await readChanges(timed, start.cursor)).toMatchObject({
        changed: expect.arrayContaining([object]),
        areRemovalsTold: false,
      });
    });
  });
});

/** MS-ADTS 3.1.1.5.3.7.2: a modification that takes isDeleted away and gives the DN back. */
async function restore(samba: TestSamba, object: string, dn: string): Promise<void> {
  const tlsOptions = { ca: samba.authority, servername: samba.host };
  await using client = new Client({ url: samba.ldapsUrl, tlsOptions, timeout: 10_000 });
  await client.bind(samba.administrator.name, samba.administrator.password);
  const change = (operation: 'delete' | 'replace', type: string, values: string[]) =>
    new Change({ operation, modification: new Attribute({ type, values }) });
  await client.modify(
    `CN=${/^CN=([^,]+)/.exec(dn)?.[1]}\\0ADEL:${object},CN=Deleted Objects,${samba.baseDn}`,
    [change('delete', 'isDeleted', []), change('replace', 'distinguishedName', [dn])],
    new Control('1.2.840.113556.1.4.417', { critical: true }),
  );
}
