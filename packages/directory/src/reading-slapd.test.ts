import {
  addEntry,
  hasSlapd,
  replaceAttributes,
  startTestSlapd,
  type TestSlapd,
  waitFor,
} from '@countersign/testing';
import { Client, Control } from 'ldapts';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';

import { dnKey } from './dn.ts';
import { readingOf, readPages, slapdConfig } from './testing/open-for-test.ts';
import { readChanges } from './read-changes.ts';
import { readMembers } from './read-members.ts';
import { hasContainer, listObjects, readByDns, readByObjects, readPeople } from './read-people.ts';
import type { Reading } from './reading.ts';
import type { Changes, ChangesCursor, DirectoryConfig } from './types.ts';

const { signal } = new AbortController();

describe.skipIf(!hasSlapd)('reading OpenLDAP', () => {
  let slapd: TestSlapd;
  let config: DirectoryConfig;
  let reading: Reading;
  beforeAll(async () => {
    slapd = await startTestSlapd({ people: 2000, tls: false });
    config = slapdConfig(slapd);
    reading = readingOf(config);
  }, 60_000);
  afterAll(async () => await slapd?.stop());

  const dnOf = (uid: string) => slapd.people.find((one) => one.uid === uid)!.dn;
  const keysOf = (...uids: string[]) => new Set(uids.map((uid) => dnKey(dnOf(uid))));
  const find = async (uid: string) => (await readByDns(reading, [dnOf(uid)]))[0]!;
  const group = (cn: string) => `cn=${cn},ou=groups,${slapd.baseDn}`;
  const unit = (name: string) => `ou=${name},ou=people,${slapd.baseDn}`;
  const rename = (dn: string, rdn: string, parent?: string) =>
    slapd.modify(
      `dn: ${dn}\nchangetype: modrdn\nnewrdn: ${rdn}\ndeleteoldrdn: 1\n${parent ? `newsuperior: ${parent}\n` : ''}\n`,
    );
  const remove = (dn: string) => slapd.modify(`dn: ${dn}\nchangetype: delete\n\n`);
  const addPerson = (uid: string, more = {}) =>
    slapd.modify(
      addEntry(`uid=${uid},ou=people,${slapd.baseDn}`, {
        objectClass: 'inetOrgPerson',
        uid,
        cn: uid,
        sn: uid,
        ...more,
      }),
    );

  it('everybody is read, more than a page and more than a thousand', async () => {
    const pages = await readPages(reading);
    expect(pages).toHaveLength(4);
    const people = pages.flat();
    expect(new Set(people.map((one) => one.dnKey))).toEqual(
      new Set(slapd.people.map(({ dn }) => dnKey(dn))),
    );
    expect(people.find(({ usernames }) => usernames[0] === 'lies')?.isDisabled).toBe(true);
    expect(people.find(({ usernames }) => usernames[0] === 'alice')).toMatchObject({
      usernames: ['alice', 'alice@example.test'],
      mails: ['alice@example.test'],
      phones: { mobile: { number: '+31610000000' } },
    });
    expect(
      (
        await readByObjects(
          reading,
          people.map(({ object }) => object),
        )
      ).size,
    ).toBe(2000);
    expect((await listObjects(reading, signal)).size).toBe(2000);
  });

  it('names with what a DN must escape, and names in other letters, are found as they are', async () => {
    const key = dnKey(dnOf('jvries'));
    for (const dn of [dnOf('jvries'), dnOf('jvries').replace('\\,', '\\2C').toUpperCase()]) {
      expect((await readByDns(reading, [dn])).map((one) => one.dnKey)).toEqual([key]);
    }
    expect((await find('zoe')).lastName).toBe('Ångström');
    expect(await readByDns(reading, [`uid=*,${unit('amsterdam')}`])).toEqual([]);
    expect((await readByObjects(reading, ['*', 'a)(uid=*', '\\2a'])).size).toBe(0);
  });

  it('members are those of groups in groups and in circles; the group that is not there is none', async () => {
    expect(await readMembers(reading, group('VPN users'))).toEqual(
      keysOf('alice', 'zoe', 'jvries', 'bob', 'lies'),
    );
    expect(await readMembers(reading, group('circle a'))).toEqual(keysOf('eva', 'pieter'));
    expect((await readMembers(reading, group('tenth'))).size).toBe(200);
    for (const dn of [group('gone'), dnOf('alice'), 'nonsense']) {
      await expect(readMembers(reading, dn)).rejects.toThrow('is not there');
    }
    expect(await hasContainer(reading, unit('UTRECHT'))).toBe(true);
    expect(await hasContainer(reading, unit('gone'))).toBe(false);
  });

  it('a group of more than 1,500 is read as a whole, with unique members too', async () => {
    const members = slapd.people.slice(0, 1800).map(({ dn }) => dn);
    await slapd.modify(
      addEntry(group('large'), {
        objectClass: 'groupOfUniqueNames',
        uniqueMember: [...members, `${dnOf('alice')}#'0101'B`],
      }),
    );
    const keys = await readMembers(reading, group('large'));
    expect(keys).toEqual(new Set(members.map(dnKey)));
    await remove(group('large'));
  });

  it('values of 100 kB, of no text and with what could deceive are left out, and nobody with them', async () => {
    await addPerson('odd', {
      displayName: 'x'.repeat(100_000),
      description: Buffer.from('evil\u202egnihton\u001b[2J'),
      mobile: '0612345678',
      preferredLanguage: 'nl-NL, en;q=0.8',
    });
    const [odd] = await readByDns(reading, [`uid=odd,ou=people,${slapd.baseDn}`]);
    expect(odd).toMatchObject({
      displayName: null,
      description: null,
      language: 'nl',
      phones: { mobile: { number: '+31612345678' } },
      dropped: [{ attribute: 'displayName' }, { attribute: 'description' }],
    });
    await remove(odd!.dn);
  });

  it('somebody who cannot be taken over is told of, and is not gone', async () => {
    await slapd.modify(
      addEntry(`cn=nameless,ou=people,${slapd.baseDn}`, {
        objectClass: 'inetOrgPerson',
        cn: 'nameless',
        sn: 'x',
      }),
    );
    const dn = `cn=nameless,ou=people,${slapd.baseDn}`;
    const refused: string[] = [];
    expect(await readByDns(reading, [dn], (one) => refused.push(one.object!))).toEqual([]);
    expect(refused).toHaveLength(1);
    expect((await listObjects(reading, signal)).has(refused[0]!)).toBe(true);
    await remove(dn);
  });

  it("a limit of the server's is an error, never a short answer", async () => {
    await using limited = await disposable(
      startTestSlapd({ people: 1200, sizeLimit: 1000, tls: false }),
    );
    const short = readingOf(slapdConfig(limited));
    await expect(readPages(short)).rejects.toThrow('size limit');
    await expect(listObjects(short, signal)).rejects.toThrow('size limit');
    await expect(readChanges(short, null)).rejects.toThrow('size limit');
    await expect(
      readChanges(short, { kind: 'timestamps', since: '20200101000000Z/1' }),
    ).rejects.toThrow('size limit');
    await slapd.modify(
      addEntry(`ou=elsewhere,${slapd.baseDn}`, {
        objectClass: ['referral', 'extensibleObject'],
        ou: 'elsewhere',
        ref: 'ldap://192.0.2.1/ou=elsewhere',
      }),
    );
    await expect(readPages(reading)).rejects.toThrow('not whole');
    await expect(listObjects(reading, signal)).rejects.toThrow('not whole');
    await removeReferral(slapd, `ou=elsewhere,${slapd.baseDn}`);
    expect((await readPages(reading)).flat()).toHaveLength(2000);
  }, 30_000);

  it('a server that falls silent in the middle ends the reading with an error', async () => {
    const hasty = readingOf({ ...config, answerMs: 3_000, pageSize: 100 });
    const pages = readPeople(hasty, signal);
    await pages.next();
    slapd.pause();
    try {
      await expect(
        (async () => {
          for await (const page of pages) expect(page.length).toBeGreaterThan(0);
        })(),
      ).rejects.toMatchObject({ fault: 'unreachable' });
    } finally {
      slapd.resume();
    }
  });

  describe('changes', () => {
    let cursor: ChangesCursor;
    const since = async (): Promise<Extract<Changes, { kind: 'changes' }>> => {
      const changes = await readChanges(reading, cursor);
      if (changes.kind !== 'changes') throw new Error(changes.why);
      expect(changes).toMatchObject({ gone: [], areRemovalsTold: false });
      ({ cursor } = changes);
      return changes;
    };
    const begin = async () => {
      const changes = await readChanges(reading, null);
      if (changes.kind !== 'changes') throw new Error(changes.why);
      ({ cursor } = changes);
    };
    /** As if the newest change had been seen long ago, so that it is not read again. */
    const settle = () => {
      if (cursor.kind !== 'timestamps') throw new Error('no timestamps');
      cursor = { kind: 'timestamps', since: cursor.since.replace(/\/\d+$/, '/1') };
    };

    it('of a time that lies ahead are not waited for, whoever dated it so', async () => {
      const ahead: ChangesCursor = { kind: 'timestamps', since: '20990101000000Z/0' };
      expect(await readChanges(reading, ahead)).toMatchObject({ kind: 'full needed' });
      // With the control that lets such attributes be written (relax).
      const dn = `cn=future,ou=people,${slapd.baseDn}`;
      const entry = ['objectClass: inetOrgPerson', 'cn: future', 'sn: F', 'uid: future'];
      const relaxed = 'control: 1.3.6.1.4.1.4203.666.5.12 true\nchangetype: add';
      const written = 'createTimestamp: 20990101000000Z\nmodifyTimestamp: 20990101000000Z';
      await slapd.modify([`dn: ${dn}`, relaxed, ...entry, written, '', ''].join('\n'));
      const [future] = await readByDns(reading, [dn]);
      await begin();
      expect(cursor).not.toMatchObject({ since: expect.stringMatching(/^2099/) });
      expect((await since()).changed).toContain(future!.object);
      await remove(dn);
    });

    it('who is added, changed or locked is told, in the second of the newest change too', async () => {
      await begin();
      await addPerson('newcomer');
      const newcomer = (await readByDns(reading, [`uid=newcomer,ou=people,${slapd.baseDn}`]))[0]!;
      expect((await since()).changed).toContain(newcomer.object);
      // Most likely within the same second as the cursor's.
      const bob = await find('bob');
      await slapd.modify(replaceAttributes(bob.dn, { mobile: '0687654321' }));
      expect((await since()).changed).toContain(bob.object);
      await slapd.modify(replaceAttributes(bob.dn, { pwdAccountLockedTime: '000001010000Z' }));
      expect((await since()).changed).toContain(bob.object);
      expect((await find('bob')).isDisabled).toBe(true);
      await slapd.modify(replaceAttributes(bob.dn, { pwdAccountLockedTime: [] }));
      await remove(newcomer.dn);
      expect((await listObjects(reading, signal)).has(newcomer.object)).toBe(false);
    });

    it('the newest change is told once more, however late, and then not again', async () => {
      await slapd.modify(replaceAttributes(dnOf('alice'), { givenName: 'Alicia' }));
      await begin();
      settle();
      // It may have been written, in the second that the cursor names, after that was read.
      expect((await since()).changed).toContain((await find('alice')).object);
      expect(await since()).toMatchObject({ changed: [], haveGroupsChanged: false });
      // Of seconds only: one that is surely later.
      const at = cursor;
      const modifyAgain = async () => {
        await slapd.modify(replaceAttributes(dnOf('alice'), { givenName: `A${Date.now()}` }));
        return (await since()).changed.length > 0;
      };
      await waitFor('a later change', modifyAgain, { timeoutMs: 15_000 });
      expect(cursor).not.toEqual(at);
    });

    it('a rename, a move and a renamed unit keep the objects, and all below are told', async () => {
      await begin();
      const eva = await find('eva');
      await rename(eva.dn, 'uid=eva2', unit('leiden'));
      expect((await since()).changed).toContain(eva.object);
      expect((await readByObjects(reading, [eva.object])).get(eva.object)?.dn).toBe(
        `uid=eva2,${unit('leiden')}`,
      );
      await rename(`uid=eva2,${unit('leiden')}`, 'uid=eva', eva.dn.slice(eva.dn.indexOf(',') + 1));
      await begin();
      await rename(unit('delft'), 'ou=delft2');
      const moved = await since();
      const below = slapd.people.filter(({ dn }) => dn.endsWith(unit('delft')));
      expect(moved.changed.length).toBeGreaterThanOrEqual(below.length);
      expect(moved.haveGroupsChanged).toBe(true);
      await rename(unit('delft2'), 'ou=delft');
    });

    it('a group that changed is told', async () => {
      await begin();
      await slapd.modify(
        `dn: ${group('admins vpn')}\nchangetype: modify\nadd: member\nmember: ${dnOf('pieter')}\n-\n\n`,
      );
      expect((await since()).haveGroupsChanged).toBe(true);
      expect(await readMembers(reading, group('vpn users'))).toContain(dnKey(dnOf('pieter')));
    });

    it('a place that cannot be read needs a full reading', async () => {
      for (const text of ['', 'yesterday', '20261399999999Z', '20260101000000Z/', '*)(uid=*/1']) {
        expect(await readChanges(reading, { kind: 'timestamps', since: text })).toMatchObject({
          kind: 'full needed',
        });
      }
    });
  });
});

async function disposable(server: Promise<TestSlapd>): Promise<TestSlapd & AsyncDisposable> {
  const started = await server;
  return Object.assign(started, { [Symbol.asyncDispose]: () => started.stop() });
}

/** A referral is itself only to who says that he means it: RFC 3296. */
async function removeReferral(slapd: TestSlapd, dn: string): Promise<void> {
  await using client = new Client({ url: slapd.ldapUrl, timeout: 10_000 });
  await client.bind(slapd.administrator.name, slapd.administrator.password);
  await client.del(dn, new Control('2.16.840.1.113730.3.4.2', { critical: true }));
}
