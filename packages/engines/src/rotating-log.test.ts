import { execFileSync } from 'node:child_process';
import { mkdir, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';

import { describe, expect, it } from 'vitest';

import { isRoot, makeTrialFolder } from './engine-trial.ts';
import { RotatingLog } from './rotating-log.ts';
import { spawnSupervised } from './spawn-supervised.ts';

describe('a log that rotates', () => {
  it('keeps the newest lines whole, each once, in no more files than allowed', async () => {
    await using folder = await makeTrialFolder();
    const path = join(folder.path, 'a.log');
    const log = new RotatingLog(path, { maxBytes: 100, files: 3 });
    // Chunks end anywhere, as they do when they come through a pipe.
    const text = Array.from({ length: 200 }, (_, i) => `line ${i}\n`).join('');
    for (let at = 0; at < text.length; at += 7) log.write(text.slice(at, at + 7));
    log.close();

    expect((await readdir(folder.path)).toSorted()).toEqual(['a.log', 'a.log.1', 'a.log.2']);
    const kept = await Promise.all(
      ['a.log.2', 'a.log.1', 'a.log'].map((name) => readFile(join(folder.path, name), 'utf8')),
    );
    expect(text.endsWith(kept.join(''))).toBe(true);
    expect(kept.join('')).toMatch(/^line \d+\n/);
    for (const part of kept.slice(0, 2)) {
      expect(part.endsWith('\n')).toBe(true);
      expect(part.length).toBeGreaterThanOrEqual(100);
      expect(part.length).toBeLessThan(130);
    }
  });

  it('goes on behind what an earlier process wrote', async () => {
    await using folder = await makeTrialFolder();
    const path = join(folder.path, 'a.log');
    await writeFile(path, 'x'.repeat(99) + '\n');
    const log = new RotatingLog(path, { maxBytes: 100, files: 2 });
    log.write('after\n');
    log.close();
    expect(await readFile(path, 'utf8')).toBe('after\n');
    expect(await readFile(`${path}.1`, 'utf8')).toHaveLength(100);
  });

  it('cuts what never ends its line', async () => {
    await using folder = await makeTrialFolder();
    const path = join(folder.path, 'a.log');
    const log = new RotatingLog(path, { maxBytes: 100, files: 2 });
    for (let i = 0; i < 12; i += 1) log.write('x'.repeat(100_000));
    log.close();
    expect(await readFile(`${path}.1`, 'utf8')).toHaveLength(1_100_000);
  });

  it('is an error where it cannot be written at all', async () => {
    await using folder = await makeTrialFolder();
    await mkdir(join(folder.path, 'a.log'));
    expect(() => new RotatingLog(join(folder.path, 'a.log'))).toThrow(/EISDIR/);
  });

  it.skipIf(!isRoot)('outlives a full disk and tells what it lost (as root)', async () => {
    await using folder = await makeTrialFolder();
    const disk = join(folder.path, 'disk');
    await mkdir(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', disk]);
    try {
      await writeFile(join(disk, 'filler'), 'x'.repeat(48 * 1024));
      const path = join(disk, 'a.log');
      const log = new RotatingLog(path, { maxBytes: 1e6, files: 2 });
      for (let i = 0; i < 32; i += 1) log.write(`${'y'.repeat(1023)}\n`);
      const full = await readFile(path, 'utf8');
      expect(full.length).toBeLessThan(32 * 1024);
      await rm(join(disk, 'filler'));
      log.write('again\n');
      log.close();
      const lost = 32 * 1024 - full.length;
      expect((await readFile(path, 'utf8')).slice(full.length)).toMatch(
        new RegExp(`^\n?\\[${lost} bytes of this log could not be written\\]\nagain\n$`),
      );
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  });
});

it('the output of a process rotates while it runs, its last words included', async () => {
  await using folder = await makeTrialFolder();
  const logFile = join(folder.path, 'log', 'node.log');
  const print =
    "for (let i = 0; i < 50_000; i++) console.log('line ' + i); console.error('the end')";
  const child = await spawnSupervised({
    command: process.execPath,
    args: ['-e', print],
    logFile,
    logRotation: { maxBytes: 50_000, files: 100 },
    stopSignal: 'SIGTERM',
  });
  await child.exited;
  await child.stop();
  const names = (await readdir(join(folder.path, 'log'))).toSorted(
    (a, b) => Number(b.split('.')[2] ?? 0) - Number(a.split('.')[2] ?? 0),
  );
  expect(names.length).toBeGreaterThan(3);
  const texts = await Promise.all(
    names.map((name) => readFile(join(folder.path, 'log', name), 'utf8')),
  );
  const lines = texts.join('').split('\n');
  expect(lines.filter((line) => line.startsWith('line '))).toEqual(
    Array.from({ length: 50_000 }, (_, i) => `line ${i}`),
  );
  expect(lines).toContain('the end');
});
