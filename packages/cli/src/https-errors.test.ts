import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startApi } from '@countersign/api/testing';
import { hasOpenssl, makeTestCertificate, type TestCertificate } from '@countersign/testing';
import { INTERMEDIATE } from '@countersign/tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { callApi, type ApiCall } from './call-api.ts';
import { UnansweredError } from './cli-error.ts';
import { runCountersign } from './testing/run-countersign.ts';

type Api = Awaited<ReturnType<typeof startApi>>;
const directory = mkdtempSync(join(tmpdir(), 'countersign-cli-https-'));
const certificates: Record<string, TestCertificate> = {};
const servers: Record<string, Api> = {};

async function startWith(name: string, options: Parameters<typeof makeTestCertificate>[1]) {
  mkdirSync(join(directory, name));
  const made = await makeTestCertificate(join(directory, name), options);
  const read = (file: string) => readFileSync(file, 'utf8');
  const pair = { certificatePem: read(made.certificateFile), keyPem: read(made.keyFile) };
  certificates[name] = made;
  servers[name] = await startApi({ tls: { terms: INTERMEDIATE, pair } });
}

/** In this process; `ca` names the one whose authority is believed. */
function ask(url: string, ca?: string, call: ApiCall = { method: 'GET', path: '/api/v1/cluster' }) {
  const authorities = ca ? [certificates[ca]!.authority] : undefined;
  return callApi({ servers: [{ url }], apiKey: 'all', authorities }, call);
}

const removal: ApiCall = { method: 'DELETE', path: '/api/v1/users/alice' };

describe.runIf(hasOpenssl)('countersign over HTTPS', () => {
  beforeAll(async () => {
    await startWith('good', {});
    await startWith('past', { days: -1 });
    await startWith('elsewhere', { hosts: ['node-9.example.org'], addresses: ['192.0.2.9'] });
    servers.plain = await startApi();
  });
  afterAll(async () => {
    await Promise.all(Object.values(servers).map((server) => server.close()));
    rmSync(directory, { recursive: true, force: true });
  });

  it("asks a node whose certificate is by the cluster's CA", async () => {
    const { authorityFile } = certificates.good!;
    const env = { COUNTERSIGN_SERVER: servers.good!.url, COUNTERSIGN_API_KEY: 'all' };
    const run = await runCountersign(['status', '--cluster-ca', authorityFile], { directory, env });
    expect(run).toMatchObject({ code: 0, stderr: '' });
    expect(run.stdout).toMatch(/^OK/);
  });

  it.each<[string, () => [url: string, ca?: string], string]>([
    [
      'an authority nobody named',
      () => [servers.good!.url],
      "its certificate is by nobody trusted here: give the cluster's CA with --cluster-ca FILE, which is identity/ca.pem of a node",
    ],
    [
      'another authority than the named one',
      () => [servers.good!.url, 'past'],
      "its certificate is by nobody trusted here: give the cluster's CA with --cluster-ca FILE, which is identity/ca.pem of a node",
    ],
    ['the past', () => [servers.past!.url, 'past'], 'its certificate has expired'],
    [
      'another machine',
      () => [servers.elsewhere!.url, 'elsewhere'],
      'its certificate is for other names: DNS:node-9.example.org, IP Address:192.0.2.9',
    ],
    [
      'nobody, since it speaks plain HTTP',
      () => [servers.plain!.url.replace('http:', 'https:'), 'good'],
      'it speaks no TLS there: http://, or another port?',
    ],
  ])('refuses a server with a certificate by or for %s, in one line', async (_, where, why) => {
    const [url, ca] = where();
    const message = `no answer from ${url} (${why})`;
    await expect(ask(url, ca)).rejects.toThrow(new UnansweredError(message, { code: 'no_answer' }));
    // A change says no more: nothing was sent.
    await expect(ask(url, ca, removal)).rejects.toThrow(
      new UnansweredError(message, { code: 'no_answer' }),
    );
    expect(servers.good!.ports.commands).toEqual([]);
  });

  it('says so where plain HTTP is spoken to HTTPS', async () => {
    const { url } = servers.good!;
    const plain = url.replace('https:', 'http:');
    const message = `no answer from ${plain} (it speaks HTTPS: give ${url})`;
    await expect(ask(plain)).rejects.toThrow(new UnansweredError(message, { code: 'no_answer' }));
    await expect(ask(plain, 'good', removal)).rejects.toThrow(
      new UnansweredError(message, { code: 'no_answer' }),
    );
  });

  it('starts no node that would speak plain HTTP to a network', async () => {
    const file = join(directory, 'node.yaml');
    const data = join(directory, 'data');
    const http = { host: '0.0.0.0' };
    writeFileSync(file, JSON.stringify({ name: 'node-1', dataDirectory: data, http }));
    const { code, stderr } = await runCountersign(['node', '--config', file], {
      directory,
      env: {},
    });
    expect(code).toBe(1);
    expect(stderr).toMatch(
      /^countersign: .*node\.yaml: http\.host: 0\.0\.0\.0 is not a loopback .*countersign init.*http\.tls\n$/,
    );
    expect(existsSync(data)).toBe(false);
  });

  it('goes on to the next server after one it does not trust', async () => {
    const both = [{ url: servers.past!.url }, { url: servers.good!.url }];
    const connection = {
      servers: both,
      apiKey: 'all',
      authorities: [certificates.good!.authority],
    };
    await callApi(connection, { method: 'GET', path: '/api/v1/cluster' });
  });
});
