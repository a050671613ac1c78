import { randomUUID } from 'node:crypto';
import { findUserById, findUsersByKey, listEvents } from '@countersign/database';
import { Directory } from '@countersign/directory';
import {
  addEntry,
  deleteEntry,
  hasSlapd,
  replaceAttributes,
  startTestSlapd,
  waitFor,
  type TestSlapd,
} from '@countersign/testing';
import { defaultSettings, type PhoneAuthenticator, type SyncItem } from '@countersign/verification';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { exampleItem, startTestSync } from '../testing/start-test-sync.ts';
import { planMails } from '../mail/plan-mails.ts';
import { silent, useTestLog } from '../testing/use-test-log.ts';
import { importPeople } from './import-people.ts';

const test = useTestLog();

type Sync = Awaited<ReturnType<typeof startTestSync>>;

function startSync(
  slapd: TestSlapd,
  { master, ...more }: { master?: Sync; items?: SyncItem[]; name?: string } = {},
): Promise<Sync> {
  const { ldapUrl, baseDn, reader } = slapd;
  const about = { type: 'ldap' as const, servers: [ldapUrl], baseDn, reader, ...more };
  return startTestSync(test, about, master);
}

function renaming(dn: string, rdn: string): string {
  return `dn: ${dn}\nchangetype: modrdn\nnewrdn: ${rdn}\ndeleteoldrdn: 1\n\n`;
}

