import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { hashFile, writeNewFile } from './write-new-file.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-new-file-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

async function* blocks(count: number): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < count; i += 1) yield Buffer.alloc(16 * 1024, i);
}

describe('a new file', () => {
  it('appears whole, for its owner alone, as its hash says', async () => {
    const path = join(folder, 'file');
    const written = await writeNewFile(path, blocks(3));
    expect(written).toEqual({ sizeBytes: 3 * 16 * 1024, sha256: await hashFile(path) });
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder)).toEqual(['file']);
  });

  it('of two that are written at once one wins, and the other is refused', async () => {
    const path = join(folder, 'file');
    const both = await Promise.allSettled([
      writeNewFile(path, blocks(3)),
      writeNewFile(path, blocks(3)),
    ]);
    expect(both.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected']);
    const refused = both.find((one) => one.status === 'rejected');
    expect(refused?.reason).toMatchObject({ code: 'exists' });
    expect(readdirSync(folder)).toEqual(['file']);
    expect(readFileSync(path)).toHaveLength(3 * 16 * 1024);
  });

  it.skipIf(process.getuid?.() !== 0)('is not there where the disk is full', async () => {
    const disk = join(folder, 'disk');
    mkdirSync(disk);
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'countersign-test', disk]);
    try {
      await expect(writeNewFile(join(disk, 'file'), blocks(100))).rejects.toMatchObject({
        code: 'unwritable',
        message: expect.stringContaining('no room left'),
      });
      expect(readdirSync(disk)).toEqual([]);
    } finally {
      execFileSync('umount', ['-l', disk]);
    }
  });
});
