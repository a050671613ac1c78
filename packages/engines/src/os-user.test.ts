import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { isRoot, makeTrialFolder } from './engine-trial.ts';
import { copyForEverybody } from './find-postgres-binaries.ts';
import { currentOsUser, isReachableBy, lookUpOsUser } from './os-user.ts';
import { runOnce } from './run-once.ts';

it('one’s own folders are reachable, also below one that is still to be made', async () => {
  await using folder = await makeTrialFolder();
  expect(await isReachableBy(join(folder.path, 'a', 'b'), currentOsUser().name)).toBe(true);
});

it.runIf(isRoot)(
  'a folder closed to others is not reachable for them, nor what is below',
  async () => {
    await using folder = await makeTrialFolder();
    const closed = join(folder.path, 'closed');
    await mkdir(join(closed, 'inner'), { recursive: true });
    await chmod(closed, 0o700);
    expect(await isReachableBy(folder.path, 'nobody')).toBe(true);
    expect(await isReachableBy(join(closed, 'inner'), 'nobody')).toBe(false);
    expect(await isReachableBy(join(closed, 'inner'), 'no-such-user-here')).toBe(false);
  },
);

it.runIf(isRoot)('programs in a closed folder are copied so that others can run them', async () => {
  await using folder = await makeTrialFolder();
  const closed = join(folder.path, 'closed');
  const shared = join(folder.path, 'shared', 'programs-1');
  await mkdir(join(closed, 'bin'), { recursive: true });
  await runOnce({ command: 'cp', args: ['/bin/true', join(closed, 'bin')], timeoutMs: 5_000 });
  await runOnce({ command: 'chmod', args: ['-R', 'go=', closed], timeoutMs: 5_000 });
  const nobody = await lookUpOsUser('nobody');
  const program = (programs: string) => ['-x', join(programs, 'bin/true')];
  const run = (programs: string) =>
    runOnce({ command: 'test', args: program(programs), runAs: nobody, timeoutMs: 5_000 });
  await expect(run(closed)).rejects.toThrow('failed');
  const copies = [copyForEverybody(closed, shared), copyForEverybody(closed, shared)];
  expect(await Promise.all(copies)).toEqual([shared, shared]);
  await expect(run(shared)).resolves.toBe('');
});

it('a user that does not exist is not found', async () => {
  expect(await lookUpOsUser('no-such-user-here')).toBeUndefined();
});
