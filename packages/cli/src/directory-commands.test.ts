import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  directoryFixture,
  healthyCluster,
  MemoryDirectories,
  startApi,
} from '@countersign/api/testing';
import type { PersonPreview } from '@countersign/api';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCountersign, type Run } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;
let memory: MemoryDirectories;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
  writeFileSync(join(directory, 'password'), 'HUSH-password\n');
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  server.ports.commandReply = null;
  server.ports.cluster = healthyCluster();
  server.ports.commands.length = 0;
  memory = server.ports.directories;
  Object.assign(memory, new MemoryDirectories());
});

function countersign(args: string[], stdin = ''): Promise<Run> {
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  return runCountersign(['directory', ...args], { directory, env, stdin });
}

const lastArgs = () => server.ports.commands.at(-1)?.args;
const ADD = [
  'add',
  'corp',
  '--type',
  'active-directory',
  '--url',
  'ldaps://dc1.corp.test',
  '--base',
  'DC=corp,DC=test',
  '--account',
  'CN=reader,DC=corp,DC=test',
];

describe('countersign directory', () => {
  it('tests a directory, adds it, and sends its password nowhere but there', async () => {
    const pin = Array.from({ length: 32 }, () => 'AB').join(':');
    const more = ['--url', 'ldaps://dc2', '--pin', pin, '--domain', 'CORP,corp.test'];
    const set = [
      '--set',
      'sync.intervalMinutes=1',
      '--set',
      'attributes.phones.custom=otherMobile',
    ];
    const added = await countersign([...ADD, '--password-file', 'password', ...more, ...set]);
    expect(added).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(
        /^Active Directory answers: 12.*\nadded corp \(revision \d+\)\n$/,
      ),
    });
    expect(lastArgs()).toEqual({
      directory: {
        name: 'corp',
        type: 'active-directory',
        servers: ['ldaps://dc1.corp.test', 'ldaps://dc2'],
        baseDn: 'DC=corp,DC=test',
        account: { name: 'CN=reader,DC=corp,DC=test', password: 'HUSH-password' },
        certificates: { pinned: ['ab'.repeat(32)] },
        domains: ['CORP', 'corp.test'],
        sync: { intervalMinutes: 1 },
        attributes: { phones: { custom: 'otherMobile' } },
      },
    });
    expect(memory.tested).toHaveLength(1);
  });

  it('does not add one whose test fails, unless it is told not to test', async () => {
    const line = 'the password of the account is wrong';
    memory.report = { ...memory.report, ok: false, fault: 'credentials', line };
    const refused = await countersign([...ADD, '--password-file', '-'], 'HUSH\n');
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toBe(
      `countersign: not added: ${line} (--no-test adds it all the same)\n`,
    );
    expect(server.ports.commands).toEqual([]);
    const added = await countersign([...ADD, '--no-test'], 'HUSH\n');
    expect(added).toMatchObject({ code: 0 });
    const tested = await countersign(['test']);
    expect(tested).toMatchObject({ code: 1 });
    expect(tested.stdout).toContain(`corp: WRONG: ${line}`);
  });

  it('lists and shows directories, and changes every setting by its name', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    const listed = await countersign(['list']);
    expect(listed.stdout).toMatch(/corp +active-directory +ldaps:\S+ +0 +off +never synchronised/);
    const shown = await countersign(['show', 'corp']);
    expect(shown.stdout).toMatch(/attributes\.phones\.mobile +mobile/);
    expect(shown.stdout).toMatch(/account +CN=reader/);
    expect(shown.stdout).not.toContain('c2VhbGVk');
    const settings = [
      'filters.user=(objectClass=user)',
      'attributes.phones.ip=',
      'attributes.usernames=mail,uid',
      'sync.enabled=on',
      'account=',
    ];
    expect(await countersign(['set', 'corp', ...settings])).toMatchObject({ code: 0 });
    expect(lastArgs()).toEqual({
      name: 'corp',
      changes: {
        filters: { user: '(objectClass=user)' },
        attributes: { phones: { ip: null }, usernames: ['mail', 'uid'] },
        sync: { enabled: true },
        account: null,
      },
    });
    const moved = ['set', 'corp', 'servers=ldaps://dc3', '--password-file', 'password'];
    await countersign(moved);
    expect(lastArgs()).toMatchObject({ changes: { account: { password: 'HUSH-password' } } });
    server.ports.commandReply = {
      kind: 'refused',
      status: 400,
      code: 'secret_required',
      detail: 'give the password once more',
    };
    const refused = await countersign(['set', 'corp', 'servers=ldaps://dc3']);
    expect(refused.stderr).toContain('with --password-file FILE');
  });

  it.each([
    ['an unknown setting', ['set', 'corp', 'shoeSize=43'], 'there is no setting shoeSize'],
    ['a prototype', ['set', 'corp', '__proto__.x=1'], 'there is no setting __proto__.x'],
    ['a password among the arguments', ['set', 'corp', 'password=x'], '--password-file'],
    ['no setting', ['set', 'corp'], 'nothing to change'],
    ['a setting twice', ['set', 'corp', 'baseDn=a', 'baseDn=b'], 'comes twice'],
    ['a half pin', [...ADD, '--pin', 'abcd', '--no-test'], '64 hex digits'],
    ['an item of nobody', ['item', 'add', 'corp', 'vpn'], 'whose people'],
    ['an item of two scopes', ['item', 'add', 'c', 'v', '--domain', '--group', 'x'], 'one of'],
    ['a phone of no kind', ['item', 'set', 'c', 'v', '--phone', 'shoe'], '--phone shoe'],
    ['an import of nobody', ['import', 'corp'], 'who?'],
    ['a short hash', ['approvals', 'approve', 'abcdef1'], 'at least 8'],
  ])('refuses %s', async (_, args, said) => {
    const run = await countersign(args, 'x\n');
    expect(run).toMatchObject({ code: 2, stdout: '' });
    expect(run.stderr).toContain(said);
    expect(server.ports.commands).toEqual([]);
  });

  it('adds, shows, changes, moves and removes sync items', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    const added = await countersign([
      ...['item', 'add', 'corp', 'vpn', '--group', 'CN=VPN,DC=corp,DC=test', '--method', 'text'],
      ...['--language', 'nl', '--phone', 'mobile:primary', '--phone', 'business:backup'],
      ...['--on-removal', 'remove', '--mail', '--update', 'mail=never', '--position', '1'],
    ]);
    expect(added).toMatchObject({ code: 0, stderr: '' });
    expect(lastArgs()).toEqual({
      name: 'corp',
      edit: {
        do: 'add',
        item: {
          name: 'vpn',
          scope: { kind: 'group', dn: 'CN=VPN,DC=corp,DC=test' },
          method: 'text',
          language: 'nl',
          phones: [
            { kind: 'mobile', use: 'primary' },
            { kind: 'business', use: 'backup' },
          ],
          onRemoval: 'remove',
          mailOnImport: true,
          update: { mail: 'never' },
        },
        place: { position: 1 },
      },
    });
    const listed = await countersign(['items', 'corp']);
    expect(listed.stdout).toMatch(
      /1 +vpn +group CN=VPN\S* +text +nl +mobile:primary business:backup/,
    );
    const shown = await countersign(['item', 'show', 'corp', 'vpn']);
    expect(shown.stdout).toMatch(/update +username=always .* mail=never/);
    await countersign(['item', 'set', 'corp', 'vpn', '--method', 'default', '--no-mail']);
    expect(lastArgs()).toMatchObject({ edit: { changes: { method: null, mailOnImport: false } } });
    await countersign(['item', 'move', 'corp', 'vpn', '--before', 'vpn']);
    expect(lastArgs()).toMatchObject({ edit: { do: 'move', place: { before: 'vpn' } } });
    const asked = await countersign(['item', 'remove', 'corp', 'vpn']);
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.stderr).toContain('are disabled with the next synchronisation');
    expect(await countersign(['item', 'remove', 'corp', 'vpn', '--yes'])).toMatchObject({
      code: 0,
    });
  });

  it('shows people with every text of theirs escaped, and imports only those it showed', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    memory.people = [
      person({ object: 'o-1', username: 'alice', displayName: 'Alice\u001b[31m' }),
      person({ object: 'o-2', username: 'bob', problem: 'somebody else is called bob already' }),
    ];
    memory.people[0]!.dropped = [{ attribute: 'mobile', why: 'is no number: \u202e12' }];
    const searched = await countersign(['search', 'corp', 'ali']);
    expect(searched.stdout).toContain('Alice\\u{1b}[31m');
    expect(searched.stdout).toContain('mobile is left out: is no number: \\u{202e}12');
    expect(searched.stdout).toMatch(/bob .*nobody: somebody else/);
    const asked = await countersign(['import', 'corp', 'ali']);
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.stderr).toContain('--yes');
    expect(server.ports.commands).toEqual([]);
    const imported = await countersign(['import', 'corp', 'ali', '--yes']);
    expect(imported).toMatchObject({ code: 0 });
    expect(imported.stdout).toContain('1 added, 0 changed');
    expect(lastArgs()).toEqual({ name: 'corp', objects: ['o-1'] });
    memory.people = Array.from({ length: 201 }, (_, at) => person({ object: `o-${at}` }));
    const tooMany = await countersign(['import', 'corp', 'ali', '--yes']);
    expect(tooMany.stderr).toContain('more than 200 people');
  });

  it('imports exactly whom a DN names', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    const dn = 'CN=Alice,DC=corp,DC=test';
    memory.people = [person({ object: 'o-1', dn }), person({ object: 'o-2' })];
    await countersign(['import', 'corp', '--dn', dn.toLowerCase(), '--yes']);
    expect(lastArgs()).toEqual({ name: 'corp', objects: ['o-1'] });
    const nobody = await countersign(['import', 'corp', '--dn', 'CN=Eve', '--yes']);
    expect(nobody.stderr).toContain('nobody is CN=Eve: nothing was imported');
  });

  it('browses containers and groups', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    memory.groups = [{ dn: 'CN=VPN\u202e', name: 'VPN' }];
    expect((await countersign(['browse', 'corp'])).stdout).toMatch(/Staff +OU=Staff,DC=corp/);
    expect((await countersign(['browse', 'corp', '--groups', 'vpn'])).stdout).toMatch(
      /VPN +CN=VPN\\u\{202e\}/,
    );
  });

  it('tries a password that stands in no argument', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    const right = await countersign(['check', 'corp', 'alice'], 'right\n');
    expect(right).toMatchObject({ code: 0 });
    expect(right.stdout).toBe('accepted: CN=alice,DC=corp,DC=test is no user yet\n');
    const wrong = await countersign(['check', 'corp', 'alice'], 'wrong\n');
    expect(wrong).toMatchObject({ code: 1, stdout: 'refused: wrong_password\n' });
  });
});

