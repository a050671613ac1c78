import { createHash } from 'node:crypto';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCluster } from '@countersign/identity/testing';
import { takeFreePorts } from '@countersign/testing';
import { INTERMEDIATE } from '@countersign/tls';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ExaminedNode } from './examined-node.ts';
import { examineWitness, isWitness } from './examine-witness.ts';

let folder: string;
let witness: ExaminedNode;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
  const [clientPort, routePort] = (await takeFreePorts(2)) as [number, number];
  const path = join(folder, 'node.yaml');
  writeFileSync(path, '{}', { mode: 0o600 });
  // As after a first start.
  writeFileSync(join(folder, 'log-layout.json'), '{}', { mode: 0o600 });
  witness = {
    name: 'w',
    dataDirectory: folder,
    secretFiles: [join(folder, 'cluster.key')],
    http: { host: '127.0.0.1', port: 1, tls: null, isHttps: true },
    tls: INTERMEDIATE,
    url: null,
    radius: null,
    limits: { changesBytes: 1, statesBytes: 1, eventsBytes: 1 },
    logServers: [{ name: 'w', host: '127.0.0.1', clientPort, routePort }],
    file: { path, sha256: createHash('sha256').update('{}').digest('hex') },
  };
});
afterEach(() => rmSync(folder, { recursive: true }));

const makeIdentity = (role: 'node' | 'witness', lifeMs = 86_400_000 * 90) =>
  createTestCluster([{ name: 'w', folder: join(folder, 'identity'), role, lifeMs }]);

it('knows a witness by its identity', async () => {
  expect(isWitness(witness)).toBe(false);
  await makeIdentity('witness');
  expect(isWitness(witness)).toBe(true);
  expect(isWitness({ dataDirectory: join(folder, 'nobody') })).toBe(false);
});

it('finds nothing wrong with one that is well, and misses neither key nor API', async () => {
  await makeIdentity('witness');
  for (const isRunning of [false, true]) {
    const found = await examineWitness(witness, { isRunning });
    expect(found.filter(({ ok }) => !ok)).toEqual([]);
    expect(found.map(({ name }) => name)).toEqual(['config', 'certs', 'files', 'disk', 'ports']);
  }
});

it('finds an expired certificate, and secrets that others may read', async () => {
  await makeIdentity('witness', -1000);
  chmodSync(join(folder, 'identity', 'node.key'), 0o644);
  const found = await examineWitness(witness, { isRunning: false });
  const wrong = found.filter(({ ok }) => !ok).map(({ name }) => name);
  expect(wrong).toContain('certs');
  expect(wrong).toContain('files');
});
