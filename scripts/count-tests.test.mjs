import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, expect, it } from 'vitest';

import { countTests } from './count-tests.mjs';

let folder;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'countersign-count-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function count(testResults, { exitCode = 0, skipsFail = false } = {}) {
  const resultsFile = join(folder, 'results.json');
  await writeFile(resultsFile, JSON.stringify({ testResults }));
  return countTests({ resultsFile, exitCode, skipsFail });
}

const file = (...statuses) => ({
  name: 'a.test.ts',
  status: statuses.includes('failed') ? 'failed' : 'passed',
  assertionResults: statuses.map((status) => ({
    status,
    fullName: `a test that ${status}`,
    failureMessages: status === 'failed' ? ['\u001b[31mexpected 1\nto be 2\n    at a.ts:3'] : [],
  })),
});

it('the last line counts the tests of all files', async () => {
  const { lines, exitCode } = await count([file('passed', 'passed'), file('passed')]);
  expect(lines.at(-1)).toBe('3 passed, 0 failed');
  expect(exitCode).toBe(0);
});

it('a failed test is named with what it found, on one line', async () => {
  const { lines, exitCode } = await count([file('passed', 'failed')], { exitCode: 1 });
  expect(lines).toEqual([
    'FAILED: a.test.ts: a test that failed: expected 1 to be 2',
    '1 passed, 1 failed',
  ]);
  expect(exitCode).toBe(1);
});

it('skipped tests are counted, and are named failures where every engine is required', async () => {
  const files = [file('passed', 'skipped', 'todo')];
  expect((await count(files)).lines).toEqual(['1 passed, 0 failed, 2 skipped']);
  const strict = await count(files, { skipsFail: true });
  expect(strict.lines).toContain('FAILED because it was skipped: a test that skipped');
  expect(strict.lines.at(-1)).toBe('1 passed, 2 failed');
  expect(strict.exitCode).toBe(1);
});

it('a file that breaks outside its tests is a failure', async () => {
  const broken = {
    name: 'broken.test.ts',
    status: 'failed',
    message: 'no such module',
    assertionResults: [],
  };
  const { lines, exitCode } = await count([file('passed'), broken], { exitCode: 1 });
  expect(lines).toEqual([
    'FAILED outside its tests: broken.test.ts: no such module',
    '1 passed, 1 failed',
  ]);
  expect(exitCode).toBe(1);
});

it('a run that fails without a failed test, or runs none, is a failure', async () => {
  expect((await count([file('passed')], { exitCode: 1 })).lines.at(-1)).toBe('1 passed, 1 failed');
  expect((await count([])).exitCode).toBe(1);
  const missing = countTests({ resultsFile: join(folder, 'x'), exitCode: 0, skipsFail: false });
  expect(missing.lines.at(-1)).toBe('0 passed, 1 failed');
});
