import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MemoryRadius, startApi } from '@countersign/api/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import {
  readFirstFactor,
  readReply,
  readServer,
  showFirstFactor,
  showServer,
} from './radius/fields.ts';
import { runCountersign, type Run } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
  writeFileSync(join(directory, 'secret'), 'HUSH-HUSH-HUSH-HUSH\n');
  writeFileSync(join(directory, 'blank'), '\n');
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  server.ports.commandReply = null;
  server.ports.commands.length = 0;
  Object.assign(server.ports.radius, new MemoryRadius());
});

function countersign(args: string[], stdin = ''): Promise<Run> {
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  return runCountersign(['radius', ...args], { directory, env, stdin });
}

const lastArgs = () => server.ports.commands.at(-1)?.args;
const ADD = ['client', 'add', 'gateway', '--application', 'vpn', '--address', '192.0.2.7'];

describe('countersign radius client', () => {
  it('adds one with its secret from a file, and shows it everywhere but the secret', async () => {
    const more = ['--address', '10.0.0.0/8,fd00::/8', '--first-factor', 'directory:corp,lab'];
    const reply = ['--reply', 'Class=staff', '--reply', 'sales:9/1=ip:pool=s'];
    const set = ['--set', 'waitSeconds=30', '--set', 'appendedCode=true'];
    const added = await countersign([...ADD, '--secret-file', 'secret', ...more, ...reply, ...set]);
    expect(added).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^added gateway \(revision \d+\)\n$/),
    });
    expect(lastArgs()).toEqual({
      client: {
        name: 'gateway',
        application: 'vpn',
        addresses: ['192.0.2.7', '10.0.0.0/8', 'fd00::/8'],
        firstFactor: { kind: 'directory', directories: ['corp', 'lab'] },
        secret: 'HUSH-HUSH-HUSH-HUSH',
        replies: [
          { group: null, attribute: 'Class', value: 'staff' },
          { group: 'sales', attribute: '9/1', value: 'ip:pool=s' },
        ],
        waitSeconds: 30,
        appendedCode: true,
      },
    });
    const list = await countersign(['client', 'list']);
    expect(list.stdout).toMatch(/gateway +enabled +vpn +192\.0\.2\.7 \+2 +directory +require/);
    const shown = await countersign(['client', 'show', 'GATEWAY']);
    expect(shown.stdout).toMatch(/^gateway: enabled\n/);
    expect(shown.stdout).toMatch(/waitSeconds +30\n/);
    expect(shown.stdout).toMatch(/sales +9\/1 +ip:pool=s\n/);
    const json = await countersign(['client', 'show', 'gateway', '--json']);
    expect(JSON.parse(json.stdout)).toMatchObject({ name: 'gateway', appendedCode: true });
    for (const { stdout } of [list, shown, json]) expect(stdout).not.toMatch(/HUSH|c2VhbGVk/);
  });

  it('warns of a short secret, which it reads from stdin too', async () => {
    const added = await countersign([...ADD, '--secret-file', '-'], 'HUSH\n');
    expect(added.code).toBe(0);
    expect(added.stderr).toMatch(/^countersign: a secret should have at least 16 characters/);
    expect(added.stderr).not.toContain('HUSH');
    expect(lastArgs()).toMatchObject({ client: { secret: 'HUSH' } });
  });

  it('changes what is named, and says where the secret has to come from', async () => {
    await countersign([...ADD, '--secret-file', 'secret']);
    const set = ['client', 'set', 'gateway'];
    await countersign([...set, 'firstFactor=radius:nps', 'enabled=no', '--no-replies']);
    expect(lastArgs()).toEqual({
      name: 'gateway',
      changes: { firstFactor: { kind: 'radius', target: 'nps' }, enabled: false, replies: [] },
    });
    const detail = 'give the secret once more: it would be shared with 192.0.2.9';
    server.ports.commandReply = { kind: 'refused', status: 400, code: 'secret_required', detail };
    const refused = await countersign([...set, 'addresses=192.0.2.9']);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain(
      `${detail} (secret_required): with --secret-file FILE, or - for stdin`,
    );
  });

  it('removes one', async () => {
    await countersign([...ADD, '--secret-file', 'secret']);
    expect((await countersign(['client', 'remove', 'gateway'])).code).toBe(0);
    expect((await countersign(['client', 'show', 'gateway'])).code).toBe(1);
  });

  it.each([
    [['client', 'add', 'x', '--application', 'vpn', '--secret-file', 'secret'], '--address'],
    [[...ADD, '--secret-file', 'secret', '--set', 'secret=HUSH'], '--secret-file'],
    [[...ADD, '--secret-file', 'secret', '--set', 'shoeSize=43'], 'no setting shoeSize'],
    [[...ADD, '--secret-file', 'secret', '--set', 'constructor=1'], 'no setting constructor'],
    [[...ADD, '--secret-file', 'secret', '--set', 'canChallenge=maybe'], 'true or false'],
    [
      [...ADD, '--secret-file', 'secret', '--address', '10.0.0.1,10.0.0.300'],
      '"10.0.0.300" is no address',
    ],
    [['client', 'set', 'x', 'addresses=10.0.0.0/33'], '"10.0.0.0/33" is no address'],
    [
      [...ADD, '--secret-file', 'secret', '--address', '10.0.0.1/8'],
      'nothing set behind the prefix',
    ],
    [[...ADD, '--secret-file', 'secret', '--set', 'application=mail'], '--set application'],
    [[...ADD, '--secret-file', 'secret', '--set', 'name=other'], '--set name'],
    [[...ADD, '--secret-file', 'blank'], 'blank holds no secret shared with gateway'],
    [['client', 'set', 'x', 'codeLength=9'], 'codeLength: 6, 7 or 8'],
    [[...ADD, '--secret-file', 'secret', '--first-factor', 'ldap'], 'the first factor'],
    [[...ADD, '--secret-file', 'secret', '--reply', 'Class'], '--reply Class'],
    [[...ADD, '--secret-file', 'nowhere'], 'cannot read nowhere'],
    [['client', 'set', 'x'], 'nothing to change'],
    [['client', 'set', 'x', 'waitSeconds=1', 'waitSeconds=2'], 'comes twice'],
    [['target', 'add', 'x', '--secret-file', 'secret'], '--host'],
    [['target', 'set', 'x', 'addresses=1'], 'no setting addresses'],
  ])('refuses %j before anything is sent', async (args, complaint) => {
    const refused = await countersign(args);
    expect(refused).toMatchObject({ code: 2, stdout: '' });
    expect(refused.stderr).toContain(complaint);
    expect(refused.stderr).not.toContain('HUSH');
    expect(server.ports.commands).toEqual([]);
  });

  it('escapes what a name could make a terminal do', async () => {
    await countersign([...ADD, '--secret-file', 'secret']);
    server.ports.radius.clients[0]!.name = 'a\u001b[2Jb';
    const listed = await countersign(['client', 'list']);
    expect(listed.stdout).not.toContain('\u001b');
    expect((await countersign(['client', 'list', '--json'])).stdout).not.toContain('\u001b');
  });
});

