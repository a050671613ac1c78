import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { judgeSpace, readDisks } from './disk-space.ts';

const mib = 1024 * 1024;
const gib = 1024 * mib;

it.each([
  { of: 'a large disk', totalBytes: 1000 * gib, freeBytes: 201 * mib, state: 'ok' },
  { of: 'a large disk', totalBytes: 1000 * gib, freeBytes: 199 * mib, state: 'low' },
  { of: 'a large disk', totalBytes: 1000 * gib, freeBytes: 63 * mib, state: 'full' },
  { of: 'a tiny disk', totalBytes: 100 * mib, freeBytes: 11 * mib, state: 'ok' },
  { of: 'a tiny disk', totalBytes: 100 * mib, freeBytes: 9 * mib, state: 'low' },
  { of: 'a tiny disk', totalBytes: 100 * mib, freeBytes: 4 * mib, state: 'full' },
])('$freeBytes free bytes of $of are $state', ({ state, ...space }) => {
  expect(judgeSpace(space)).toBe(state);
});

it('two folders of one disk make one report, a missing one none', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'disks-'));
  try {
    const [report, ...more] = await readDisks({ log: folder, database: folder });
    expect(report?.parts).toEqual(['log', 'database']);
    expect(report?.freeBytes).toBeGreaterThan(0);
    expect(report?.totalBytes).toBeGreaterThanOrEqual(report!.freeBytes);
    expect(more).toEqual([]);
    expect(await readDisks({ log: join(folder, 'none') })).toEqual([]);
  } finally {
    await rm(folder, { recursive: true });
  }
});
