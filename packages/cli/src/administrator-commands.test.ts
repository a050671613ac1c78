import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { OLIVE, startApi } from '@countersign/api/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;
let file: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
  file = join(directory, 'config', 'countersign', 'session.json');
});
beforeEach(() => {
  rmSync(file, { force: true });
  server.ports.commandReply = { kind: 'done', revision: 7, applied: true, result: {} };
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

function countersign(
  args: string[],
  options: { env?: Record<string, string>; stdin?: string } = {},
) {
  const env = { XDG_CONFIG_HOME: join(directory, 'config'), ...options.env };
  return runCountersign(args, { directory, env, ...(options.stdin && { stdin: options.stdin }) });
}

const logIn = (stdin = 'pass word\n123456\n') =>
  countersign(['login', 'olive', '--server', server.url], { stdin });

async function said(args: string[], stdin?: string): Promise<string> {
  const run = await countersign(args, stdin === undefined ? {} : { stdin });
  if (run.code !== 0 || run.stderr !== '') throw new Error(JSON.stringify(run));
  return run.stdout;
}

describe('countersign login', () => {
  it('keeps the session in a private file and shows it to nobody', async () => {
    const run = await logIn();
    expect(run.stdout).toMatch(/^signed in as olive, until /);
    expect(run.stdout + run.stderr).not.toContain('css_');
    expect(server.ports.sessions.typed.at(-1)).toMatchObject({
      username: 'olive',
      password: 'pass word',
      code: '123456',
    });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      servers: [server.url],
      token: 'css_owner',
    });
    expect(await said(['whoami'])).toMatch(/^owner, signed in until .*\nmay: .*users:write/);
  });

  it('goes on with the session that it is given anew while it is used', async () => {
    await logIn();
    server.ports.sessions.renewed = 'css_auditor';
    try {
      expect(await said(['whoami'])).toMatch(/^owner,/);
    } finally {
      server.ports.sessions.renewed = null;
    }
    expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({
      servers: [server.url],
      token: 'css_auditor',
    });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(await said(['whoami'])).toMatch(/^auditor,/);
  });

  it('that is denied keeps nothing', async () => {
    const run = await logIn('pass word\n000000\n');
    expect(run.code).toBe(1);
    expect(run.stderr).toBe('countersign: The sign-in was denied. (sign_in_denied)\n');
    expect(existsSync(file)).toBe(false);
  });

  it('is for the commands after it, at the servers it came from alone', async () => {
    await logIn();
    await said(['user', 'add', 'alice', '--server', server.url]);
    expect(server.ports.commands.at(-1)?.caller.proof).toEqual({
      kind: 'session',
      token: 'css_owner',
    });
    const elsewhere = await countersign(['status', '--server', 'http://127.0.0.1:9']);
    expect(elsewhere.code).toBe(2);
    expect(elsewhere.stderr).toContain('an API key is needed');
    const key = await countersign(['whoami'], {
      env: { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' },
    });
    expect(key.stdout).toMatch(/^all\n/);
  });

  it('carries a reason', async () => {
    await logIn();
    await said(['admin', 'set', 'paul', '--unlock', '--why', 'sölved ☎']);
    expect(server.ports.commands.at(-1)).toMatchObject({
      name: 'administrator.set',
      args: { username: 'paul', changes: { unlock: true } },
      caller: { proof: { reason: 'sölved ☎' } },
    });
  });

  it('whose file others may read, or that is over, is not used', async () => {
    await logIn();
    chmodSync(file, 0o640);
    expect((await countersign(['whoami'])).stderr).toContain('others may read');
    const over = { servers: [server.url], token: 'css_owner', username: 'olive' };
    rmSync(file);
    writeFileSync(file, JSON.stringify({ ...over, expiresAt: '2026-01-01T00:00:00Z' }), {
      mode: 0o600,
    });
    expect((await countersign(['whoami'])).stderr).toContain('no server to ask');
  });

  it('is stepped up, and ended', async () => {
    expect((await countersign(['step-up'], { stdin: '123456\n' })).code).toBe(2);
    await logIn();
    expect(await said(['step-up'], '123456\n')).toMatch(/^the second factor is fresh/);
    expect(server.ports.sessions.typed.at(-1)).toMatchObject({ token: 'css_owner' });
    const fact = {
      id: OLIVE.id,
      kind: 'session' as const,
      subject: 'x',
      reason: 'x',
      by: 'x',
      node: 'x',
      at: '2026-01-01T00:00:00Z',
      expiresAt: null,
    };
    server.ports.commandReply = { kind: 'stopped', fact };
    expect(await said(['logout'])).toBe('signed out\n');
    expect(server.ports.commands.at(-1)?.name).toBe('session.revoke');
    expect(existsSync(file)).toBe(false);
    expect(await said(['logout'])).toBe('nobody was signed in\n');
  });
});

describe('countersign admin', () => {
  it('adds somebody, and prints the invitation', async () => {
    await logIn();
    server.ports.commandReply = {
      kind: 'done',
      revision: 7,
      applied: true,
      result: { id: 'x', code: 'csi_new', expiresAt: '2026-03-02T12:00:00.000Z' },
    };
    const out = await said(['admin', 'add', 'paul', '--role', 'helpdesk', '--role', 'auditor']);
    expect(out).toMatch(/^paul is invited until 2026-03-02 .*\ncsi_new\n$/);
    expect(server.ports.commands.at(-1)?.args).toEqual({
      username: 'paul',
      roles: ['helpdesk', 'auditor'],
    });
    expect(await said(['admin', 'invite', 'paul'])).toContain('csi_new');
  });

  it('lists them', async () => {
    server.ports.administrators = [OLIVE];
    await logIn();
    expect(await said(['admin', 'list'])).toMatch(/olive +owner +invited, invited until/);
  });

  it('says what is missing', async () => {
    await logIn();
    expect((await countersign(['admin', 'set', 'paul'])).stderr).toContain('nothing to change');
    expect((await countersign(['admin', 'add', 'paul'])).code).toBe(2);
    const recover = await countersign(['admin', 'recover', 'paul']);
    expect(recover.code).toBe(2);
    expect(recover.stderr).toContain('administration socket');
  });
});

describe('countersign admin accept', () => {
  const accept = (stdin: string) =>
    countersign(['admin', 'accept', '--server', server.url], { stdin });

  it('shows an authenticator to add, and sends what was typed', async () => {
    const run = await accept('csi_good\ncorrect horse battery\n123456\n');
    expect(run.stderr).toMatch(/invitation of olive/);
    expect(run.stderr).toMatch(/otpauth:\/\/totp\/Countersign:olive\?secret=([A-Z2-7]{32})&/);
    expect(run.stdout).toMatch(/^olive is set up: countersign login olive\n/);
    const { args } = server.ports.commands.at(-1)!;
    const [, secret] = /secret=([A-Z2-7]{32})/.exec(run.stderr)!;
    expect(args).toEqual({ password: 'correct horse battery', secret, code: '123456' });
  });

  it('refuses a weak password and a wrong invitation before anything is changed', async () => {
    const before = server.ports.commands.length;
    expect((await accept('csi_good\nolive\n123456\n')).stderr).toContain('at least 12');
    expect((await accept('csi_bad\n')).stderr).toContain('unknown, used or over');
    expect(server.ports.commands).toHaveLength(before);
  });
});

describe('countersign user export and erase', () => {
  it('writes what is held to a new file of its owner', async () => {
    await logIn();
    server.ports.commandReply = null;
    await said(['user', 'add', 'erin']);
    const output = join(directory, 'erin.json');
    expect(await said(['user', 'export', 'erin', '--output', output])).toContain('erin');
    expect(statSync(output).mode & 0o777).toBe(0o600);
    expect(JSON.parse(readFileSync(output, 'utf8'))).toMatchObject({ user: { username: 'erin' } });
    const again = await countersign(['user', 'export', 'erin', '--output', output]);
    expect(again.stderr).toContain('it exists already');
    const nobody = join(directory, 'nobody.json');
    expect((await countersign(['user', 'export', 'nobody', '--output', nobody])).code).toBe(1);
    expect(existsSync(nobody)).toBe(false);
  });

  it('erases only what somebody confirms', async () => {
    await logIn();
    const result = { id: 'x', pseudonym: 'erased-0123456789ab' };
    server.ports.commandReply = { kind: 'done', revision: 9, applied: true, result };
    const before = server.ports.commands.length;
    expect((await countersign(['user', 'erase', 'erin'])).stderr).toContain('--yes');
    expect(server.ports.commands).toHaveLength(before);
    expect(await said(['user', 'erase', 'erin', '--yes'])).toContain(
      'erased-0123456789ab in events',
    );
  });
});
