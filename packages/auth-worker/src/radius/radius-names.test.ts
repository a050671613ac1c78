import { randomUUID } from 'node:crypto';
import { takeFinalOutbox } from '@countersign/database';
import { Directory } from '@countersign/directory';
import { directoryConfigOf, OpenDirectories } from '@countersign/operations';
import { about, sendRadius } from '@countersign/radius/testing';
import { hasSamba, startTestSamba, type TestSamba } from '@countersign/testing';
import {
  generateSecret,
  hotp,
  type DirectoryDocument,
  type UserDocument,
} from '@countersign/verification';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  makeFrontKeys,
  openTestFront,
  radiusClientAt,
  SHARED,
} from '../testing/open-test-front.ts';
import { testDirectory } from '../testing/test-directory.ts';
import { useTestStates } from '../testing/use-test-states.ts';

/** Checks the password; needs a user. */
const STRICT = '127.0.0.1';
/** Checks the password; lets strangers pass. */
const OPEN = '127.0.0.2';
/** Has checked the password; lets strangers pass. */
const TRUSTED = '127.0.0.3';

const test = useTestStates();
const keys = makeFrontKeys();
const secret = generateSecret();
const code = (counter: number) => hotp(secret, counter, { algorithm: 'SHA1', digits: 6 });

describe.skipIf(!hasSamba)('a name over RADIUS with an Active Directory (needs Samba)', () => {
  let samba: TestSamba;
  let document: DirectoryDocument;
  let directories: OpenDirectories;
  let alice: UserDocument;
  let port: number;
  let counter = 0;
  const ids = { objectSid: '', objectGUID: '' };

  beforeAll(async () => {
    samba = await startTestSamba();
    const dn = dnOf('alice');
    await samba.modify(
      `dn: ${dn}\nchangetype: modify\nreplace: mail\nmail: a.jansen@mail.example\n-\nadd: servicePrincipalName\nservicePrincipalName: HTTP/alice.corp.test\n`,
    );
    const shown = await samba.samba('user', 'show', 'alice', '--attributes=objectSid,objectGUID');
    for (const name of ['objectSid', 'objectGUID'] as const) {
      ids[name] = new RegExp(`^${name}: (.+)$`, 'm').exec(shown)![1]!;
    }
    document = testDirectory(keys.seed, samba.reader, {
      name: 'corp',
      type: 'active-directory',
      domains: [samba.netbios, samba.realm.toLowerCase()],
      servers: [samba.ldapsUrl],
      certificates: { authorities: samba.authority, pinned: [], serverName: null },
      baseDn: samba.baseDn,
    });
    await test.addDirectory(document);
    await test.addApplication('vpn', {});
    await test.addApplication('open', {}, 'pass');
    const none = { kind: 'none' } as const;
    for (const client of [
      radiusClientAt(keys.seed, STRICT),
      radiusClientAt(keys.seed, OPEN, { application: 'open' }),
      radiusClientAt(keys.seed, TRUSTED, { application: 'open', firstFactor: none }),
    ]) {
      await test.addRadiusClient(client);
    }
    alice = await enrol('alice');
    directories = new OpenDirectories({ db: test.db(), node: 'node-1', seedKey: keys.seed });
    ({ port } = await openTestFront(test, { node: 'node-1', keys, directories }));
  }, 90_000);
  afterAll(async () => {
    await directories?.[Symbol.asyncDispose]();
    await samba?.stop();
  });

  const dnOf = (account: string) => samba.staff.find((one) => one.account === account)!.dn;

  /** As a synchronisation makes a user of somebody. */
  async function enrol(account: string): Promise<UserDocument> {
    await using directory = new Directory(directoryConfigOf(document, keys.seed));
    const { people } = await directory.search({ text: account, limit: 10 });
    const person = people.find(({ dn }) => dn === dnOf(account))!;
    const { object, dn, names, mails, usernames } = person;
    const link = { id: document.id, object, dn, item: null, names, mails };
    const user = { username: usernames[0]!, directory: link };
    return test.addUser(keys.seed, secret, async () => user);
  }

  function send(username: string, password: string | null, from: string, station = 'laptop') {
    const attributes = about(username, { station });
    return sendRadius({ port, from, secret: SHARED, attributes, password });
  }

  async function lastEvent() {
    const all = await takeFinalOutbox(test.db(), 10_000);
    return all.map(({ event }) => event).at(-1);
  }

  it.each([
    ['a short name', () => 'alice'],
    ['a short name in other letters', () => 'ALICE'],
    ['a domain and a short name', () => 'CORP\\alice'],
    ['a user principal name', () => 'alice@corp.test'],
    ['a principal in other letters', () => 'Alice@CORP.TEST'],
    ['a DN', () => dnOf('alice')],
    ['a mail address', () => 'a.jansen@mail.example'],
  ])('is the user it means, and needs the second step: %s', async (_what, form) => {
    const name = form();
    const { personPassword } = samba;
    const typed = `${personPassword},${code(counter++)}`;
    expect(await send(name, typed, STRICT)).toMatchObject({ kind: 'accept' });
    expect(await lastEvent()).toMatchObject({ userId: alice.id, username: alice.username });
    expect(await send(name, personPassword, OPEN)).toMatchObject({ kind: 'challenge' });
    expect(await send(name, code(900), TRUSTED)).toMatchObject({ kind: 'reject' });
    const asked = await send(name, null, TRUSTED);
    expect(asked.kind).toBe('challenge');
    const answer = { port, from: TRUSTED, secret: SHARED, password: code(counter++) };
    const attributes = [...about(name), ...asked.state];
    expect(await sendRadius({ ...answer, attributes })).toMatchObject({ kind: 'accept' });
  });

  it.each([
    ['a realm and a short name', () => 'corp.test\\Alice'],
    ['a short name at the domain', () => 'alice@CORP'],
    ['a display name', () => 'Alice Jansen'],
    ['a canonical name', () => 'corp.test/Staff/Amsterdam/Alice Jansen'],
    ['an object GUID', () => ids.objectGUID],
    ['an object GUID in braces', () => `{${ids.objectGUID}}`],
    ['an object GUID as a DN', () => `<GUID=${ids.objectGUID}>`],
    ['a SID', () => ids.objectSid],
    ['a SID as a DN', () => `<SID=${ids.objectSid}>`],
    ['a service principal', () => 'HTTP/alice.corp.test'],
    ['another domain', () => 'OTHER\\alice'],
    ['a DN with another spelling of a comma', () => dnOf('alice').replace(',', ' ,')],
    ['letters that look alike', () => '\u0430lice'],
    ['letters with marks', () => 'álice'],
    ['a NUL behind it', () => 'alice\0'],
    ['a wildcard', () => 'ali*'],
  ])('is nobody, or the user, and never a stranger who passes: %s', async (_what, form) => {
    const name = form();
    const { personPassword } = samba;
    for (const from of [STRICT, OPEN]) {
      for (const typed of [personPassword, `${personPassword},${code(900)}`]) {
        expect((await send(name, typed, from)).kind).not.toBe('accept');
      }
    }
    expect((await send(name, code(900), TRUSTED)).kind).toBe('reject');
    const asked = await send(name, null, TRUSTED);
    expect(asked.kind).not.toBe('accept');
    const answer = { port, from: TRUSTED, secret: SHARED, password: code(900) };
    const attributes = [...about(name), ...asked.state];
    expect((await sendRadius({ ...answer, attributes })).kind).toBe('reject');
  });

  it('of somebody who is no user passes where it means one object, and only there', async () => {
    const { personPassword } = samba;
    for (const name of ['bob', 'CORP\\bob', 'bob@corp.test', dnOf('bob')]) {
      expect(await send(name, null, TRUSTED)).toMatchObject({ kind: 'accept' });
      expect(await send(name, personPassword, OPEN)).toMatchObject({ kind: 'accept' });
      expect(await send(name, 'wrong', OPEN)).toMatchObject({ kind: 'reject' });
      expect(await send(name, personPassword, STRICT)).toMatchObject({ kind: 'reject' });
    }
    for (const name of ['Bob de Boer', 'nobody at all', 'OTHER\\bob']) {
      expect((await send(name, code(900), TRUSTED)).kind).toBe('reject');
      expect(await send(name, personPassword, OPEN)).toMatchObject({ kind: 'reject' });
    }
  });

  it('passes nobody while the directory cannot say who is meant', async () => {
    samba.pause();
    try {
      const told = await send('CORP\\rosa', code(900), TRUSTED);
      expect(told.kind).not.toBe('accept');
    } finally {
      samba.resume();
    }
    await expect
      .poll(async () => (await send('CORP\\rosa', null, TRUSTED, randomUUID())).kind, {
        timeout: 60_000,
      })
      .toBe('accept');
  }, 90_000);
});
