import { execFile } from 'node:child_process';
import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createClusterKeyFile, readClusterKey } from './cluster-key.ts';
import { KeyError } from './key-error.ts';

let directory: string;
let path: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-keys-'));
  path = join(directory, 'cluster.key');
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

describe('the cluster key file', () => {
  it('is readable by its owner only and reads back as the key that was made', () => {
    const made = createClusterKeyFile(path);
    expect(statSync(path).mode & 0o777).toBe(0o600);
    expect(readClusterKey(path)).toEqual(made);
    expect(made.id).toMatch(/^[0-9a-f]{8}$/);
    expect(made.bytes.length).toBe(32);
    expect(readFileSync(path, 'utf8')).toMatch(/^countersign-cluster-key-1 [\w-]{43}\n$/);
  });

  it('is never overwritten and leaves no draft behind', () => {
    const made = createClusterKeyFile(path);
    expect(codeOf(() => createClusterKeyFile(path))).toBe('exists');
    expect(readClusterKey(path)).toEqual(made);
    expect(readdirSync(directory)).toEqual(['cluster.key']);
  });

  it('is made by exactly one of several processes, and the others can read it at once', async () => {
    const script = `
      const { createClusterKeyFile, readClusterKey } =
        await import(${JSON.stringify(new URL('./cluster-key.ts', import.meta.url).href)});
      let outcome = 'created';
      try { createClusterKeyFile(process.argv[1]); } catch (error) { outcome = error.code; }
      console.log(outcome, readClusterKey(process.argv[1]).id);
    `;
    const run = promisify(execFile);
    const runs = await Promise.all(
      Array.from({ length: 4 }, () =>
        run(process.execPath, ['--input-type=module', '-e', script, path], { timeout: 30_000 }),
      ),
    );
    const lines = runs.map((result) => result.stdout.trim().split(' '));
    expect(lines.map(([outcome]) => outcome).toSorted()).toEqual([
      'created',
      'exists',
      'exists',
      'exists',
    ]);
    expect(new Set(lines.map(([, id]) => id))).toEqual(new Set([readClusterKey(path).id]));
  });

  it('is refused in one line when group or others have any right on it', () => {
    createClusterKeyFile(path);
    for (const mode of [0o640, 0o604, 0o620, 0o601]) {
      chmodSync(path, mode);
      expect(codeOf(() => readClusterKey(path))).toBe('unsafe_mode');
    }
    expect(() => readClusterKey(path)).toThrow(/^cluster key file .* chmod 600 it$/);
    chmodSync(path, 0o400);
    expect(readClusterKey(path).bytes.length).toBe(32);
  });

  it('is told apart when missing, malformed or not a file', () => {
    expect(codeOf(() => readClusterKey(path))).toBe('missing');
    const good = 'A'.repeat(43);
    const texts = [
      '',
      'countersign-cluster-key-1',
      `countersign-cluster-key-2 ${good}`,
      `countersign-cluster-key-1 ${good.slice(1)}`,
      `countersign-cluster-key-1 ${good}A`,
      `countersign-cluster-key-1 ${good} more`,
      `countersign-cluster-key-1 ${good.slice(1)}!`,
      'x'.repeat(2000),
    ];
    for (const text of texts) {
      writeFileSync(path, text, { mode: 0o600 });
      expect(codeOf(() => readClusterKey(path))).toBe('malformed');
    }
    rmSync(path);
    mkdirSync(path, { mode: 0o700 });
    expect(codeOf(() => readClusterKey(path))).toBe('malformed');
    expect(codeOf(() => createClusterKeyFile(join(directory, 'no', 'such')))).toBe('unreadable');
  });

  it('never shows the key in an error', () => {
    const { bytes } = createClusterKeyFile(path);
    chmodSync(path, 0o644);
    expect(() => readClusterKey(path)).not.toThrow(bytes.toString('base64url'));
  });
});

function codeOf(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof KeyError) return error.code;
    throw error;
  }
  return 'nothing thrown';
}
