import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildApi, type RadiusSeen, type RadiusTestReport } from '@countersign/api';
import { MemoryPorts, MemoryRadius, silentLogger, startApi } from '@countersign/api/testing';
import { takeFreePorts } from '@countersign/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { runCountersign, type Run } from './testing/run-countersign.ts';

const MAIN = fileURLToPath(new URL('main.ts', import.meta.url));

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-radius-'));
  writeFileSync(join(directory, 'password'), ' HUSH spaces \nmore\n');
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  Object.assign(server.ports.radius, new MemoryRadius());
  server.ports.radiusFront.tests.length = 0;
  const place = { addresses: ['10.1.0.0/16'], secret: 'HUSH-HUSH-HUSH-HUSH' };
  const client = { name: 'gateway', application: 'vpn', ...place };
  server.ports.radius.execute('radius-client.add', { client });
});

const env = (url = server.url) => ({ COUNTERSIGN_SERVER: url, COUNTERSIGN_API_KEY: 'all' });

function countersign(args: string[], stdin = ''): Promise<Run> {
  return runCountersign(['radius', ...args], { directory, env: env(), stdin });
}

const lastTest = () => server.ports.radiusFront.tests.at(-1);
const step = (
  name: RadiusTestReport['steps'][number]['step'],
  ok: boolean,
  text: string,
  tookMs: number | null = null,
) => ({ step: name, ok, text, tookMs });

describe('countersign radius test', () => {
  it('says step by step what happened, with the password from a file as it stands there', async () => {
    server.ports.radiusFront.reports.push({
      steps: [
        step('client', true, 'from 10.1.0.0 it is gateway'),
        step('first factor', true, 'right by the directory people', 11.6),
        step('second step', false, 'not passed: replayed'),
        step('verdict', false, 'denied: replayed', 20),
        step('reply', true, 'Access-Reject, signed as it should be', 251),
      ],
      outcome: 'reject',
      reason: 'replayed',
      attributes: [{ name: 'Reply-Message', value: 'Sign-in denied.\u001b[2J' }],
      tookMs: 260,
    });
    const more = ['--code', '123456', '--from', '10.1.2.3', '--station', 'laptop'];
    const tested = await countersign([
      'test',
      'gateway',
      'alice',
      '--password-file',
      'password',
      ...more,
    ]);
    expect(tested).toEqual({
      code: 1,
      stderr: '',
      stdout: [
        'at node-1, in 260 ms:',
        '  ok  client        from 10.1.0.0 it is gateway',
        '  ok  first factor  right by the directory people (12 ms)',
        '  NO  second step   not passed: replayed',
        '  NO  verdict       denied: replayed (20 ms)',
        '  ok  reply         Access-Reject, signed as it should be (251 ms)',
        '                    Reply-Message = Sign-in denied.\\u{1b}[2J',
        '',
      ].join('\n'),
    });
    expect(lastTest()).toMatchObject({
      username: 'alice',
      password: ' HUSH spaces ',
      code: '123456',
      from: '10.1.2.3',
      station: 'laptop',
    });
  });

  it('answers the question with the next line, and is accepted then', async () => {
    const question = { text: 'Enter the code from your authenticator.', state: 'c3RhdGU=' };
    const asked = {
      outcome: 'challenge',
      question,
      steps: [step('reply', true, 'Access-Challenge')],
    };
    server.ports.radiusFront.reports.push({ ...asked, outcome: 'challenge' });
    const tested = await countersign(['test', 'gateway', 'alice'], 'HUSH\n654321\n');
    expect(tested).toMatchObject({ code: 0, stderr: '' });
    expect(tested.stdout).toContain('\nEnter the code from your authenticator.\n');
    const [first, second] = server.ports.radiusFront.tests;
    expect(first).toMatchObject({ password: 'HUSH', code: null, answer: null });
    expect(second).toMatchObject({
      id: first!.id,
      password: null,
      answer: { id: first!.id, state: 'c3RhdGU=', code: '654321' },
    });
    server.ports.radiusFront.reports.push({ ...asked, outcome: 'challenge' });
    const json = await countersign(['test', 'gateway', 'alice', '--json'], 'HUSH\n654321\n');
    expect(JSON.parse(json.stdout)).toMatchObject({
      outcome: 'accept',
      steps: [{ step: 'reply', text: 'Access-Challenge' }],
    });
    expect(`${tested.stdout}${json.stdout}`).not.toContain('HUSH');
  });

  it('leaves a question that nobody answers, and no password is asked for a client that sends none', async () => {
    const question = { text: 'Type the code.', state: 'c3RhdGU=' };
    server.ports.radiusFront.reports.push({ outcome: 'challenge', question });
    const open = await countersign(['test', 'gateway', 'alice'], 'HUSH\n');
    expect(open).toMatchObject({ code: 1, stderr: '' });
    expect(server.ports.radiusFront.tests).toHaveLength(1);
    server.ports.radius.clients[0]!.firstFactor = { kind: 'none' };
    expect((await countersign(['test', 'gateway', 'alice', '--code', '123456'])).code).toBe(0);
    expect(lastTest()).toMatchObject({ password: null, code: '123456' });
  });

  it('asks the node that is named, at its own address', async () => {
    const other = await startApi();
    try {
      Object.assign(other.ports.radius, server.ports.radius);
      const [first, second] = server.ports.cluster.nodes;
      first!.url = server.url;
      second!.url = `${other.url}/`;
      const at = (node: string) =>
        countersign(['test', 'gateway', 'alice', '--node', node], 'HUSH\n');
      expect((await at(second!.name)).code).toBe(0);
      expect(other.ports.radiusFront.tests).toHaveLength(1);
      expect(server.ports.radiusFront.tests).toEqual([]);
      const nowhere = await at('node-9');
      expect(nowhere).toMatchObject({ code: 1, stdout: '' });
      expect(nowhere.stderr).toContain('there is no node node-9');
    } finally {
      await other.close();
    }
  });

  it.each([
    [['test', 'nobody', 'alice'], 1, 'unknown_radius_client'],
    [['test', 'gateway', 'alice'], 2, 'the password is missing'],
    [['test', 'gateway', 'alice', '--password-file', 'nowhere'], 2, 'cannot read nowhere'],
    [['test', 'gateway', 'alice', '--method', 'chap'], 2, 'Allowed choices are pap'],
    [['test', 'gateway'], 2, 'missing required argument'],
  ])('%j ends with exit code %i', async (args, code, complaint) => {
    const refused = await countersign(args);
    expect(refused).toMatchObject({ code, stdout: '' });
    expect(refused.stderr).toContain(complaint);
    expect(server.ports.radiusFront.tests).toEqual([]);
  });
});