describe('countersign directory sync', () => {
  const at = '2026-05-01T12:00:00.000Z';
  const counts = {
    ...{ people: 25, added: 3, changed: 1, disabled: 0, removed: 0, kept: 0, held: 0, refused: 2 },
  };
  const idle = { running: null, nextAt: null, lastDryRun: null };
  const running = { kind: 'full', dryRun: false, startedAt: at, phase: 'writing', done: 5, of: 25 };

  it('waits until it is over, and tells what came of it', async () => {
    const document = directoryFixture();
    const empty = { id: document.id, cursor: null, basis: null, lastFullAt: null, taken: [] };
    memory.stored = [{ document, sync: { ...empty, last: null, held: null } }];
    memory.statuses = [idle, { ...idle, running: { ...running, counts } }, idle];
    memory.afterSync = () => {
      const last = { startedAt: at, endedAt: at, kind: 'full', problem: null, counts } as const;
      memory.stored = [
        { document, sync: { ...empty, last: { ...last, outcome: 'done' }, held: null } },
      ];
    };
    const run = await countersign(['sync', 'corp', '--full']);
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toBe('corp: 25 people, 3 added, 1 changed, 2 could not be taken\n');
    const asked = server.ports.commands.find(({ name }) => name === 'directory.sync');
    expect(asked?.args).toEqual({ name: 'corp', full: true, dryRun: false });
    const again = await countersign(['sync', 'corp']);
    expect(again.stdout).toBe('corp: nothing to change\n');
    const begun = await countersign(['sync', 'corp', '--no-wait']);
    expect(begun.stdout).toContain('corp: begun');
    const status = await countersign(['sync-status', 'corp']);
    expect(status.stdout).toContain('last: 2026-05-01 12:00:00 full: 25 people, 3 added');
  });

  it('fails each time that it fails in the same way, and not for what waits for an approval', async () => {
    const document = directoryFixture();
    const empty = { id: document.id, cursor: null, basis: null, lastFullAt: null, taken: [] };
    const stored = (outcome: 'failed' | 'held', problem: string) => {
      const last = { startedAt: at, endedAt: at, kind: 'full' as const, outcome, problem, counts };
      memory.stored = [{ document, sync: { ...empty, last, held: null } }];
      memory.statuses = [{ ...idle, problem }];
    };
    stored('failed', 'dc1: no answer');
    const failed = await countersign(['sync', 'corp']);
    expect(failed).toMatchObject({ code: 1, stdout: 'corp: failed: dc1: no answer\n' });
    stored('held', '7 users wait');
    expect(await countersign(['sync', 'corp'])).toMatchObject({ code: 0 });
  });

  it('tells what a dry run would do', async () => {
    memory.stored = [{ document: directoryFixture(), sync: null }];
    const first = [{ username: 'alice\u202e', what: 'disable' }];
    const lastDryRun = { startedAt: at, endedAt: at, problem: null, counts, first };
    memory.statuses = [idle, { ...idle, lastDryRun }];
    const run = await countersign(['sync', 'corp', '--dry-run']);
    expect(run).toMatchObject({ code: 0 });
    expect(run.stdout).toContain('nothing was written');
    expect(run.stdout).toMatch(/alice\\u\{202e\} +disable/);
  });

  it('shows who and what before it approves, and names the whole hash', async () => {
    const document = directoryFixture();
    const hash = `abcdef12${'34'.repeat(28)}`;
    const named = { userId: document.id, username: 'bob', what: 'remove' as const };
    const held = { hash, at, count: 7, of: 40, first: [named], decision: null };
    const empty = { id: document.id, cursor: null, basis: null, lastFullAt: null, taken: [] };
    memory.stored = [{ document, sync: { ...empty, last: null, held } }];
    const listed = await countersign(['approvals', 'list']);
    expect(listed.stdout).toMatch(/abcdef123434 +corp +7 of 40 users/);
    const asked = await countersign(['approvals', 'approve', 'abcdef12']);
    expect(asked).toMatchObject({ code: 1 });
    expect(asked.stdout).toContain('  remove bob\n  and 6 more\n');
    expect(server.ports.commands).toEqual([]);
    const approved = await countersign(['approvals', 'reject', 'abcdef12', '--yes']);
    expect(approved.stdout).toContain('rejected abcdef123434');
    expect(server.ports.commands.at(-1)).toMatchObject({
      name: 'directory.reject',
      args: { name: 'corp', hash },
    });
    const other = await countersign(['approvals', 'approve', 'abcdef13', '--yes']);
    expect(other.stderr).toContain('nothing that waits begins with abcdef13');
  });
});

