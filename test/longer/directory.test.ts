import { setTimeout as sleep } from 'node:timers/promises';
import {
  addEntry,
  deleteEntry,
  hasSamba,
  replaceAttributes,
  startTestSamba,
  waitFor,
  type TestSamba,
} from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { ApiClient, VerificationReply } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { enrolPerson } from '../harness/people.ts';
import { changesSince, readDirectoryUsers, readUsers } from '../harness/replica.ts';
import { activeDirectory } from '../harness/directories.ts';
import { report } from '../harness/report.ts';
import { runCli } from '../harness/run-cli.ts';

const PEOPLE = 2500;
const ITEM_PATH = '/api/v1/directories/corp/items';
const SYNC_PATH = '/api/v1/directories/corp/sync';
const INTERVAL_MS = 60_000;

type SyncStatus = {
  masterAnswers: boolean;
  running: { done: number; of: number | null } | null;
  last: { outcome: string; problem: string | null; counts: Record<string, number> } | null;
};

let samba: TestSamba;
let cluster: TestCluster;

beforeAll(async () => {
  if (!hasSamba) return;
  [samba, cluster] = await Promise.all([
    startTestSamba({ people: 'many' }),
    TestCluster.start({ nodes: 3 }),
  ]);
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await samba?.stop();
});

