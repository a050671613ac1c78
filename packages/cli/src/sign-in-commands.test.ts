import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ENROLMENT_CODE, startApi } from '@countersign/api/testing';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

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

function countersign(args: string[], stdin?: string) {
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  return runCountersign(args, { directory, env, ...(stdin === undefined ? {} : { stdin }) });
}

/** What it printed; throws where it failed. */
async function said(args: string[], stdin?: string): Promise<string> {
  const run = await countersign(args, stdin);
  if (run.code !== 0 || run.stderr !== '') throw new Error(JSON.stringify(run));
  return run.stdout;
}

async function usage(args: string[]): Promise<string> {
  const run = await countersign(args);
  return run.code === 2 ? run.stderr : JSON.stringify(run);
}

function lastArgs() {
  return server.ports.commands.at(-1)?.args;
}

describe('countersign user', () => {
  it('sets method, modes and language, and shows how the user signs in', async () => {
    await said(['user', 'add', 'alice', '--method', 'text', '--mode', 'text=otp+pin']);
    expect(lastArgs()).toEqual({ username: 'alice', method: 'text', modes: { text: 'otp+pin' } });
    const set = ['user', 'set', 'alice', '--method', 'oath', '--language', 'nl'];
    await said([...set, '--mode', 'oath=code+pin', '--mode', 'text=']);
    expect(lastArgs()).toEqual({
      username: 'alice',
      changes: { method: 'oath', language: 'nl', modes: { oath: 'code+pin', text: null } },
    });
    await said(['user', 'set', 'alice', '--method', '']);
    expect(lastArgs()).toEqual({ username: 'alice', changes: { method: null } });
    expect(await usage(['user', 'set', 'alice', '--mode', 'pin'])).toContain('like oath=code+pin');
    expect(await said(['user', 'show', 'alice'])).toMatch(/signs in by +as usual, oath=code\+pin/);
  });

  it('exempts until a date or for days, and ends that', async () => {
    await said(['user', 'add', 'bob']);
    const exempt = ['user', 'exempt', 'bob'];
    expect(await said([...exempt, '--reason', 'broken arm', '--until', '2099-12-31'])).toMatch(
      /^bob is exempt until 2099-12-31 23:59:59.*\(revision \d+\)\n$/,
    );
    expect(lastArgs()).toEqual({
      username: 'bob',
      reason: 'broken arm',
      until: '2099-12-31T23:59:59.000Z',
    });
    await said([...exempt, '--reason', 'again', '--days', '2']);
    const inTwoDays = Date.now() + 2 * 86_400_000;
    expect(Math.abs(Date.parse(String(lastArgs()?.until)) - inTwoDays)).toBeLessThan(60_000);
    expect(await said(['user', 'show', 'bob'])).toMatch(/exempt +until .* by test: again/);
    expect(await said([...exempt, '--end'])).toContain('bob is no longer exempt');
    for (const wrong of [
      [],
      ['--reason', 'x'],
      ['--days', '3'],
      ['--reason', 'x', '--days', '3', '--until', '2099-12-31'],
      ['--reason', 'x', '--until', 'someday'],
    ]) {
      expect(await usage([...exempt, ...wrong])).toContain('--until');
    }
  });

  it('grants a bypass and takes it back', async () => {
    await said(['user', 'add', 'carol']);
    const bypass = ['user', 'bypass', 'carol'];
    expect(await said([...bypass, '--reason', 'lost phone', '--seconds', '60'])).toMatch(
      /^carol may come in once without a second step until /,
    );
    expect(lastArgs()).toEqual({ username: 'carol', reason: 'lost phone', seconds: 60 });
    expect(await said(['user', 'show', 'carol'])).toMatch(/bypass +until .* by test: lost phone/);
    expect(await said([...bypass, '--end'])).toContain('carol has no bypass');
    expect(await usage(bypass)).toContain('give --reason');
  });

  it('takes a PIN from stdin, never from the command line, and repeats it nowhere', async () => {
    await said(['user', 'add', 'dave']);
    const set = await said(['user', 'pin', 'dave'], '7391\n');
    expect(set).toMatch(/^set the PIN of dave, to be changed at its first use/);
    expect(set).not.toContain('7391');
    expect(lastArgs()).toEqual({ username: 'dave', pin: '7391', mustChange: true });
    await said(['user', 'pin', 'dave', '--keep'], '5280\n');
    expect(lastArgs()).toMatchObject({ mustChange: false });
    expect(await said(['user', 'show', 'dave'])).toMatch(/PIN +set /);
    expect(await said(['user', 'pin', 'dave', '--remove'])).toContain('dave has no PIN');
    expect(await usage(['user', 'pin', 'dave'])).toContain('PIN is missing on stdin');
    expect(await usage(['user', 'pin', 'dave', '7391'])).toContain('too many arguments');
  });

  it('prints recovery codes and an enrolment code once, and enrols with it', async () => {
    await said(['user', 'add', 'erin']);
    const codes = await said(['user', 'recovery-codes', 'erin', '--count', '2']);
    expect(codes).toMatch(/^made 2 recovery codes of erin .*\n\S{19}\n\S{19}\n$/);
    const opened = await said(['user', 'enrol', 'erin']);
    expect(opened).toMatch(/^erin may enrol until /);
    expect(opened).toContain(`\n${ENROLMENT_CODE}\n`);
    const shown = await said(['user', 'show', 'erin']);
    expect(shown).toMatch(/recovery codes +2 made/);
    expect(shown).toMatch(/may enrol +until .* by test/);
    expect(shown).not.toContain(ENROLMENT_CODE);
    const enrol = ['authenticator', 'enroll', 'erin', '--code', '-'];
    expect(await said(enrol, `${ENROLMENT_CODE}\n`)).toContain('otpauth://totp/');
    const refused = await countersign(['authenticator', 'enroll', 'erin', '--code', 'WRONG']);
    expect(refused).toMatchObject({ code: 1, stdout: '' });
    expect(refused.stderr).toContain('enrolment_refused');
  });

  it('reports fraud', async () => {
    await said(['user', 'add', 'frank']);
    expect(await said(['user', 'fraud', 'frank', '--reason', 'not me'])).toBe(
      'reported fraud on frank, who is blocked now\n',
    );
  });
});

