import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '@countersign/api/testing';
import { encodeBase32, generateSecret } from '@countersign/verification';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
  for (const username of ['alice', 'bob']) await countersign(['user', 'add', username]);
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

function countersign(args: string[], stdin = '') {
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  return runCountersign(args, { directory, env, stdin });
}

const secret = () => encodeBase32(generateSecret());
const HEADER = 'upn,serial number,secret key,time interval,manufacturer,model';

it('imports a CSV file in parts, counts, and writes the refused with their lines and no secrets', async () => {
  const secrets = Array.from({ length: 250 }, secret);
  const rows = secrets.map((each, n) => {
    const upn = n === 3 || n === 240 ? 'nobody' : 'alice';
    return `${upn},S-${n},${each},30,"Acme, Inc.",T`;
  });
  writeFileSync(join(directory, 'tokens.csv'), [HEADER, ...rows].join('\n'));
  const before = server.ports.commands.length;
  const imported = await countersign(['token', 'import', 'tokens.csv', '--errors', 'bad.csv']);
  expect(imported.code).toBe(1);
  expect(imported.stdout).toBe('248 enrolled, 2 refused; the refused are in bad.csv\n');
  expect(imported.stderr).toMatch(/^5: .*unknown_user\)\n242: .*unknown_user\)\n$/);
  expect(server.ports.commands.length - before).toBe(250);
  const bad = readFileSync(join(directory, 'bad.csv'), 'utf8');
  expect(bad.match(/serial number/g)).toHaveLength(1);
  expect(bad).toMatch(/"S-3"[^]*line 5: [^]*"S-240"[^]*line 242: /);
  for (const each of secrets) expect(bad + imported.stdout + imported.stderr).not.toContain(each);
  expect(statSync(join(directory, 'bad.csv')).mode & 0o777).toBe(0o600);
}, 60_000);

it('imports addresses for whom they name, activated if so said, and writes no file for nothing', async () => {
  const uri = `otpauth://totp/Acme:bob?secret=${secret()}`;
  writeFileSync(join(directory, 'uris.txt'), `${uri}\n`);
  const command = ['token', 'import', 'uris.txt', '--activated', '--errors', 'none.csv'];
  expect(await countersign(command)).toEqual({
    code: 0,
    stdout: '1 enrolled, 0 refused\n',
    stderr: '',
  });
  expect(server.ports.commands.at(-1)?.args).toMatchObject({
    username: 'bob',
    awaitsActivation: false,
  });
  expect(existsSync(join(directory, 'none.csv'))).toBe(false);
});

it('sends the password of a PSKC file from stdin, and refuses what it cannot read', async () => {
  writeFileSync(join(directory, 'empty.xml'), '<KeyContainer Version="1.0"/>');
  const command = ['token', 'import', 'empty.xml', '--user', 'bob'];
  const read = await countersign([...command, '--password'], 'secret words\n');
  expect(read).toMatchObject({ code: 0, stdout: '0 enrolled, 0 refused\n' });
  expect(await countersign([...command, '--password'])).toMatchObject({ code: 2 });
  writeFileSync(join(directory, 'key.hex'), 'not hex');
  const wrongKey = await countersign([...command, '--key-file', 'key.hex']);
  expect(wrongKey).toMatchObject({ code: 1, stderr: expect.stringContaining('in hex') });
  writeFileSync(join(directory, 'something'), 'x');
  expect(await countersign(['token', 'import', 'something'])).toMatchObject({ code: 2 });
  expect(await countersign(['token', 'import', 'missing.csv'])).toMatchObject({
    code: 1,
    stderr: 'countersign: cannot read missing.csv (ENOENT)\n',
  });
});
