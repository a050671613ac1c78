import { randomUUID } from 'node:crypto';
import type { StoredDirectory } from '@countersign/api';
import { takeFinalOutbox } from '@countersign/database';
import { OpenDirectories } from '@countersign/operations';
import {
  hasSamba,
  hasSlapd,
  startTestSamba,
  startTestSlapd,
  type TestSamba,
  type TestSlapd,
} from '@countersign/testing';
import type { NewDirectory } from '@countersign/verification';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { useTestCommands } from './testing/use-test-commands.ts';
import { useTestLog } from './testing/use-test-log.ts';

const test = useTestLog();
const tables = ['documents', 'users', 'user_names', 'directories', 'command_results', 'applied'];
const { db, keys, run, apply } = useTestCommands(test, { tables, now: new Date() });
let directories: OpenDirectories;

beforeEach(() => {
  directories = new OpenDirectories({ db: db(), node: 'node-1', seedKey: keys().seed });
});
afterEach(() => directories[Symbol.asyncDispose]());

async function only(): Promise<StoredDirectory['document']> {
  const [found] = await directories.list();
  return found!.document;
}

describe.skipIf(!hasSlapd)('an OpenLDAP', () => {
  let slapd: TestSlapd;
  beforeAll(async () => {
    slapd = await startTestSlapd();
  }, 60_000);
  afterAll(() => slapd?.stop());

  const given = (): NewDirectory => ({
    name: 'people',
    type: 'ldap',
    servers: [slapd.ldapsUrl],
    baseDn: slapd.baseDn,
    certificates: { authorities: slapd.authority },
    account: slapd.reader,
  });
  const add = () => run('directory.add', { directory: given() });

  it('is tested before it is added, and says what is wrong without saying the password', async () => {
    expect(await directories.test(given())).toMatchObject({ ok: true, seen: { people: 25 } });
    const account = { ...slapd.reader, password: 'HUSH' };
    const wrong = await directories.test({ ...given(), account });
    expect(wrong).toMatchObject({ ok: false, fault: 'credentials' });
    expect(JSON.stringify(wrong)).not.toContain('HUSH');
    const untrusted = await directories.test({ ...given(), certificates: {} });
    expect(untrusted).toMatchObject({ ok: false, fault: 'certificate' });
    const plain = directories.test({ ...given(), servers: ['ldap://192.0.2.1'] });
    await expect(plain).rejects.toMatchObject({ status: 400, code: 'invalid_directory' });
  });

  it('is tested once at a time on a node', async () => {
    await add();
    await using other = new OpenDirectories({ db: db(), node: 'node-1', seedKey: keys().seed });
    const document = await only();
    slapd.pause();
    const tests = [directories, other].map((each) => each.test(document));
    const refusal = await Promise.race(tests.map((each) => each.catch((error: Error) => error)));
    slapd.resume();
    expect(refusal).toMatchObject({ status: 409, code: 'busy' });
    const ended = await Promise.allSettled(tests);
    expect(ended.filter(({ status }) => status === 'fulfilled')).toMatchObject([
      { value: { ok: true } },
    ]);
  });

  it('shows what there is, and what people of it would become', async () => {
    await add();
    const scope = { kind: 'group', dn: `cn=vpn users,ou=groups,${slapd.baseDn}` };
    const edit = { do: 'add', item: { name: 'vpn', scope } };
    await run('directory.set-items', { name: 'people', edit });
    const document = await only();
    const { containers } = await directories.listContainers(document, null);
    expect(containers.map(({ name }) => name)).toContain('people');
    const { groups } = await directories.listGroups(document, 'vpn');
    expect(groups.map(({ name }) => name).toSorted()).toEqual(['admins vpn', 'vpn users']);
    const { people } = await directories.previewPeople(document, { text: 'alice', limit: 10 });
    expect(people).toMatchObject([{ username: 'alice', item: 'vpn', user: null, problem: null }]);
    const eva = await directories.previewPeople(document, { text: 'eva', limit: 10 });
    expect(eva.people).toMatchObject([
      {
        item: null,
        phones: [{ kind: 'business', number: '+31201234567', extension: '890' }],
      },
    ]);
    const injected = await directories.previewPeople(document, { text: '*)(uid=*', limit: 10 });
    expect(injected.people).toEqual([]);
  });

  it('tells who is a user already, and whose name somebody else has', async () => {
    await add();
    const document = await only();
    const [alice] = (await directories.previewPeople(document, { text: 'alice', limit: 1 })).people;
    await apply(userOf('alice', null));
    const taken = await directories.previewPeople(document, { text: 'alice', limit: 1 });
    // She has a mail address for a name besides: an import takes that.
    expect(taken.people).toMatchObject([{ user: null, problem: null }]);
    expect(taken.people[0]!.username).not.toBe('alice');
    const { object, dn } = alice!;
    await apply(userOf('ally', { id: document.id, object, dn }));
    const known = await directories.previewPeople(document, { text: 'alice', limit: 1 });
    expect(known.people).toMatchObject([{ username: 'ally', user: 'ally', problem: null }]);
    const check = await directories.checkSignIn(document, {
      username: 'ALICE',
      password: slapd.personPassword,
      actor: 'help desk',
    });
    expect(check).toMatchObject({ outcome: 'accepted', user: 'ally' });
    const wrong = { username: 'alice', password: 'x', actor: 'help desk' };
    const refused = { outcome: 'refused', reason: 'wrong_password' };
    expect(await directories.checkSignIn(document, wrong)).toEqual(refused);
    const events = (await takeFinalOutbox(db(), 1000)).map(({ event }) => event);
    expect(events.filter(({ type }) => type === 'directory.check')).toMatchObject([
      { actor: 'help desk', username: 'ally', result: 'accepted' },
      { actor: 'help desk', username: null, result: 'refused', reason: 'wrong_password' },
    ]);
  });

  it('tries no more than 20 passwords a minute', async () => {
    await add();
    const document = await only();
    const check = () =>
      directories.checkSignIn(document, { username: 'nobody', password: 'x', actor: 'help desk' });
    for (let count = 0; count < 20; count += 1) await check();
    await expect(check()).rejects.toMatchObject({ status: 429, code: 'too_many_checks' });
  });

  it('is read as it is set now, and not with a password that was sealed for another place', async () => {
    await add();
    const before = await only();
    expect((await directories.listContainers(before, null)).containers).not.toEqual([]);
    const baseDn = `ou=groups,${slapd.baseDn}`;
    await run('directory.set', { name: 'people', changes: { baseDn } });
    const after = await directories.listContainers(await only(), null);
    expect(after.containers).toEqual([]);
    await db().sql`update directories set
      document = document || '{"servers": ["ldaps://evil.test"]}'`;
    const moved = directories.listContainers(await only(), null);
    await expect(moved).rejects.toMatchObject({ status: 409, code: 'secret_required' });
  });

  it('says in one short line what failed', async () => {
    const servers = ['ldaps://127.0.0.1:9'];
    await run('directory.add', { directory: { ...given(), servers } });
    const listing = directories.listGroups(await only(), '');
    await expect(listing).rejects.toMatchObject({
      status: 502,
      code: 'directory_failed',
      fields: { fault: 'unreachable' },
    });
    const failed: unknown = await listing.catch((error: unknown) => error);
    expect((failed as Error).message.length).toBeLessThanOrEqual(200);
  });
});