// One story, in this order: each step begins with what the one before has left.
describe.skipIf(!hasSamba)('2,500 people of an Active Directory', { timeout: 240_000 }, () => {
  it('all arrive, each once, though the master is killed in the middle', async () => {
    const master = await cluster.master();
    await addDirectory(cluster.api(master));
    const watcher = cluster.others(master.name)[0]!;
    const startedAt = performance.now();
    await waitFor('the first 400 users', async () => (await countUsers(watcher)) >= 400, {
      timeoutMs: 60_000,
      everyMs: 50,
    });
    const enrolled = await enrolFirst(cluster.api(watcher), watcher, 5);
    await master.killAll();
    const next = await waitFor(
      'everybody, by another master',
      async () => {
        const count = await countUsers(watcher);
        return count >= PEOPLE && (await finished(cluster.api(watcher))) ? watcher : null;
      },
      { timeoutMs: 120_000, everyMs: 250 },
    );
    const tookMs = performance.now() - startedAt;
    master.start();
    await cluster.untilWhole();
    await cluster.untilDigestsEqual();
    const users = await readDirectoryUsers(next);
    const objects = users.map(({ directory }) => directory!.object);
    expect(new Set(objects).size).toBe(users.length);
    const many = users.filter(({ username }) => /^many\d{4}@corp\.test$/.test(username));
    expect(many).toHaveLength(PEOPLE);
    for (const [username, authenticator] of enrolled) {
      const user = users.find((one) => one.username === username);
      expect(user?.authenticators.map(({ id }) => id)).toContain(authenticator);
    }
    report('2,500 people of an Active Directory, the master killed in the middle', {
      allAfterMs: Math.round(tookMs),
    });
  });

  it('are read again in full without a change', async () => {
    const node = await cluster.master();
    await untilIdle(cluster.api(node));
    const before = await cluster.api(node).cluster();
    const from = before.nodes.find(({ name }) => name === node.name)!.revision;
    await syncNow(cluster.api(node), { full: true });
    expect(await changesSince(node, from, 'user')).toEqual([]);
  });

  it('change within one interval of a minute, and nothing else is written', async () => {
    const node = await cluster.master();
    const far = cluster.others(node.name)[0]!;
    await untilIdle(cluster.api(node));
    const from = (await cluster.api(node).cluster()).nodes[0]!.revision;
    const before = new Map((await readDirectoryUsers(far)).map((user) => [shortName(user), user]));
    const dn = (account: string) => before.get(account)!.directory!.dn;
    await samba.modify(
      [
        // renamed, with the account
        moveEntry(dn('many0100'), 'CN=renamed0100', parentOf(dn('many0100'))),
        replaceAttributes(`CN=renamed0100,${parentOf(dn('many0100'))}`, {
          sAMAccountName: 'renamed0100',
          userPrincipalName: 'renamed0100@corp.test',
        }),
        // to another unit
        moveEntry(dn('many0101'), 'CN=many0101', 'OU=Staff,DC=corp,DC=test'),
        // into the group of the first item
        addMember('CN=VPN Users,OU=Groups,DC=corp,DC=test', dn('many0102')),
        replaceAttributes(dn('many0103'), { userAccountControl: '546' }),
        deleteEntry(dn('many0104')),
        replaceAttributes(dn('many0105'), { mobile: '+31 6 3000 0105' }),
        addEntry('CN=many9000,OU=Staff,DC=corp,DC=test', {
          objectClass: 'user',
          sAMAccountName: 'many9000',
          userPrincipalName: 'many9000@corp.test',
          userAccountControl: '544',
        }),
      ].join(''),
    );
    const startedAt = performance.now();
    let missing: string[] = [];
    const after = await waitFor(
      'every change on another node',
      async () => {
        const users = new Map(
          (await readDirectoryUsers(far)).map((user) => [user.directory!.object, user]),
        );
        const now = (account: string) => users.get(before.get(account)!.directory!.object);
        const isThere = {
          renamed: now('many0100')?.username === 'renamed0100@corp.test',
          moved: now('many0101')?.directory!.dn === 'CN=many0101,OU=Staff,DC=corp,DC=test',
          'in the group':
            now('many0102')?.directory!.item !== before.get('many0102')!.directory!.item,
          disabled: now('many0103')?.enabled === false,
          deleted: now('many0104')?.enabled === false,
          'another phone': phoneOf(now('many0105')) === '+31630000105',
          added: [...users.values()].some(({ username }) => username === 'many9000@corp.test'),
        };
        missing = Object.entries(isThere).flatMap(([what, is]) => (is ? [] : [what]));
        return missing.length === 0 ? { now } : null;
      },
      { timeoutMs: INTERVAL_MS + 45_000, everyMs: 250 },
    ).catch((error: unknown) => {
      throw new Error(`still missing: ${missing.join(', ')}`, { cause: error });
    });
    report('seven kinds of change in Active Directory', {
      everywhereAfterMs: Math.round(performance.now() - startedAt),
    });
    const changed = await changesSince(node, from, 'user');
    expect(changed).toHaveLength(7);
    expect(after.now('many0100')!.id).toBe(before.get('many0100')!.id);
    // The one that is gone comes back with the same object.
    const { object } = before.get('many0104')!.directory!;
    await undelete(object);
    await syncNow(cluster.api(node), {});
    await waitFor(
      'the one that was undeleted',
      async () =>
        (await readDirectoryUsers(node)).some(
          (user) => user.directory!.object === object && user.enabled,
        ),
      { timeoutMs: INTERVAL_MS + 45_000 },
    );
  });

  it('sign in with the password of the directory, by every name, and then the code', async () => {
    const api = cluster.api(cluster.nodes[0]!);
    const name = 'many0150@corp.test';
    const person = await enrolPerson(api, name);
    const names = [name, 'CORP\\many0150', 'MANY0150', (await dnOfUser(name))!];
    for (const username of names) {
      const wrong = await verify(api, { username, password: 'guess', code: person.comingCode() });
      expect(wrong, username).toMatchObject({ status: 'denied', reason: 'wrong_password' });
      const password = samba.personPassword;
      const asked = await verify(api, { username, password });
      expect(asked, username).toMatchObject({ status: 'challenge' });
      const done = await verify(api, { username, password, code: person.nextCode() });
      expect(done, username).toMatchObject({ status: 'approved' });
    }
    for (const username of ['Many Person 150', `corp.test/many0150`, '*)(uid=*']) {
      const password = samba.personPassword;
      const denied = await verify(api, { username, password, code: person.comingCode() });
      expect(denied, username).toMatchObject({ status: 'denied', reason: 'unknown_user' });
    }
  });

  it('go on verifying while the directory hangs, and status says so', async () => {
    const node = await cluster.master();
    const api = cluster.api(node);
    const name = 'many0200@corp.test';
    const person = await enrolPerson(api, name);
    await api.done('PATCH', '/api/v1/directories/corp', { answerMs: 1000, connectMs: 1000 });
    samba.pause();
    try {
      await api.done('POST', SYNC_PATH, {});
      const shown = await waitFor(
        'the problem in status',
        async () => {
          const { stdout } = await runCli(cluster.others(node.name)[0]!, ['status']);
          return /corp/.test(stdout) && stdout;
        },
        { timeoutMs: 30_000, everyMs: 500 },
      );
      expect(shown).toMatch(/directory corp/);
      const slowest: number[] = [];
      for (let counter = 0; counter < 20; counter += 1) {
        const startedAt = performance.now();
        const reply = await verify(api, { username: name, code: person.nextCode() });
        expect(reply).toMatchObject({ status: 'approved' });
        slowest.push(performance.now() - startedAt);
      }
      report('verifications beside a directory that hangs', {
        slowestMs: Math.round(Math.max(...slowest)),
      });
      const first = await verify(api, { username: name, password: 'any', code: '000000' });
      expect(first).toMatchObject({ status: 'denied', reason: 'directory_unavailable' });
    } finally {
      samba.resume();
    }
  });
});

