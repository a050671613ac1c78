import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buildApi } from '@countersign/api';
import { healthyCluster, MemoryPorts, silentLogger, startApi } from '@countersign/api/testing';
import { takeFreePorts } from '@countersign/testing';
import { isSafeText } from '@countersign/verification';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCountersign, type Run } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  server.ports.commandReply = null;
  server.ports.outcome = null;
  server.ports.cluster = healthyCluster();
});

/** By default with the test server and its key in the environment. */
function countersign(
  args: string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
): Promise<Run> {
  const env = options.env ?? { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  return runCountersign(args, { directory, ...options, env });
}

async function json(args: string[]): Promise<Record<string, unknown>> {
  const { stdout } = await countersign([...args, '--json']);
  return JSON.parse(stdout) as Record<string, unknown>;
}

describe('countersign', () => {
  it('manages a user from adding to removing', async () => {
    const added = await countersign([
      'user',
      'add',
      'alice',
      '--display-name',
      'Alice A.',
      '--email',
      'a@example.org',
    ]);
    expect(added).toEqual({
      code: 0,
      stderr: '',
      stdout: expect.stringMatching(/^added alice \(revision \d+\)\n$/),
    });

    const twice = await countersign(['user', 'add', 'alice']);
    expect(twice).toEqual({
      code: 1,
      stdout: '',
      stderr: 'countersign: There is a user of that name. (username_taken)\n',
    });

    expect((await countersign(['user', 'set', 'alice', '--disable', '--email', ''])).code).toBe(0);
    expect((await countersign(['user', 'block', 'alice', '--reason', 'lost phone'])).code).toBe(0);
    expect(await json(['user', 'show', 'alice'])).toMatchObject({
      enabled: false,
      email: null,
      blocked: { reason: 'lost phone' },
    });
    const shown = await countersign(['user', 'show', 'alice']);
    expect(shown.stdout).toMatch(/blocked +until .* by test: lost phone/);
    expect((await countersign(['user', 'unblock', 'alice'])).code).toBe(0);
    expect((await countersign(['user', 'list'])).stdout).toMatch(/alice +Alice A\. +disabled +0/);
    expect((await countersign(['user', 'remove', 'alice'])).code).toBe(0);
    expect(await json(['user', 'list'])).toEqual({ users: [], next: null });
  });

  it('says that a block stands on this node only while there is no master', async () => {
    const fact = {
      id: '0190d6a2-0000-7000-8000-000000000001',
      kind: 'user' as const,
      subject: '0190d6a2-0000-7000-8000-000000000002',
      reason: 'lost',
      by: 'all',
      node: 'node-1',
      at: '2026-05-01T12:00:00.000Z',
      expiresAt: '2026-07-01T12:00:00.000Z',
    };
    server.ports.commandReply = { kind: 'stopped', fact };
    const blocked = await countersign(['user', 'block', 'alice', '--reason', 'lost']);
    expect(blocked).toEqual({
      code: 0,
      stderr: '',
      stdout: 'blocked alice on this node at once; the cluster follows when its master is back\n',
    });
    expect(await json(['user', 'block', 'alice', '--reason', 'lost'])).toMatchObject({
      asStopFact: true,
      stopFact: { id: fact.id },
    });
  });

  it('lists keys and revokes them, the last full one only with --yes', async () => {
    const id = '0190d6a2-0000-7000-8000-00000000000a';
    const document = {
      id,
      name: 'vpn',
      secretHash: 'ab'.repeat(32),
      scopes: ['verify' as const],
      applications: null,
      networks: null,
      expiresAt: null,
      createdAt: '2026-05-01T12:00:00.000Z',
    };
    server.ports.apiKeys = [{ document, revision: 5, isRevoked: false }];
    const listed = await countersign(['key', 'list']);
    expect(listed.stdout).toMatch(/0000a +vpn +valid +verify +all +all/);
    expect(listed.stdout).not.toContain('abab');
    server.ports.commandReply = {
      kind: 'refused',
      status: 409,
      code: 'last_full_api_key',
      detail: 'The last one.',
    };
    const refused = await countersign(['key', 'revoke', id]);
    expect(refused).toMatchObject({
      code: 1,
      stderr: 'countersign: The last one. (last_full_api_key)\n',
    });
    expect(server.ports.commands.at(-1)?.args).toEqual({ id, evenLast: false });
    server.ports.commandReply = null;
    const revoked = await countersign(['key', 'revoke', id, '--yes']);
    expect(revoked.stdout).toMatch(/^revoked .* \(revision \d+\)\n$/);
    expect(server.ports.commands.at(-1)?.args).toEqual({ id, evenLast: true });
  });

  it('enrols an authenticator with a secret from stdin and prints its address once', async () => {
    await countersign(['user', 'add', 'erin']);
    const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
    const enrolled = await countersign(
      ['authenticator', 'enroll', 'erin', '--type', 'totp', '--secret-stdin'],
      { stdin: `${secret}\n` },
    );
    expect(enrolled.code).toBe(0);
    expect(enrolled.stdout).toContain(`otpauth://totp/Countersign:erin?secret=${secret}`);

    const listed = await countersign(['authenticator', 'list', 'erin']);
    expect(listed.stdout).toMatch(/totp +- +6 digits every 30 s, SHA1/);
    expect(listed.stdout).not.toContain(secret);
    const { authenticators } = await json(['authenticator', 'list', 'erin']);
    const [first] = authenticators as { id: string }[];
    const removed = await countersign(['authenticator', 'remove', 'erin', String(first?.id)]);
    expect(removed.code).toBe(0);

    const none = await countersign(['authenticator', 'enroll', 'erin', '--secret-stdin']);
    expect(none).toMatchObject({ code: 2, stderr: 'countersign: secret is missing on stdin\n' });
  });

  it('exits 0 on an approved code and 1 on a denied one', async () => {
    await countersign(['user', 'add', 'vera']);
    const approved = await countersign(['verify', 'vera', '123456']);
    expect(approved).toEqual({ code: 0, stdout: 'approved\n', stderr: '' });
    const replayed = await countersign(['verify', 'vera'], { stdin: '123456\n' });
    expect(replayed).toEqual({ code: 1, stdout: 'denied: replayed\n', stderr: '' });
    const { code, stdout } = await countersign(['--json', 'verify', 'vera', '000000']);
    expect(code).toBe(1);
    expect(JSON.parse(stdout)).toMatchObject({ status: 'denied', reason: 'wrong_code' });
  });

  it('shows the status as text and as JSON', async () => {
    const text = await countersign(['status']);
    expect(text).toMatchObject({ code: 0, stderr: '' });
    expect(text.stdout).toMatch(/^OK: [^]*nothing to do\n$/);
    expect(await json(['status'])).toMatchObject({ master: 'node-1', quorum: true });
  });

  it('promotes a node by name, the answering one by default, and demotes', async () => {
    const named = await countersign(['promote', 'node-3']);
    expect(named.stdout).toMatch(/^node-3 is the master \(revision \d+\)\n$/);
    const own = await countersign(['promote']);
    expect(own.stdout).toMatch(/^node-1 is the master/);
    expect((await countersign(['demote'])).stdout).toMatch(/^node-2 is the master/);
    const nobody = await countersign(['promote', 'node-9']);
    expect(nobody).toMatchObject({ code: 1, stderr: expect.stringContaining('node_not_found') });
  });

  it('says in one line that there is no master and how to promote', async () => {
    const since = '2026-03-01T03:12:45Z';
    server.ports.commandReply = { kind: 'master_offline', lastMaster: 'node-1', since };
    const { code, stderr } = await countersign(['user', 'add', 'never']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^countersign: No master.*node-1.*countersign promote.*\n$/);
  });

  it('reads and sets settings', async () => {
    const set = await countersign(['settings', 'set', 'lockout.failures', '7']);
    expect(set.stdout).toMatch(/^lockout\.failures is 7 \(revision/);
    expect((await countersign(['settings', 'get', 'lockout.failures'])).stdout).toBe('7\n');
    expect((await countersign(['settings', 'get'])).stdout).toMatch(/failover\.mode +automatic/);
    const bad = await countersign(['settings', 'set', 'lockout.failures', 'many']);
    expect(bad).toMatchObject({ code: 1, stderr: expect.stringContaining('invalid_request') });
    const listed = await countersign(['settings', 'list']);
    expect(listed.stdout).toMatch(/^Lockout after wrong answers:\n {2}lockout\.failures +7\n/m);
    expect(listed.stdout).toMatch(/^ {2}failover\.mode +automatic +default$/m);
    expect((await countersign(['settings', 'reset', 'lockout.failures'])).code).toBe(0);
    expect((await countersign(['settings', 'get', 'lockout.failures'])).stdout).toBe('5\n');
    const unknown = await countersign(['settings', 'set', 'lockout.nothing', '7']);
    expect(unknown).toMatchObject({ code: 2, stderr: expect.stringContaining('lockout.failures') });
  });

  it('says what a setting is and may be, without a server', async () => {
    const { stdout } = await countersign(['settings', 'describe', 'lockout.resetMinutes'], {
      env: {},
    });
    expect(stdout).toBe(
      'lockout.resetMinutes: Failures this old no longer count.\n' +
        'value       a whole number from 1 to 1440 (minutes)\n' +
        'default     10\n' +
        'own value   nobody has one\n',
    );
    const all = await countersign(['settings', 'describe', '--json'], { env: {} });
    expect(JSON.parse(all.stdout)).toMatchObject({ 'mail.password': { secret: true } });
  });

  it('takes secrets among the settings from stdin or a file, never from its arguments (rule 31)', async () => {
    const argued = await countersign(['settings', 'set', 'mail.password', 'HUSH']);
    expect(argued).toMatchObject({ code: 2, stderr: expect.stringContaining('is a secret') });
    expect(argued.stderr).not.toContain('HUSH');
    const nothing = await countersign(['settings', 'set', 'mail.password']);
    expect(nothing).toMatchObject({ code: 2, stderr: expect.stringContaining('missing') });

    const piped = await countersign(['settings', 'set', 'mail.password'], { stdin: 'HUSH 1\n' });
    expect(piped.stdout).toMatch(/^mail\.password is set \(revision/);
    expect(server.ports.commands.at(-1)?.args).toEqual({ changes: { 'mail.password': 'HUSH 1' } });
    expect((await countersign(['settings', 'get', 'mail.password'])).stdout).toBe('set\n');

    const moving = ['settings', 'set', 'mail.host', 'mail.example.org'];
    const refused = await countersign(moving);
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('secret_required') });
    const file = join(directory, 'password');
    writeFileSync(file, 'HUSH 2\n', { mode: 0o600 });
    const moved = await countersign([...moving, '--and', `mail.password=@${file}`]);
    expect(moved.stdout).toMatch(/^mail\.host is mail\.example\.org, mail\.password is set \(rev/);
    expect(server.ports.commands.at(-1)?.args).toEqual({
      changes: { 'mail.host': 'mail.example.org', 'mail.password': 'HUSH 2' },
    });
    const missing = await countersign(['settings', 'set', 'mail.password', '@nowhere']);
    expect(missing).toMatchObject({ code: 2, stderr: expect.stringContaining('nowhere') });
  });

  it('manages applications and their own settings', async () => {
    const added = await countersign([
      ...['application', 'add', 'VPN', '--user-match', 'pass'],
      ...['--set', 'methods.default=text', '--set', 'trustedIps.ranges=192.0.2.1,10.0.0.0/8'],
    ]);
    expect(added.stdout).toMatch(/^added VPN \(revision/);
    const list = await countersign(['application', 'list']);
    expect(list.stdout).toMatch(
      /^VPN +enabled +pass +methods\.default=text trustedIps\.ranges=192\.0\.2\.1, 10\.0\.0\.0\/8$/m,
    );
    const own = ['settings', 'set', 'caching.minutes', '5', '--application', 'vpn'];
    expect((await countersign(own)).stdout).toMatch(/^caching\.minutes is 5 at vpn \(revision/);
    const inForce = await countersign(['settings', 'list', '--application', 'vpn']);
    expect(inForce.stdout).toMatch(/^ {2}methods\.default +text +of vpn$/m);
    expect(inForce.stdout).toMatch(/^ {2}methods\.oathMode +code +default$/m);
    expect(inForce.stdout).not.toContain('lockout.failures');

    await countersign(['settings', 'reset', 'caching.minutes', '--application', 'vpn']);
    await countersign(['application', 'set', 'vpn', '--disable', '--reset', 'methods.default']);
    expect(await json(['application', 'show', 'vpn'])).toMatchObject({
      name: 'VPN',
      enabled: false,
      settings: { 'trustedIps.ranges': ['192.0.2.1', '10.0.0.0/8'] },
    });
    expect((await countersign(['application', 'show', 'vpn'])).stdout).toMatch(
      /^VPN: disabled, passes whoever is no user\nTrusted addresses:\n {2}trustedIps\.ranges +192/,
    );
    const get = ['settings', 'get', 'methods.default', '--application', 'VPN'];
    expect((await countersign(get)).stdout).toBe('oath\n');
    const wrong = await countersign(['application', 'set', 'vpn', '--set', 'lockout.failures=1']);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('no value of their') });
    expect((await countersign(['application', 'set', 'vpn'])).code).toBe(2);
    expect((await countersign(['application', 'remove', 'VPN'])).code).toBe(0);
    expect((await countersign(['application', 'show', 'VPN'])).code).toBe(1);
  });

  it('lists events and lets nothing in them reach the terminal (rule 28)', async () => {
    const event = {
      id: '0190d6a2-0000-7000-8000-000000000001',
      at: new Date().toISOString(),
      type: 'verification',
      node: 'node-2',
      user: 'eve\u001b[2J\u202e',
      actor: null,
      application: 'vpn',
      clientAddress: '192.0.2.7',
      result: 'denied',
      reason: 'wrong_code',
      degraded: true,
      durationMs: 11.6,
      details: {},
    };
    server.ports.events.push(event);
    const { stdout } = await countersign(['events', '--since', '15m']);
    expect(stdout).toMatch(
      /verification +eve\\u\{1b\}\[2J\\u\{202e\} +denied \(wrong_code\) degraded +- +vpn +192\.0\.2\.7 +node-2 +12/,
    );
    const asJson = await countersign(['events', '--json', '--limit', '1']);
    expect(isSafeText(asJson.stdout.replaceAll('\n', ''))).toBe(true);
    expect(JSON.parse(asJson.stdout)).toEqual({ events: [event] });
  });

  it.each([
    [['nonsense']],
    [['user', 'block', 'alice']],
    [['events', '--limit', 'all']],
    [['authenticator', 'enroll', 'x', '--type', 'sms']],
    [['user', 'set', 'alice']],
    [[]],
  ])('exits 2 on wrong usage: %s', async (args) => {
    expect((await countersign(args)).code).toBe(2);
  });

  it('prints help and exits 0', async () => {
    const help = await countersign(['status', '--help']);
    expect(help.code).toBe(0);
    expect(help.stdout).toContain('--api-key-file');
  });
});

describe('the server to ask', () => {
  it('is the first of several that answers', async () => {
    const refused = `http://127.0.0.1:${await freePort()}`;
    const env = { COUNTERSIGN_SERVER: `${refused},${server.url}`, COUNTERSIGN_API_KEY: 'all' };
    expect((await countersign(['status'], { env })).code).toBe(0);
    expect((await countersign(['user', 'add', 'second'], { env })).code).toBe(0);
  });

  it('is passed over where it takes the connection and says nothing', async () => {
    const silent = createServer();
    await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
    const { port } = silent.address() as AddressInfo;
    const servers = `http://127.0.0.1:${port},${server.url}`;
    const env = { COUNTERSIGN_SERVER: servers, COUNTERSIGN_API_KEY: 'all' };
    expect((await countersign(['status'], { env })).code).toBe(0);
    silent.close();
  });

  it('is told by name where none answers', async () => {
    const url = `http://127.0.0.1:${await freePort()}`;
    const env = { COUNTERSIGN_SERVER: url, COUNTERSIGN_API_KEY: 'all' };
    const { code, stderr } = await countersign(['status'], { env });
    expect(code).toBe(1);
    expect(stderr).toBe(`countersign: no answer from ${url} (nothing listens there)\n`);
  });

  it("may be the local node's socket, without a key", async () => {
    const socketPath = join(directory, 'node.sock');
    const local = buildApi(new MemoryPorts(), { logger: silentLogger(), local: true });
    await local.listen({ path: socketPath });
    const env = { COUNTERSIGN_SOCKET: socketPath };
    expect((await countersign(['status'], { env })).stdout).toMatch(/^OK/);
    await local.close();
  });

  it('gets the key from the option file, and says so when it is wrong', async () => {
    const file = join(directory, 'key');
    writeFileSync(file, 'all\n');
    const args = ['status', '--server', server.url, '--api-key-file', file];
    expect((await countersign(args, { env: {} })).code).toBe(0);
    writeFileSync(file, 'wrong\n');
    const refused = await countersign(args, { env: {} });
    expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('unauthorized') });
  });
});

/** A port nobody listens on. */
async function freePort(): Promise<number> {
  const [port = 0] = await takeFreePorts(1);
  return port;
}

describe('countersign user import', () => {
  /** Without how far it is, which it tells every 5 s. */
  const withoutProgress = ({ stderr, ...run }: Run): Run => {
    return { ...run, stderr: stderr.replaceAll(/^\d+ users, \d+\/s\n/gm, '') };
  };

  it('adds the users of a file, says which lines failed, and can be run again', async () => {
    const file = join(directory, 'people.csv');
    const rows = Array.from({ length: 1200 }, (_, i) => `imported-${i},Person ${i}`);
    writeFileSync(file, ['username,displayName', ...rows, 'bad\u0007name,'].join('\n'));
    const tried = await countersign(['user', 'import', file, '--dry-run']);
    expect(tried).toMatchObject({
      code: 1,
      stdout: '1200 users would be sent, 1 lines cannot be (nothing was sent)\n',
    });
    expect((await json(['user', 'list', '--search', 'imported'])).users).toEqual([]);

    const first = withoutProgress(await countersign(['user', 'import', file]));
    expect(first).toMatchObject({ code: 1, stdout: '1200 added, 0 existed already, 1 failed\n' });
    expect(first.stderr).toMatch(/^line 1202: .*\n$/);
    writeFileSync(file, ['username,displayName', ...rows, 'late,'].join('\n'));
    const again = withoutProgress(await countersign(['user', 'import', file]));
    expect(again).toEqual({
      code: 0,
      stdout: '1 added, 1200 existed already, 0 failed\n',
      stderr: '',
    });
  });

  it('reads stdin and prints what became of each user as JSON, with the secrets made for them', async () => {
    const stdin =
      '{"username":"stdin-1","authenticators":[{"type":"totp"}]}\n{"username":"stdin-2"}';
    const refused = await countersign(['user', 'import', '-'], { stdin });
    expect(refused).toMatchObject({ code: 2, stderr: expect.stringMatching(/--format/) });
    const { code, stdout } = await countersign(
      ['--json', 'user', 'import', '-', '--format', 'ndjson'],
      { stdin },
    );
    const lines = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as object);
    expect(code).toBe(0);
    expect(lines).toEqual([
      expect.objectContaining({ username: 'stdin-1', status: 201, id: expect.any(String) }),
      expect.objectContaining({ username: 'stdin-2', status: 201 }),
    ]);
  });

  it('says in one line why nothing could be imported', async () => {
    const missing = await countersign(['user', 'import', 'nowhere.csv']);
    expect(missing).toEqual({
      code: 1,
      stdout: '',
      stderr: 'countersign: cannot read nowhere.csv (ENOENT)\n',
    });
    server.ports.commandReply = {
      kind: 'refused',
      status: 403,
      code: 'forbidden',
      detail: 'this needs the scope users:write',
    };
    const options = { stdin: 'username\nalice' };
    const forbidden = await countersign(['user', 'import', '-', '--format', 'csv'], options);
    expect(forbidden).toMatchObject({ code: 1, stderr: expect.stringMatching(/forbidden/) });
  });
});