describe.skipIf(!hasSamba)('an Active Directory (Samba)', () => {
  let samba: TestSamba;
  beforeAll(async () => {
    samba = await startTestSamba();
  }, 120_000);
  afterAll(() => samba?.stop());

  it('is tested, searched and signed in to with what is usual for it', async () => {
    const directory: NewDirectory = {
      name: 'corp',
      type: 'active-directory',
      servers: [samba.ldapsUrl],
      baseDn: samba.baseDn,
      domains: [samba.netbios, samba.realm.toLowerCase()],
      certificates: { pinned: [samba.sha256] },
      account: { name: samba.reader.dn, password: samba.reader.password },
    };
    expect(await directories.test(directory)).toMatchObject({ ok: true, fault: null });
    await run('directory.add', { directory });
    const document = await only();
    const { people } = await directories.previewPeople(document, { text: 'alice', limit: 10 });
    expect(people).toMatchObject([{ username: 'alice@corp.test', problem: null }]);
    for (const username of ['alice', `${samba.netbios}\\alice`, 'alice@corp.test']) {
      const who = { username, password: samba.personPassword, actor: 'help desk' };
      expect(await directories.checkSignIn(document, who)).toMatchObject({ outcome: 'accepted' });
    }
    const { groups } = await directories.listGroups(document, 'Domain Admins');
    expect(groups).toHaveLength(1);
  });
});

function userOf(username: string, link: { id: string; object: string; dn: string } | null) {
  const at = new Date().toISOString();
  const id = randomUUID();
  const own = { enabled: true, blocked: null, unlockedAt: null, authenticators: [] };
  const directory = link && { ...link, item: null, names: [], mails: [] };
  const content = { id, username, ...own, createdAt: at, updatedAt: at };
  return {
    kind: 'user' as const,
    id,
    removed: false,
    content: { ...content, ...(directory && { directory }) },
  };
}
