import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '@countersign/api/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { runCountersign } from './testing/run-countersign.ts';

let server: Awaited<ReturnType<typeof startApi>>;
let directory: string;

beforeAll(async () => {
  server = await startApi();
  directory = mkdtempSync(join(tmpdir(), 'countersign-export-'));
  for (const body of [
    { username: 'alice', displayName: '=HYPERLINK("http://evil.test")' },
    { username: '@bob', email: 'bob@corp.test' },
  ]) {
    await fetch(`${server.url}/api/v1/users`, {
      method: 'POST',
      headers: { authorization: 'Bearer all', 'content-type': 'application/json' },
      body: JSON.stringify(body),
    });
  }
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

it('all users are exported as CSV that no spreadsheet takes for formulas', async () => {
  const env = { COUNTERSIGN_SERVER: server.url, COUNTERSIGN_API_KEY: 'all' };
  const printed = await runCountersign(['export', 'users', '--csv'], { directory, env });
  expect(printed, printed.stderr).toMatchObject({ code: 0, stderr: '' });
  const [header, ...lines] = printed.stdout.trimEnd().split('\r\n');
  expect(header).toMatch(/^"username","displayName","email","enabled",/);
  expect(lines.map((line) => line.split(',').slice(0, 3).join(',')).toSorted()).toEqual([
    `"'@bob","","bob@corp.test"`,
    `"alice","'=HYPERLINK(""http://evil.test"")",""`,
  ]);
  const written = ['export', 'users', '--output', 'users.csv'];
  expect((await runCountersign(written, { directory, env })).stdout).toContain('2 users');
  const file = join(directory, 'users.csv');
  expect(readFileSync(file, 'utf8')).toBe(printed.stdout);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const again = await runCountersign(written, { directory, env });
  expect(again).toMatchObject({ code: 1, stderr: expect.stringContaining('is there already') });
}, 60_000);