describe.skipIf(!hasSlapd)('the synchronisation of an OpenLDAP', () => {
  let slapd: TestSlapd;
  beforeAll(async () => {
    slapd = await startTestSlapd({ people: 30, tls: false });
  }, 60_000);
  afterAll(() => slapd.stop());
  const left: string[] = [];
  afterEach(async () => {
    for (const dn of left.splice(0)) await slapd.modify(deleteEntry(dn)).catch(() => undefined);
  });
  /** For one test. */
  async function add(uid: string, more: Record<string, string> = {}): Promise<string> {
    const dn = `uid=${uid},ou=delft,ou=people,${slapd.baseDn}`;
    await slapd.modify(
      addEntry(dn, { objectClass: 'inetOrgPerson', uid, cn: uid, sn: uid, ...more }),
    );
    left.push(dn);
    return dn;
  }

  const dnOf = (uid: string) => slapd.people.find((one) => one.uid === uid)!.dn;

  it('makes everybody a user at first, and a run without news writes nothing', async () => {
    const sync = await startSync(slapd);
    expect(await sync.run()).toBe(30 + 1);
    const all = await sync.users();
    expect(all).toHaveLength(30);
    const alice = await sync.user('alice');
    expect(alice).toMatchObject({
      firstName: 'Alice',
      email: 'alice@example.test',
      method: 'text',
      enabled: true,
      authenticators: [{ type: 'phone', number: '+31610000000', vouchedBy: 'sync item all' }],
    });
    const { last, cursor, lastFullAt } = await sync.sync();
    expect(last).toMatchObject({
      kind: 'full',
      outcome: 'done',
      counts: { people: 30, added: 30 },
    });
    expect([cursor?.kind, lastFullAt]).toEqual(['timestamps', expect.any(String)]);
    for (let round = 0; round < 3; round += 1) expect(await sync.run()).toBe(0);
    expect(await sync.run({ full: true })).toBe(0);
  });

  it('turns each change there into one here', async () => {
    const sync = await startSync(slapd);
    await sync.run();
    const change = async (ldif: string) => {
      await slapd.modify(ldif);
      // The place in the changes is kept with them.
      return (await sync.run()) - 1;
    };
    let person = await add('carol');
    expect((await sync.run()) - 1).toBe(1);
    const carol = (await sync.user('carol'))!;
    expect(await change(replaceAttributes(person, { sn: 'Danvers' }))).toBe(1);
    expect((await sync.user('carol'))?.lastName).toBe('Danvers');
    expect(await change(replaceAttributes(person, { mobile: '+31687654321' }))).toBe(1);
    expect((await sync.user('carol'))?.authenticators).toMatchObject([{ vouchedBy: null }]);
    expect(await change(renaming(person, 'uid=caz'))).toBe(1);
    person = person.replace('carol', 'caz');
    left.push(person);
    expect((await sync.user('caz'))?.id).toBe(carol.id);
    const locked = { pwdAccountLockedTime: '000001010000Z' };
    expect(await change(replaceAttributes(person, locked))).toBe(1);
    expect(await sync.user('caz')).toMatchObject({ enabled: false });
    expect(await change(replaceAttributes(person, { pwdAccountLockedTime: [] }))).toBe(1);
    expect(await sync.user('caz')).toMatchObject({ enabled: true });
    expect(await change(deleteEntry(person))).toBe(1);
    const gone = (await findUserById(sync.db, carol.id))!;
    expect(gone).toMatchObject({ enabled: false, directory: { isDisabledBySync: true } });
    expect(gone.directory?.goneAt).toBeDefined();
    expect(await sync.run()).toBe(0);
  });

  it('gives a re-created account the name, and makes it another user', async () => {
    const sync = await startSync(slapd);
    const dn = `uid=dave,ou=delft,ou=people,${slapd.baseDn}`;
    const entry = addEntry(dn, { objectClass: 'inetOrgPerson', uid: 'dave', cn: 'Dave', sn: 'D' });
    await slapd.modify(entry);
    await sync.run();
    const first = (await sync.user('dave'))!;
    await slapd.modify(deleteEntry(dn));
    await slapd.modify(entry);
    await sync.run({ full: true });
    const second = (await sync.user('dave'))!;
    expect(second.id).not.toBe(first.id);
    expect(await findUserById(sync.db, first.id)).toMatchObject({
      username: `dave (kept, ${first.directory!.object.slice(0, 8)})`,
      enabled: false,
    });
    await slapd.modify(deleteEntry(dn));
  });

  it('keeps the name of somebody who comes back for them, and gives another to who wants it too', async () => {
    const group = `cn=circle a,ou=groups,${slapd.baseDn}`;
    const sync = await startSync(slapd, {
      items: [exampleItem('circle', { kind: 'group', dn: group }, { onRemoval: 'keep' })],
    });
    const member = (kind: 'add' | 'delete', dn: string) =>
      slapd.modify(`dn: ${group}\nchangetype: modify\n${kind}: member\nmember: ${dn}\n-\n\n`);
    const gone = await add('henk');
    await member('add', gone);
    await sync.run();
    const first = (await sync.user('henk'))!;
    await member('delete', gone);
    await sync.run();
    expect((await findUserById(sync.db, first.id))?.directory?.goneAt).toBeDefined();
    const twin = `cn=Henk Twee,ou=leiden,ou=people,${slapd.baseDn}`;
    const entry = {
      objectClass: 'inetOrgPerson',
      uid: 'henk',
      sn: 'Twee',
      mail: 'henk2@example.test',
    };
    await slapd.modify(addEntry(twin, { ...entry, cn: 'Henk Twee' }));
    left.push(twin);
    await member('add', gone);
    await member('add', twin);
    await sync.run();
    expect(await findUserById(sync.db, first.id)).toMatchObject({ username: 'henk' });
    expect((await findUserById(sync.db, first.id))?.directory?.goneAt).toBeUndefined();
    expect((await sync.users()).find(({ lastName }) => lastName === 'Twee')?.username).toMatch(
      /^henk(2)?@example\.test$/,
    );
    expect(await sync.run()).toBe(0);
    await member('delete', gone);
    await member('delete', twin);
  });

  it('never takes a user of somebody else', async () => {
    const sync = await startSync(slapd);
    await sync.mastership.handle(sync.command('user.add', { username: 'Alice' }));
    await sync.run();
    const [local] = await findUsersByKey(sync.db, 'alice');
    expect(local?.document.directory).toBeUndefined();
    const alice = (await sync.users()).find(({ firstName }) => firstName === 'Alice');
    expect(alice?.username).toBe('alice@example.test');
    expect(await sync.run({ full: true })).toBe(0);

    const other = await startSync(slapd, { master: sync, name: 'second' });
    await other.run();
    expect((await other.sync()).last?.counts).toMatchObject({ added: expect.any(Number) });
    const bobs = [await sync.user('bob'), (await other.users()).find((u) => u.firstName === 'Bob')];
    expect(new Set(bobs.map((one) => one?.id)).size).toBe(2);
  });

  it('lets nobody be called by a name of another directory, whatever they write of themselves', async () => {
    const sync = await startSync(slapd);
    const thief = { mail: 'ceo@other.test' };
    await add('thief', thief);
    await sync.run();
    expect((await sync.user('thief'))?.directory?.mails).toEqual(['ceo@other.test']);
    const other = { ...sync.directory, id: randomUUID(), name: 'other', items: [] };
    await sync.write({ ...other, domains: ['OTHER', 'Other.test'] });
    const boss = `cn=Boss,ou=leiden,ou=people,${slapd.baseDn}`;
    const uid = 'OTHER\\boss';
    await slapd.modify(
      addEntry(boss, { objectClass: 'inetOrgPerson', cn: 'Boss', sn: 'B', uid, ...thief }),
    );
    left.push(boss);
    await sync.run({ full: true });
    const all = await sync.users();
    expect(all.find(({ username }) => username === 'thief')?.directory?.mails).toEqual([]);
    const called = all.flatMap(({ username, directory }) => [username, ...directory!.names]);
    expect(called.filter((name) => /^other\\|@other/i.test(name))).toEqual([]);
    expect((await sync.sync()).last?.counts.refused).toBe(1);
    // Domains decide what people are called: everything is read again.
    await sync.write({ ...sync.directory, domains: ['new.test'] });
    await sync.run();
    expect((await sync.user('bob'))?.directory?.names).toContain('bob@new.test');
  });

  it('holds back what would disable many, and does just what was approved', async () => {
    const sync = await startSync(slapd);
    await sync.run();
    const sevenOf = async (value: string[]) => {
      for (const { dn } of slapd.people.slice(10, 17)) {
        await slapd.modify(replaceAttributes(dn, { pwdAccountLockedTime: value }));
      }
    };
    const disabled = async () => (await sync.users()).filter(({ enabled }) => !enabled).length;
    const before = await disabled();
    await sevenOf(['000001010000Z']);
    expect(await sync.run()).toBe(1);
    expect(await disabled()).toBe(before);
    const { held, last } = await sync.sync();
    expect(last?.outcome).toBe('held');
    expect(held).toMatchObject({ count: 7, of: 30, decision: null });
    expect(sync.engine().problems()).toEqual([expect.stringContaining('7 users')]);
    const findTold = async () =>
      (await listEvents(sync.db, { limit: 50 })).find(({ type }) => type === 'directory.held');
    const told = await waitFor('the event', findTold, { timeoutMs: 10_000 });
    expect(told.details).toMatchObject({ count: 7, limit: 5, hash: held!.hash });
    const company = { ...defaultSettings.mail, administrators: ['desk@example.test'] };
    const mails = await planMails(
      { ...told, userId: null, username: null, incarnation: 1, arrival: 1 },
      {
        db: sync.db,
        keys: sync.keys,
        settings: { ...defaultSettings, mail: company },
        log: silent,
      },
    );
    expect(mails).toMatchObject([
      { to: 'desk@example.test', situation: 'approvalNeeded', text: expect.stringContaining('7') },
    ]);
    expect(await sync.run()).toBe(0);

    const decide = (name: string, hash: string) =>
      sync.mastership.handle(sync.command(name, { name: 'example', hash }));
    expect(await decide('directory.approve', '0'.repeat(64))).toMatchObject({ status: 409 });
    expect(await decide('directory.reject', held!.hash)).toMatchObject({ kind: 'done' });
    expect(await sync.run()).toBe(0);
    await sync.restart();
    await sync.run();
    expect(await disabled()).toBe(before);
    expect((await sync.sync()).held?.decision?.what).toBe('rejected');

    expect(await decide('directory.approve', held!.hash)).toMatchObject({ kind: 'done' });
    expect(await sync.run()).toBe(7 + 1);
    expect(await disabled()).toBe(before + 7);
    expect((await sync.sync()).held).toBeNull();
    await sevenOf([]);
    expect(await sync.run()).toBe(7 + 1);
    expect(await disabled()).toBe(before);
  });

  it('takes nobody away for an answer that cannot be built on', async () => {
    const scope = { kind: 'container' as const, dn: `ou=utrecht,ou=people,${slapd.baseDn}` };
    const item = exampleItem('utrecht', scope, { onRemoval: 'remove' });
    const sync = await startSync(slapd, { items: [item] });
    await sync.run();
    const known = await sync.users();
    expect(known.length).toBeGreaterThan(3);
    const renamed = (from: string, to: string) => slapd.modify(renaming(from, to));
    await renamed(scope.dn, 'ou=elsewhere');
    for (const full of [false, true]) {
      await sync.run({ full });
      expect((await sync.sync()).last).toMatchObject({
        outcome: 'failed',
        problem: expect.stringContaining('sync item utrecht: there is no container'),
      });
    }
    expect(await sync.users()).toEqual(known);
    await renamed(`ou=elsewhere,ou=people,${slapd.baseDn}`, 'ou=utrecht');
    await sync.run({ full: true });
    expect((await sync.sync()).last?.outcome).toBe('done');

    const nobody = { ...sync.directory.filters, user: '(objectClass=device)' };
    await sync.write({ ...sync.directory, filters: nobody });
    await sync.run();
    expect((await sync.sync()).last?.problem).toMatch(/gave nobody/);
    await sync.write(sync.directory);
    slapd.pause();
    await sync.write({ ...sync.directory, connectMs: 300, answerMs: 300 });
    await sync.run();
    slapd.resume();
    expect((await sync.sync()).last?.outcome).toBe('failed');
    expect((await sync.users()).map(({ id }) => id)).toEqual(known.map(({ id }) => id));
    await sync.write(sync.directory);
    await sync.run();
    expect((await sync.sync()).last?.outcome).toBe('done');
    expect(sync.engine().problems()).toEqual([]);
  });

  it('takes nobody away for a container that is renamed while people are read', async () => {
    const dn = `ou=utrecht,ou=people,${slapd.baseDn}`;
    const sync = await startSync(slapd, {
      items: [exampleItem('utrecht', { kind: 'container', dn })],
    });
    await sync.run();
    const known = await sync.users();
    // The safeguard lets them go.
    const changes = { 'directories.approvalUsers': 999, 'directories.approvalPercent': 100 };
    await sync.mastership.handle(sync.command('settings.set', { changes }));
    sync.around.open = (reader) => {
      const hasContainer = async (container: string) => {
        const has = await Directory.prototype.hasContainer.call(reader, container);
        if (has) await slapd.modify(renaming(dn, 'ou=elsewhere'));
        return has;
      };
      return Object.assign(reader, { hasContainer });
    };
    await sync.run({ full: true });
    await slapd.modify(renaming(`ou=elsewhere,ou=people,${slapd.baseDn}`, 'ou=utrecht'));
    expect((await sync.sync()).last?.problem).toMatch(/there is no container/);
    expect(await sync.users()).toEqual(known);
  });

  it('counts who was disabled by a run that failed after it', async () => {
    const sync = await startSync(slapd);
    const leavers: string[] = [];
    for (const each of [1, 2, 3, 4, 5, 6]) leavers.push(await add(`leaver${each}`));
    await sync.run();
    for (const dn of leavers.slice(0, 5)) await slapd.modify(deleteEntry(dn));
    // Whoever wants a name that is taken is looked at last.
    const twin = `cn=Twin,ou=leiden,ou=people,${slapd.baseDn}`;
    const entry = { objectClass: 'inetOrgPerson', cn: 'Twin', sn: 'T', uid: 'alice' };
    await slapd.modify(addEntry(twin, entry));
    left.push(twin);
    sync.around.open = (reader) => {
      const readByObjects: typeof reader.readByObjects = async (objects, onRefused) => {
        const gone = (await sync.users()).filter((user) => user.directory?.goneAt);
        if (gone.length > 0) throw new Error('the server stopped');
        return Directory.prototype.readByObjects.call(reader, objects, onRefused);
      };
      return Object.assign(reader, { readByObjects });
    };
    await sync.run({ full: true });
    expect((await sync.sync()).last).toMatchObject({ problem: 'the server stopped' });
    sync.around.open = (reader) => reader;
    await slapd.modify(deleteEntry(leavers[5]!));
    await sync.run({ full: true });
    expect((await sync.sync()).held).toMatchObject({ count: 1 });
  });

  it('stops when the directory is removed or decided about otherwise, and begins anew by that', async () => {
    const sync = await startSync(slapd);
    await sync.run();
    const [item] = sync.directory.items;
    const meanwhile = { do: async () => {} };
    sync.around.open = (reader) => {
      const readPeople: typeof reader.readPeople = async function* (...given) {
        await meanwhile.do();
        await sync.engine().tend();
        yield* Directory.prototype.readPeople.apply(reader, given);
      };
      return Object.assign(reader, { readPeople });
    };
    const disabled = async () => (await sync.users()).filter(({ enabled }) => !enabled).length;
    const before = await disabled();
    const leaver = await add('leaver');
    await sync.run();
    await slapd.modify(deleteEntry(leaver));
    const keeping = { ...sync.directory, items: [{ ...item!, onRemoval: 'keep' as const }] };
    meanwhile.do = () => sync.write(keeping);
    await sync.run({ full: true });
    expect(await disabled()).toBe(before);
    expect(await sync.user('leaver')).toMatchObject({ enabled: true });

    const count = (await sync.users()).length;
    await add('newcomer');
    meanwhile.do = async () => {
      await sync.mastership.handle(
        sync.command('directory.remove', { name: 'example', keepUsers: true }),
      );
    };
    await sync.run({ full: true });
    expect(await sync.users()).toHaveLength(count);
  });

  it('reads everything again where a clock ran ahead, and does not wait for it', async () => {
    const sync = await startSync(slapd);
    const year = 365 * 24 * 3_600_000;
    sync.clock.ms += year;
    await sync.run();
    sync.clock.ms -= year;
    const { nextAt } = await sync.engine().status(sync.directory);
    expect(Date.parse(nextAt!) - sync.clock.ms).toBeLessThanOrEqual(60_000);
    await sync.restart();
    await sync.run();
    expect(Date.parse((await sync.sync()).lastFullAt!)).toBe(sync.clock.ms);
  });

  it('says nothing more of a problem once the directory is not synchronised', async () => {
    const sync = await startSync(slapd);
    await sync.write({ ...sync.directory, baseDn: 'dc=nowhere' });
    await sync.run();
    expect(sync.engine().problems()).toHaveLength(1);
    const off = { ...sync.directory.sync, enabled: false };
    await sync.write({ ...sync.directory, baseDn: 'dc=nowhere', sync: off });
    await sync.engine().tend();
    expect(sync.engine().problems()).toEqual([]);
  });

  it('keeps somebody who left a group for 30 days, with all authenticators', async () => {
    const group = `cn=vpn users,ou=groups,${slapd.baseDn}`;
    const item = exampleItem('vpn', { kind: 'group', dn: group }, { onRemoval: 'remove' });
    const sync = await startSync(slapd, { items: [item] });
    await sync.run();
    expect((await sync.users()).map(({ username }) => username).sort()).toEqual(
      ['alice', 'bob', 'jvries', 'lies', 'zoe'].sort(),
    );
    const bob = (await sync.user('bob'))!;
    await sync.mastership.handle(
      sync.command('authenticator.enroll', { username: 'bob', type: 'totp' }),
    );
    const member = (kind: 'add' | 'delete') =>
      slapd.modify(
        `dn: ${group}\nchangetype: modify\n${kind}: member\nmember: ${dnOf('bob')}\n-\n\n`,
      );
    await member('delete');
    expect(await sync.run()).toBe(1 + 1);
    expect(await findUserById(sync.db, bob.id)).toBeNull();
    const removed = (await sync.users()).find(({ id }) => id === bob.id);
    expect(removed?.removedAt).toBeDefined();
    await member('add');
    expect(await sync.run()).toBe(1 + 1);
    const back = (await sync.user('bob'))!;
    expect([back.id, back.removedAt]).toEqual([bob.id, undefined]);
    expect(back.authenticators.map(({ type }) => type)).toEqual(['phone', 'totp']);

    await member('delete');
    await sync.run();
    sync.clock.ms += 31 * 24 * 3_600_000;
    await sync.run();
    expect((await sync.users()).some(({ id }) => id === bob.id)).toBe(false);
    await member('add');
    await sync.run();
    expect((await sync.user('bob'))?.id).not.toBe(bob.id);

    // Nor is anything kept for longer of a directory that is there no more.
    await member('delete');
    await sync.run();
    await sync.mastership.handle(
      sync.command('directory.remove', { name: 'example', keepUsers: true }),
    );
    const kept = async () => (await sync.users()).filter(({ removedAt }) => removedAt).length;
    expect([await kept(), await sync.sync()]).toEqual([1, expect.anything()]);
    sync.clock.ms += 31 * 24 * 3_600_000;
    await sync.engine().tend();
    await sync.engine().untilIdle(sync.directory.id);
    expect([await kept(), await sync.sync()]).toEqual([0, null]);
    await member('add');
  });

  it('asks before a phone that has verified gets another number, and waits a day then', async () => {
    const sync = await startSync(slapd);
    await sync.run();
    const zoe = (await sync.user('zoe'))!;
    const phone = zoe.authenticators[0] as PhoneAuthenticator;
    const verified = { ...phone, verifiedAt: new Date().toISOString() };
    await sync.mastership.write({
      kind: 'user',
      id: zoe.id,
      document: { ...zoe, authenticators: [verified] },
    });
    await slapd.modifyAs(
      dnOf('zoe'),
      slapd.personPassword,
      replaceAttributes(dnOf('zoe'), { mobile: '+31687650000' }),
    );
    expect(await sync.run()).toBe(1 + 1);
    const waiting = (await sync.user('zoe'))!;
    expect(waiting.authenticators).toEqual([verified]);
    expect(waiting.directory?.pendingPhones).toMatchObject([{ number: '+31687650000' }]);
    const args = { username: 'zoe', phone: phone.id, number: '+31687650000' };
    const reply = await sync.mastership.handle(sync.command('directory.approve-phone', args));
    expect(reply).toMatchObject({ kind: 'done' });
    await sync.run({ full: true });
    expect((await sync.user('zoe'))?.authenticators).toEqual([verified]);
    await sync.run();
    expect(await sync.outbox.list()).toEqual([
      expect.objectContaining({ to: phone.number, text: expect.stringContaining('ending in 00') }),
    ]);
    sync.clock.ms += 24 * 3_600_000 + 60_000;
    await sync.run();
    expect((await sync.user('zoe'))?.authenticators).toMatchObject([
      { number: '+31687650000', verifiedAt: null, vouchedBy: 'test' },
    ]);
  });

  it('tells new users how to sign in where their item says so, in one row for many', async () => {
    const base = { kind: 'container' as const, dn: `ou=utrecht,ou=people,${slapd.baseDn}` };
    const rest = { kind: 'container' as const, dn: `ou=people,${slapd.baseDn}` };
    const sync = await startSync(slapd, {
      items: [exampleItem('utrecht', base, { mailOnImport: true }), exampleItem('rest', rest)],
    });
    await sync.run();
    const all = await sync.users();
    const utrecht = all.filter(({ directory }) => directory!.item === sync.directory.items[0]!.id);
    const events = await listEvents(sync.db, { limit: 100 });
    const welcome = events.filter(({ type }) => type === 'directory.welcome');
    expect(welcome.map(({ details }) => (details.userIds as string[]).toSorted())).toEqual([
      utrecht.map(({ id }) => id).sort(),
    ]);
    const mails = await planMails(
      { ...welcome[0]!, userId: null, username: null, incarnation: 1, arrival: 1 },
      { db: sync.db, keys: sync.keys, settings: defaultSettings, log: silent },
    );
    expect(mails.filter((mail) => mail !== null).length).toBeGreaterThan(2);
    const [slice] = events.filter(({ type }) => type === 'directory.synced');
    expect(slice).toMatchObject({ actor: 'directory example', details: { added: all.length } });
  });

  it('imports chosen people by hand, and disables them when they are gone', async () => {
    const sync = await startSync(slapd, { items: [] });
    await sync.run();
    expect(await sync.users()).toEqual([]);
    const dn = await add('frank', { mobile: '+31612121212' });
    await using reader = new Directory({ ...sync.directory, account: slapd.administrator });
    const [frank] = (await reader.search({ text: 'frank', limit: 1 })).people;
    const objects = [frank!.object, randomUUID()];
    const imported = await importPeople(sync.directory, objects, sync.engine().importing('admin'));
    expect(imported).toEqual([
      { object: frank!.object, username: 'frank', outcome: 'added' },
      expect.objectContaining({ outcome: 'refused' }),
    ]);
    expect(await sync.user('frank')).toMatchObject({
      authenticators: [{ number: '+31612121212' }],
      directory: { item: null },
    });
    expect(await sync.run()).toBe(0);
    await slapd.modify(replaceAttributes(dn, { sn: 'Franklin' }));
    await sync.run();
    expect((await sync.user('frank'))?.lastName).toBe('Franklin');
    await slapd.modify(deleteEntry(dn));
    await sync.run();
    expect(await sync.user('frank')).toMatchObject({ enabled: false });
  });

  it('tells what it would do, and does nothing', async () => {
    const sync = await startSync(slapd);
    const before = await sync.readLogEnd();
    await sync.run({ dryRun: true });
    expect(await sync.readLogEnd()).toBe(before);
    const { lastDryRun, running } = await sync.engine().status(sync.directory);
    expect(running).toBeNull();
    expect(lastDryRun).toMatchObject({ problem: null, counts: { added: 30 } });
    expect(lastDryRun?.first).toHaveLength(30);
  });
});

