import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:https';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createTestCluster } from '@countersign/identity/testing';
import { hasOpenssl, makeTestCertificate } from '@countersign/testing';
import { INTERMEDIATE } from '@countersign/tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkCertificates } from './check-certificates.ts';

const DAY_MS = 86_400_000;
const notRunning = (aheadMs = 0) => ({ isRunning: false, now: new Date(Date.now() + aheadMs) });

let folder: string;
let node: Parameters<typeof checkCertificates>[0];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-doctor-'));
  const http = { host: '127.0.0.1', port: 8443, tls: null, isHttps: true };
  node = { name: 'node-1', dataDirectory: folder, http, tls: INTERMEDIATE, url: null };
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A pair of the operator's; the node's configuration names it. */
async function ownPair(
  options: { days?: number; hosts?: string[] } = {},
): Promise<{ certificateFile: string; keyFile: string; authority: string }> {
  const place = mkdtempSync(join(folder, 'pair-'));
  const { certificateFile, keyFile, authority } = await makeTestCertificate(place, {
    days: 80,
    hosts: ['mfa.example.test'],
    ...options,
  });
  node.http.tls = { certificateFile, keyFile };
  return { certificateFile, keyFile, authority };
}

const member = (lifeMs?: number) => ({
  name: 'node-1',
  folder: join(folder, 'identity'),
  hosts: ['mfa-1.example.test', '192.0.2.11'],
  ...(lifeMs !== undefined && { lifeMs }),
});

describe('the certificates of a node', () => {
  it('are none where it is open, and told with their names and end where all is well', async () => {
    expect(await checkCertificates(node, notRunning())).toEqual([
      { name: 'certs', ok: true, detail: 'none: this node is open, on loopback only' },
    ]);
    await createTestCluster([member(90 * DAY_MS)]);
    const [found] = await checkCertificates(node, notRunning());
    expect(found).toMatchObject({
      ok: true,
      detail: expect.stringMatching(/^node-1, .*, mfa-1\.example\.test, 192\.0\.2\.11; until 20/),
    });
  });

  it('are told where the renewal of the node is overdue, and where it is too late', async () => {
    await createTestCluster([member(90 * DAY_MS)]);
    expect(await checkCertificates(node, notRunning(80 * DAY_MS))).toMatchObject([
      {
        severity: 'warning',
        detail: expect.stringMatching(/identity\/node\.pem expires in (9|10) days/),
        fix: expect.stringContaining('a master has to be there'),
      },
    ]);
    expect(await checkCertificates(node, notRunning(91 * DAY_MS))).toMatchObject([
      { severity: 'critical', detail: expect.stringContaining('node.pem has expired') },
    ]);
  });

  it('are told where the clock is before their first day', async () => {
    await createTestCluster([member(90 * DAY_MS)]);
    expect((await checkCertificates(node, notRunning(-3 * DAY_MS)))[0]).toMatchObject({
      ok: false,
      severity: 'critical',
      detail: expect.stringContaining('does not count yet'),
    });
  });

  it('are told where the identity is of another node, or a file of it is open or gone', async () => {
    await createTestCluster([member(90 * DAY_MS)]);
    expect(await checkCertificates({ ...node, name: 'node-2' }, notRunning())).toMatchObject([
      { severity: 'critical', detail: expect.stringContaining('is the identity of node-1, and') },
    ]);
    chmodSync(join(folder, 'identity', 'node.key'), 0o644);
    expect(await checkCertificates(node, notRunning())).toMatchObject([
      { severity: 'critical', detail: expect.stringContaining('chmod 600 it') },
    ]);
    rmSync(join(folder, 'identity', 'node.key'));
    expect(await checkCertificates(node, notRunning())).toMatchObject([
      {
        detail: expect.stringContaining('node.key is missing'),
        fix: expect.stringContaining('copy'),
      },
    ]);
  });

  it('are told where the node is asked by a name that is not in them', async () => {
    await createTestCluster([member(90 * DAY_MS)]);
    const url = 'https://mfa.example.test:8443';
    expect(await checkCertificates({ ...node, url }, notRunning())).toMatchObject([
      {
        severity: 'warning',
        detail: expect.stringMatching(/is not for mfa\.example\.test, .* mfa-1\.example\.test/),
        fix: 'set "url" to one of those, or name a certificate for mfa.example.test in http.tls',
      },
    ]);
    const http = { ...node.http, host: '192.0.2.12' };
    const [byAddress] = await checkCertificates({ ...node, http }, notRunning());
    expect(byAddress?.detail).toContain('is not for 192.0.2.12');
    expect(
      (await checkCertificates({ ...node, url: 'https://192.0.2.11' }, notRunning()))[0]?.ok,
    ).toBe(true);
  });

  it.skipIf(!hasOpenssl)(
    'of the operator are told where they have expired (needs openssl)',
    async () => {
      const { certificateFile, keyFile } = await ownPair({ days: -1 });
      const found = await checkCertificates(node, notRunning());
      expect(found).toMatchObject([
        {
          severity: 'critical',
          detail: expect.stringContaining(`${certificateFile} has expired`),
          fix: expect.stringContaining(`put a whole pair into ${certificateFile} and ${keyFile}`),
        },
      ]);
    },
  );

  it.skipIf(!hasOpenssl)(
    'of the operator are told where key or order are wrong (needs openssl)',
    async () => {
      const other = await ownPair();
      const own = await ownPair();
      node.http.tls = { certificateFile: own.certificateFile, keyFile: other.keyFile };
      expect(await checkCertificates(node, notRunning())).toMatchObject([
        {
          severity: 'critical',
          detail: expect.stringContaining('the key does not belong to the first certificate'),
        },
      ]);
      node.http.tls = { certificateFile: own.certificateFile, keyFile: own.keyFile };
      expect(await checkCertificates(node, notRunning())).toMatchObject([{ ok: true }]);
      const leaf = await readFile(own.certificateFile, 'utf8');
      writeFileSync(own.certificateFile, `${leaf}${other.authority}`);
      expect(await checkCertificates(node, notRunning())).toMatchObject([
        {
          severity: 'warning',
          detail: `${own.certificateFile}: certificate 2 in it did not sign the one before it`,
        },
      ]);
      writeFileSync(own.certificateFile, `${leaf}${own.authority}`);
      expect(await checkCertificates(node, notRunning())).toMatchObject([{ ok: true }]);
      rmSync(own.keyFile);
      expect((await checkCertificates(node, notRunning()))[0]?.detail).toContain('ENOENT');
    },
  );

  it.skipIf(!hasOpenssl)(
    'are told where another one is served than lies in the file (needs openssl)',
    async () => {
      const served = await ownPair({ days: 60 });
      const [cert, key] = [await readFile(served.certificateFile), await readFile(served.keyFile)];
      const server = createServer({ cert, key });
      server.listen(0, '127.0.0.1');
      await once(server, 'listening');
      try {
        node.http.port = (server.address() as AddressInfo).port;
        expect(await checkCertificates(node, { isRunning: true, now: new Date() })).toMatchObject([
          { ok: true },
        ]);
        await ownPair({ days: 80 });
        const [found] = await checkCertificates(node, { isRunning: true, now: new Date() });
        expect(found).toMatchObject({ severity: 'warning' });
        expect(found?.detail).toMatch(/^the API shows a certificate until \S+, in its file is one/);
      } finally {
        server.close();
      }
    },
  );
});