async function addDirectory(api: ApiClient): Promise<void> {
  await api.done(
    'POST',
    '/api/v1/directories',
    activeDirectory(samba, { enabled: false, intervalMinutes: 1 }),
  );
  await api.done('POST', ITEM_PATH, {
    name: 'vpn',
    scope: { kind: 'group', dn: 'CN=VPN Users,OU=Groups,DC=corp,DC=test' },
  });
  await api.done('POST', ITEM_PATH, { name: 'everybody', scope: { kind: 'domain' } });
  await api.done('PATCH', '/api/v1/directories/corp', { sync: { enabled: true } });
}

async function countUsers(node: TestNode): Promise<number> {
  return (await readUsers(node)).size;
}

async function finished(api: ApiClient): Promise<boolean> {
  const { masterAnswers, running, last } = await api.done<SyncStatus>('GET', SYNC_PATH);
  return masterAnswers && running === null && last?.outcome === 'done';
}

async function untilIdle(api: ApiClient): Promise<void> {
  await waitFor('the synchronisation to rest', () => finished(api), { timeoutMs: 60_000 });
}

async function syncNow(api: ApiClient, body: object): Promise<void> {
  await api.done('POST', SYNC_PATH, body);
  // A run that changes nothing leaves no trace: it is seen, or was over before anybody looked.
  const giveUpAt = performance.now() + 5000;
  while (performance.now() < giveUpAt) {
    if ((await api.done<SyncStatus>('GET', SYNC_PATH)).running !== null) break;
    await sleep(20);
  }
  await untilIdle(api);
}

/** Gives the first users that are there a token each; username and the token's id. */
async function enrolFirst(
  api: ApiClient,
  node: TestNode,
  count: number,
): Promise<[username: string, authenticator: string][]> {
  const names = [...(await readUsers(node)).keys()]
    .filter((name) => /^many\d{4}@/.test(name))
    .slice(0, count);
  return Promise.all(
    names.map(async (name): Promise<[string, string]> => {
      const path = `/api/v1/users/${name}/authenticators`;
      const { id } = await api.done<{ id: string }>('POST', path, { type: 'hotp' });
      return [name, id];
    }),
  );
}

async function dnOfUser(username: string): Promise<string | undefined> {
  const users = await readDirectoryUsers(cluster.nodes[0]!);
  return users.find((user) => user.username === username)?.directory?.dn;
}

async function verify(api: ApiClient, body: object): Promise<VerificationReply> {
  return api.done<VerificationReply>('POST', '/api/v1/verifications', body);
}

/** As an administrator does it (MS-ADTS 3.1.1.5.3.7): the object keeps its GUID. */
async function undelete(object: string): Promise<void> {
  const showDeleted = '1.2.840.113556.1.4.417';
  const lines = [
    `dn: CN=many0104\\0ADEL:${object},CN=Deleted Objects,DC=corp,DC=test`,
    `control: ${showDeleted} true`,
    'changetype: modify',
    'delete: isDeleted',
    '-',
    'replace: distinguishedName',
    'distinguishedName: CN=many0104,OU=Staff,DC=corp,DC=test',
    '-',
    '',
    '',
  ];
  await samba.modify(lines.join('\n'));
}

type DirectoryUser = Awaited<ReturnType<typeof readDirectoryUsers>>[number];

function shortName({ username }: DirectoryUser): string {
  return username.split('@')[0]!;
}

function phoneOf(user: DirectoryUser | undefined): string | undefined {
  const phone = user?.authenticators.find(({ type }) => type === 'phone');
  return phone?.type === 'phone' ? phone.number : undefined;
}

function parentOf(dn: string): string {
  return dn.slice(dn.indexOf(',') + 1);
}

function moveEntry(dn: string, rdn: string, parent: string): string {
  const lines = [`dn: ${dn}`, 'changetype: modrdn', `newrdn: ${rdn}`, 'deleteoldrdn: 1'];
  return [...lines, `newsuperior: ${parent}`, '', ''].join('\n');
}

function addMember(group: string, member: string): string {
  const lines = [`dn: ${group}`, 'changetype: modify', 'add: member', `member: ${member}`];
  return [...lines, '-', '', ''].join('\n');
}
