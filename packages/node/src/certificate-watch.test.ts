import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { copyFileSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createTestCluster } from '@countersign/identity/testing';
import { hasOpenssl, makeTestCertificate, waitFor } from '@countersign/testing';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';

import { CertificateWatch, type Certificates } from './certificate-watch.ts';
import { parseNodeConfig } from './config.ts';
import { NodeError } from './node-error.ts';

const everyMs = 20;
const patience = { timeoutMs: 10_000 };
const library = mkdtempSync(join(tmpdir(), 'countersign-certificates-'));
const made = (name: string, file: string) => join(library, name, file);

let folder: string;
let watch: CertificateWatch | undefined;
/** What was told, newest last. */
let told: Certificates[];

const config = (http: object = {}) =>
  parseNodeConfig(
    JSON.stringify({ name: 'node-1', dataDirectory: folder, http }),
    join(folder, 'node.yaml'),
  );
const withOwn = () => config({ tls: { certificateFile: 'web.pem', keyFile: 'web.key' } });
const open = async (about = withOwn()) => {
  const events = { certificates: (_: Certificates, now: Certificates) => void told.push(now) };
  watch = await CertificateWatch.open(about, { events, everyMs });
  return watch;
};

function put(from: string, to: 'web.pem' | 'web.key'): void {
  copyFileSync(from, join(folder, `${to}.new`));
  renameSync(join(folder, `${to}.new`), join(folder, to));
}

function putPair(name: string): void {
  put(made(name, 'server.pem'), 'web.pem');
  put(made(name, 'server.key'), 'web.key');
}

const problemOf = (name: string) =>
  told.at(-1)?.notices.find((notice) => notice.name === name)?.problem ?? null;

describe.runIf(hasOpenssl)('the certificates of a node', () => {
  beforeAll(async () => {
    const days = { first: 300, second: 400, soon: 3, past: -1 };
    for (const [name, count] of Object.entries(days)) {
      mkdirSync(join(library, name));
      await makeTestCertificate(join(library, name), { days: count });
    }
  });
  afterAll(() => rmSync(library, { recursive: true, force: true }));
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-watch-'));
    told = [];
    putPair('first');
  });
  afterEach(() => {
    vi.useRealTimers();
    watch?.close();
    rmSync(folder, { recursive: true, force: true });
  });

  it('are none on an open node without one of its own', async () => {
    expect((await open(config())).current).toEqual({ pair: null, notices: [] });
  });

  it('are taken again when both files were replaced, one after the other', async () => {
    const { current } = await open();
    expect(current.pair?.keyPem).toBe(readFileSync(made('first', 'server.key'), 'utf8'));
    let changes = 0;
    watch!.follow(() => (changes += 1));
    putPair('second');
    await waitFor('the change', () => changes > 0, patience);
    expect(watch!.current.pair?.keyPem).toBe(readFileSync(made('second', 'server.key'), 'utf8'));
    expect(problemOf('https')).toBeNull();
  });

  it.each<[string, () => void, string]>([
    ['a key of another', () => put(made('second', 'server.key'), 'web.key'), 'does not belong'],
    ['half a file', () => writeFileSync(join(folder, 'web.pem'), '-----BEGIN'), 'no certificate'],
    ['no file', () => rmSync(join(folder, 'web.key')), 'cannot read'],
    ['an expired pair', () => putPair('past'), 'it has expired'],
    [
      'a folder',
      () => [rmSync(join(folder, 'web.key')), mkdirSync(join(folder, 'web.key'))],
      'no PEM',
    ],
  ])('stay as they were over %s, which is said', async (_, spoil, why) => {
    await open();
    spoil();
    await waitFor('the complaint', () => problemOf('https'), patience);
    expect(problemOf('https')).toMatch(
      new RegExp(`web\\.pem is not taken: .*${why}.*; the one before it, until 20\\d\\d`),
    );
    expect(watch!.current.pair?.certificatePem).toBe(
      readFileSync(made('first', 'server.pem'), 'utf8'),
    );
    rmSync(join(folder, 'web.key'), { recursive: true, force: true });
    putPair('second');
    await waitFor('the end of it', () => problemOf('https') === null, patience);
  });

  it('refuse a start without a whole pair, naming the files', async () => {
    put(made('second', 'server.key'), 'web.key');
    await expect(open()).rejects.toThrow(NodeError);
    await expect(open()).rejects.toThrow(
      `${folder}/web.pem with ${folder}/web.key: the key does not belong to the first certificate`,
    );
  });

  it('that end soon or have ended are said at once, and served', async () => {
    putPair('soon');
    await open();
    expect(problemOf('https')).toBeNull();
    watch!.close();
    putPair('past');
    const { current } = await open();
    expect(problemOf('https')).toMatch(/^its HTTPS certificate \S+web\.pem has expired \(/);
    expect(current.pair).not.toBeNull();
    putPair('second');
    await waitFor('the end of it', () => problemOf('https') === null, patience);
  });

  it("of a secured node are its identity's; one of its own goes before them", async () => {
    await createTestCluster([{ name: 'node-1', folder: join(folder, 'identity') }]);
    const secured = await open(config());
    expect(secured.current.notices.map(({ name }) => name)).toEqual(['node', 'ca']);
    expect(secured.current.pair?.keyPem).toBe(
      readFileSync(join(folder, 'identity/node.key'), 'utf8'),
    );
    secured.close();
    const { pair, notices } = (await open()).current;
    expect(notices.map(({ name }) => name)).toEqual(['https', 'node', 'ca']);
    expect(pair?.keyPem).toBe(readFileSync(made('first', 'server.key'), 'utf8'));
  });

  it('of the cluster are missed when their renewal is overdue', async () => {
    const lifeMs = 3_600_000;
    await createTestCluster([{ name: 'node-1', folder: join(folder, 'identity'), lifeMs }]);
    const madeAt = Date.now();
    await open(config());
    expect(problemOf('node')).toBeNull();
    // Only the time of day: the looks go on as before.
    vi.setSystemTime(madeAt + 0.9 * lifeMs);
    const overdue = await waitFor('a warning', () => problemOf('node'), patience);
    expect(overdue).toMatch(/should have been renewed by now, expires in less than 2 hours/);
    vi.setSystemTime(madeAt + lifeMs + 1_000);
    await waitFor('its end', () => problemOf('node')?.includes('has expired'), patience);
  });
});