const seen = (fields: Partial<RadiusSeen> = {}): RadiusSeen => ({
  kind: 'seen',
  at: '2026-03-01T03:12:45.000Z',
  worker: 0,
  service: 'authentication',
  from: '10.1.2.3:1024',
  client: 'gateway',
  testBy: null,
  packet: 'Access-Request',
  protocol: 'pap',
  user: 'alice',
  verdict: 'accept',
  why: null,
  attributes: [{ name: 'User-Password', value: '***' }],
  tookMs: 3,
  ...fields,
});

describe('countersign radius watch', () => {
  /** The program, watching, and what it has printed so far. */
  async function watch(args: string[] = [], url = server.url) {
    const child = spawn(process.execPath, [MAIN, 'radius', 'watch', ...args], {
      cwd: directory,
      env: { TZ: 'UTC', NODE_COMPILE_CACHE: join(directory, 'compiled'), ...env(url) },
      timeout: 30_000,
      killSignal: 'SIGKILL',
    });
    const printed = { out: '', error: '' };
    child.stdout.on('data', (data) => (printed.out += String(data)));
    child.stderr.on('data', (data) => (printed.error += String(data)));
    const ended = once(child, 'close').then(([code]) => code as number | null);
    const interrupt = () => {
      child.kill('SIGINT');
      return ended;
    };
    const poll = (get: () => string) => expect.poll(get, { timeout: 15_000 });
    await poll(() => printed.error).toContain('watching node-1 with 2 workers, until Ctrl-C');
    return { printed, poll, interrupt };
  }

  it('prints what arrives as it arrives, safe for a terminal, and ends with Ctrl-C', async () => {
    const { printed, poll, interrupt } = await watch();
    const { radiusFront } = server.ports;
    radiusFront.tell(seen());
    radiusFront.tell(
      seen({
        verdict: 'reject',
        why: 'wrong_code',
        user: 'b\u001b[2J',
        testBy: 'ops',
        tookMs: 250,
      }),
    );
    radiusFront.tell({ kind: 'quiet' });
    radiusFront.tell({ kind: 'lost', count: 12 });
    const stranger = { client: null, packet: null, protocol: null, user: null, attributes: null };
    radiusFront.tell(
      seen({ ...stranger, verdict: 'dropped', why: 'unknown_client', tookMs: null }),
    );
    await poll(() => printed.out).toContain('unknown_client\n');
    expect(printed.out.split('\n').map((line) => line.replaceAll(/ {2,}/g, '  '))).toEqual([
      'TIME  FROM  CLIENT  USER  PACKET  VERDICT  MS  WHY',
      '2026-03-01 03:12:45  10.1.2.3:1024  gateway  alice  Access-Request pap  accept  3',
      '2026-03-01 03:12:45  10.1.2.3:1024  gateway  b\\u{1b}[2J  Access-Request pap  reject  250  wrong_code, test by ops',
      '(12 more, which were not read fast enough)',
      '2026-03-01 03:12:45  10.1.2.3:1024  -  -  -  dropped  -  unknown_client',
      '',
    ]);
    expect(await interrupt()).toBe(0);
    await expect.poll(() => radiusFront.watchers, { timeout: 15_000 }).toBe(0);
  });

  it('shows attributes where it is asked to, and JSON lines of one client', async () => {
    const detailed = await watch(['--attributes']);
    const json = await watch(['--json', '--client', 'gateway']);
    for (const client of ['other', 'gateway']) server.ports.radiusFront.tell(seen({ client }));
    await detailed.poll(() => detailed.printed.out).toContain('\n    User-Password = ***\n');
    await json.poll(() => json.printed.out).toContain('"gateway"');
    const lines = json.printed.out.trim().split('\n');
    expect(lines.map((line) => JSON.parse(line) as unknown)).toEqual([
      { kind: 'watching', node: 'node-1', workers: 2, silent: [] },
      seen(),
    ]);
    expect(await detailed.interrupt()).toBe(0);
    expect(await json.interrupt()).toBe(0);
  });

  it('asks again where the node went away, and ends where it is refused', async () => {
    // Kept from others between the two.
    const [port = 0] = await takeFreePorts(1);
    const startThere = async () => {
      const ports = new MemoryPorts();
      ports.addKey('all');
      const api = buildApi(ports, { logger: silentLogger() });
      await api.listen({ host: '127.0.0.1', port });
      return api;
    };
    const first = await startThere();
    const { printed, poll, interrupt } = await watch([], `http://127.0.0.1:${port}`);
    // Whoever comes again before it is gone would keep it from ending.
    first.server.close();
    first.server.closeAllConnections();
    await first.close();
    await poll(() => printed.error).toMatch(/trying again\n$/);
    const second = await startThere();
    await poll(() => printed.error).toMatch(/trying again\n.*watching node-1/s);
    expect(await interrupt()).toBe(0);
    await second.close();
    const refused = await countersign(['watch', '--client', 'nobody']);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toContain('unknown_radius_client');
  });
});