describe.skipIf(!hasSlapd)('the synchronisation of many', () => {
  it('is completed by the next master where the first was gone in the middle', async () => {
    const slapd = await startTestSlapd({ people: 2500, tls: false });
    test.atEnd(() => slapd.stop());
    const sync = await startSync(slapd);
    const isGone = Promise.withResolvers<void>();
    sync.around.open = (reader) => {
      let count = 0;
      const readPeople: typeof reader.readPeople = async function* (...given) {
        for await (const page of Directory.prototype.readPeople.apply(reader, given)) {
          yield page;
          count += page.length;
          if (count > 1200) await isGone.promise;
        }
      };
      return Object.assign(reader, { readPeople });
    };
    await sync.engine().ask(sync.directory, { full: true, dryRun: false });
    await waitFor('half of them', async () => (await sync.users()).length > 800, {
      timeoutMs: 60_000,
    });
    sync.term.abort();
    isGone.resolve();
    await sync.engine().untilIdle(sync.directory.id);
    sync.around.open = (reader) => reader;
    const half = await sync.users();
    expect(half.length).toBeLessThan(2500);
    await sync.restart();
    await sync.run();
    const all = await sync.users();
    expect(all).toHaveLength(2500);
    expect(new Set(all.map(({ directory }) => directory!.object)).size).toBe(2500);
    expect(new Set(all.map(({ username }) => username)).size).toBe(2500);
    const untouched = new Map(all.map((one) => [one.id, one]));
    for (const user of half) expect(untouched.get(user.id)).toEqual(user);
    expect(await sync.run()).toBe(0);
  }, 120_000);
});