describe('countersign radius target', () => {
  it('adds, lists, shows, changes and removes one', async () => {
    const hosts = ['--host', 'nps1.test', '--host', '[2001:db8::7]:1645'];
    const added = await countersign(['target', 'add', 'nps', ...hosts, '--secret-file', 'secret']);
    expect(added).toMatchObject({ code: 0, stderr: '' });
    expect(lastArgs()).toEqual({
      target: {
        name: 'nps',
        servers: [
          { host: 'nps1.test', port: 1812 },
          { host: '2001:db8::7', port: 1645 },
        ],
        secret: 'HUSH-HUSH-HUSH-HUSH',
      },
    });
    const listed = await countersign(['target', 'list']);
    expect(listed.stdout).toMatch(/nps +nps1\.test:1812,\[2001:db8::7\]:1645 +require +12000 ms/);
    const shown = await countersign(['target', 'show', 'nps']);
    expect(shown.stdout).toMatch(/passAttributes +Class,Filter-Id/);
    await countersign(['target', 'set', 'nps', 'servers=nps2.test:1812', 'passAttributes=']);
    expect(lastArgs()).toEqual({
      name: 'nps',
      changes: { servers: [{ host: 'nps2.test', port: 1812 }], passAttributes: [] },
    });
    expect((await countersign(['target', 'remove', 'nps'])).code).toBe(0);
    for (const { stdout } of [added, listed, shown]) expect(stdout).not.toMatch(/HUSH|c2VhbGVk/);
  });
});

describe('what is typed of RADIUS', () => {
  it('help names every setting with what it takes and what it is by itself', async () => {
    const client = await countersign(['client', 'add', '--help']);
    expect(client.stdout).toMatch(/messageAuthenticator +require, observe or off +require\n/);
    expect(client.stdout).toMatch(/firstFactor +directory, .* or none +directory\n/);
    expect(client.stdout).not.toContain('default: []');
    const target = await countersign(['target', 'set', '--help']);
    expect(target.stdout).toMatch(
      /passAttributes +of .*\n +by default Class,Filter-Id,Session-Timeout,Idle-Timeout/,
    );
  });

  it('first factors and servers read back as they are shown', () => {
    for (const text of ['none', 'directory', 'directory:a,b', 'radius:nps: two']) {
      expect(showFirstFactor(readFirstFactor(text))).toBe(text);
    }
    for (const text of ['nps:1645', '192.0.2.7:1812', '[2001:db8::1]:1812']) {
      expect(showServer(readServer(text))).toBe(text);
    }
    expect(readServer('2001:db8::1')).toEqual({ host: '2001:db8::1', port: 1812 });
  });

  it('a reply without a group may have colons and equal signs in its value', () => {
    expect(readReply('Class=OU=a:b;')).toEqual({
      group: null,
      attribute: 'Class',
      value: 'OU=a:b;',
    });
    expect(readReply('a b:Class=x')).toEqual({ group: 'a b', attribute: 'Class', value: 'x' });
  });
});