describe('countersign authenticator enroll', () => {
  it('takes a phone by its number', async () => {
    await said(['user', 'add', 'grace']);
    const enroll = ['authenticator', 'enroll', 'grace', '--type', 'phone'];
    await said([...enroll, '--number', '+31612345678', '--extension', '12', '--use', 'backup']);
    expect(lastArgs()).toEqual({
      username: 'grace',
      type: 'phone',
      number: '+31612345678',
      extension: '12',
      use: 'backup',
    });
    expect(await said(['authenticator', 'list', 'grace'])).toMatch(/phone +- +\+31612345678/);
  });

  it('takes a token that codes of it activate and find again', async () => {
    await said(['user', 'add', 'heidi']);
    const enroll = ['authenticator', 'enroll', 'heidi', '--type', 'hotp', '--serial', 'AB-1'];
    const [, id = ''] = /authenticator (\S+) of/.exec(await said(enroll)) ?? [];
    const activate = ['authenticator', 'activate', 'heidi', id];
    expect(await said(activate, '123456\n')).toContain(`activated authenticator ${id} of heidi`);
    expect(lastArgs()).toEqual({ username: 'heidi', id, code: '123456' });
    const wrong = await countersign([...activate, '000000']);
    expect(wrong).toMatchObject({ code: 1, stderr: expect.stringContaining('wrong_code') });
    const find = ['authenticator', 'resynchronise', 'heidi', id];
    expect(await said([...find, '123456', '654321'])).toContain('resynchronised');
    expect(lastArgs()).toEqual({ username: 'heidi', id, codes: ['123456', '654321'] });
    await said(find, '123456 654321\n');
    expect(lastArgs()).toMatchObject({ codes: ['123456', '654321'] });
  });
});

describe('countersign apikey', () => {
  it('adds a key with its rights and prints it once', async () => {
    const add = ['apikey', 'add', 'vpn', '--scope', 'verify', '--scope', 'reasons:read'];
    const added = await said([...add, '--network', '192.0.2.0/24', '--application', 'vpn']);
    expect(added).toMatch(/^added API key \S+ for vpn \(revision \d+\)\ncs_shown-once\n$/);
    expect(lastArgs()).toEqual({
      name: 'vpn',
      scopes: ['verify', 'reasons:read'],
      applications: ['vpn'],
      networks: ['192.0.2.0/24'],
    });
    const listed = await said(['key', 'list']);
    expect(listed).toMatch(/vpn +valid +verify reasons:read +vpn +192\.0\.2\.0\/24/);
    expect(listed).not.toContain('cs_');
    expect(await usage(['apikey', 'add', 'vpn'])).toContain('--scope');
  });
});
