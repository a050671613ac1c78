import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { expect, it } from 'vitest';

import { dropBrokenSnapshots } from './drop-broken-snapshots.ts';
import { makeTrialFolder } from './engine-trial.ts';

it('keeps the oldest whole snapshot of each group, and nothing that was begun after it', async () => {
  await using folder = await makeTrialFolder();
  const folderOf = (group: string) =>
    join(folder.path, 'jetstream', '$SYS', '_js_', group, 'snapshots');
  const put = async (group: string, name: string, bytes: number) => {
    await mkdir(folderOf(group), { recursive: true });
    await writeFile(join(folderOf(group), name), Buffer.alloc(bytes));
  };
  await put('_meta_', 'snap.1.4', 62);
  await put('_meta_', 'snap.2.10', 0);
  await put('_meta_', 'snap.2.9', 4096);
  await put('first', 'snap.1.7', 0);
  await put('whole', 'snap.3.70', 500);

  expect(await dropBrokenSnapshots(folder.path)).toHaveLength(3);
  expect(await readdir(folderOf('_meta_'))).toEqual(['snap.1.4']);
  expect(await readdir(folderOf('first'))).toEqual([]);
  expect(await readdir(folderOf('whole'))).toEqual(['snap.3.70']);
  expect(await dropBrokenSnapshots(folder.path)).toEqual([]);
  expect(await dropBrokenSnapshots(join(folder.path, 'none'))).toEqual([]);
});
