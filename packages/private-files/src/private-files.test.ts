import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readPrivateFile, removeDrafts, writePrivateFile } from './index.ts';

const limits = { what: 'note', maxBytes: 100 };
let folder: string;
let path: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-private-'));
  path = join(folder, 'note');
});
afterEach(() => rmSync(folder, { recursive: true }));

it('is read as it was written, is its owner’s alone, and leaves no draft beside it', () => {
  writePrivateFile(path, 'one');
  writePrivateFile(path, 'two');
  expect(readPrivateFile(path, limits)).toBe('two');
  expect(statSync(path).mode & 0o777).toBe(0o600);
  expect(readdirSync(folder)).toEqual(['note']);
});

it('loses the drafts of writes that were killed, and nothing else goes', () => {
  writePrivateFile(path, 'one');
  const others = ['note.old', 'note.tmp', 'other.0123456789ab.tmp', 'note.0123456789ab.tmp.kept'];
  for (const name of [...others, 'note.0123456789ab.tmp', 'note.ba9876543210.tmp']) {
    writeFileSync(join(folder, name), 'half');
  }
  removeDrafts(path);
  expect(readdirSync(folder).toSorted()).toEqual(['note', ...others].toSorted());
});

it('takes the place of no other where that is not wanted', () => {
  writePrivateFile(path, 'one', { replace: false });
  const again = () => writePrivateFile(path, 'two', { what: 'note', replace: false });
  expect(again).toThrow(`note ${path} already exists`);
  expect(readPrivateFile(path, limits)).toBe('one');
  expect(readdirSync(folder)).toEqual(['note']);
});

it('that cannot be written says why and leaves what was there', () => {
  mkdirSync(path);
  writeFileSync(join(path, 'inside'), 'kept');
  expect(() => writePrivateFile(path, 'two')).toThrow(/^cannot write the file .*note: E/);
  expect(readdirSync(folder)).toEqual(['note']);
  expect(readdirSync(path)).toEqual(['inside']);
});

it.each([
  ['missing', () => undefined],
  ['malformed', () => mkdirSync(path)],
  ['malformed', () => writePrivateFile(path, 'x'.repeat(101))],
  ['unsafe_mode', () => (writePrivateFile(path, 'x'), chmodSync(path, 0o640))],
])('is refused as %s', (code, prepare) => {
  prepare();
  expect(() => readPrivateFile(path, limits)).toThrow(expect.objectContaining({ code }));
});