it('countersign status tells of a directory with a problem, and of a plan that waits', async () => {
  server.ports.cluster = {
    ...healthyCluster(),
    directories: [
      { name: 'corp', problem: 'dc1: the certificate has expired', held: null },
      { name: 'people', problem: null, held: { count: 7, hash: 'abcdef12'.repeat(8) } },
    ],
  };
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  const { stdout } = await runCountersign(['status'], { directory, env });
  expect(stdout).toContain(
    'directory corp: dc1: the certificate has expired; to test it: countersign directory test corp\n',
  );
  expect(stdout).toContain(
    'directory people: a plan for 7 users waits: countersign directory approvals approve abcdef12abcd\n',
  );
  expect(stdout).toContain('OK: verification and changes work');
  const [master] = server.ports.cluster.nodes;
  master!.problems.push('directory corp: dc1: the certificate has expired');
  const told = (await runCountersign(['status'], { directory, env })).stdout;
  expect(told.match(/certificate has expired/g)).toHaveLength(1);
  expect(told).toContain(
    '  - see how it stands: countersign directory sync-status; and from this node: countersign directory test\n',
  );
});

function person(fields: Partial<PersonPreview>): PersonPreview {
  return {
    object: 'o',
    dn: 'CN=Somebody,DC=corp,DC=test',
    username: 'somebody',
    firstName: null,
    lastName: null,
    displayName: 'Some Body',
    mail: null,
    description: null,
    language: null,
    phones: [],
    isDisabled: false,
    item: null,
    user: null,
    problem: null,
    dropped: [],
    ...fields,
  };
}