describe('countersign radius client show', () => {
  it('says what helps attackers', async () => {
    const set = await countersign(['client', 'set', 'gateway', 'messageAuthenticator=observe']);
    const warning =
      /messageAuthenticator observe: counts and serves requests without one.*CVE-2024-3596/;
    expect(set.stderr).toMatch(warning);
    const shown = await countersign(['client', 'show', 'gateway']);
    expect(shown.stdout).toMatch(new RegExp(`\nwarning: ${warning.source}.*radius watch`));
  });
});

describe('countersign application', () => {
  it('takes settings as radius client does, and shows the RADIUS clients of one', async () => {
    const application = (...args: string[]) =>
      runCountersign(['application', ...args], { directory, env: env() });
    expect((await application('add', 'VPN', 'userMatch=pass')).code).toBe(0);
    expect((await application('show', 'vpn')).stdout).toBe(
      "VPN: enabled, passes whoever is no user\nits settings are the company's\nRADIUS clients: gateway\n",
    );
    const disabled = await application('set', 'vpn', 'enabled=no', 'methods.default=text');
    expect(disabled).toMatchObject({ code: 0, stderr: '' });
    expect((await application('show', 'vpn')).stdout).toMatch(
      /^VPN: disabled, passes whoever is no user\n.*methods\.default +text\nRADIUS clients: gateway\n$/s,
    );
    server.ports.radius.clients[0]!.firstFactor = { kind: 'none' };
    const passing = await application('set', 'vpn', 'userMatch=pass');
    expect(passing.stderr).toMatch(
      /^countersign: RADIUS client gateway: firstFactor none, and vpn passes whoever is no user/,
    );
    const wrong = await application('set', 'vpn', 'enabled=perhaps');
    expect(wrong).toMatchObject({ code: 2, stderr: expect.stringContaining('true or false') });
  });
});
