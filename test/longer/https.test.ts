import { renameSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, getCACertificates, setDefaultCACertificates } from 'node:tls';
import { setTimeout as sleep } from 'node:timers/promises';
import { createTestCluster } from '@countersign/identity/testing';
import { waitFor } from '@countersign/testing';
import { Agent } from 'undici';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { freshConnections } from '../harness/api-client.ts';
import { TestCluster, type TestNode } from '../harness/cluster.ts';
import { report } from '../harness/report.ts';

const DAY_MS = 86_400_000;
/** Long enough to be seen before it ends. */
const BRIEF_MS = 30_000;
const soon = { timeoutMs: 30_000, everyMs: 100 };
const trusted = [...getCACertificates('default')];
// Of what has expired only the text is wanted.
const anyCertificate = new Agent({ connect: { rejectUnauthorized: false }, pipelining: 0 });

let scratch: string;
let cluster: TestCluster;
let node: TestNode;
let shown: string;

/** A pair by an authority of its own, which this process trusts from now on. */
async function makePair(
  name: string,
  lifeMs: number,
): Promise<{ certificate: string; key: string }> {
  const folder = join(scratch, name);
  const { authority, identities } = await createTestCluster([{ name: 'node-1', folder, lifeMs }]);
  trusted.push(authority.certificatePem);
  setDefaultCACertificates(trusted);
  return { certificate: identities[0]!.certificatePem, key: identities[0]!.keyPem };
}

function put(folder: string, pair: { certificate: string; key: string }): void {
  for (const [file, pem] of [
    ['web.pem', pair.certificate],
    ['web.key', pair.key],
  ] as const) {
    writeFileSync(join(folder, `${file}.new`), pem, { mode: 0o600 });
    renameSync(join(folder, `${file}.new`), join(folder, file));
  }
}

function serialShown(): Promise<string> {
  return new Promise((resolve, reject) => {
    const port = Number(new URL(node.url).port);
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false }, () => {
      resolve(socket.getPeerCertificate().serialNumber);
      socket.destroy();
    });
    socket.setTimeout(10_000, () => socket.destroy(new Error('no handshake')));
    socket.once('error', reject);
  });
}

/** What status says of the certificate. */
async function problem(): Promise<string | null> {
  const view = await cluster.api(node, anyCertificate).cluster();
  return view.nodes[0]!.problems.find((line) => line.includes('web.pem')) ?? null;
}

beforeAll(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'countersign-https-'));
  const first = await makePair('first', DAY_MS);
  cluster = await TestCluster.start({
    nodes: 1,
    workers: 2,
    isHttps: true,
    prepare: (folder) => put(folder, first),
    configure: (config) => ({
      ...config,
      http: { ...config.http, tls: { certificateFile: 'web.pem', keyFile: 'web.key' } },
    }),
  });
  node = cluster.nodes[0]!;
  shown = await serialShown();
});
afterAll(async () => {
  await cluster?.[Symbol.asyncDispose]();
  await rm(scratch, { recursive: true, force: true });
});

describe('a node with a certificate of its own', () => {
  it('shows a new one from all its workers without losing a request', async () => {
    await cluster.api(node).done('POST', '/api/v1/users', { username: 'alice' });
    const api = cluster.api(node, freshConnections);
    const stopped = new AbortController();
    const failures: unknown[] = [];
    let answered = 0;
    const client = async () => {
      while (!stopped.signal.aborted) {
        await api
          .done('GET', '/api/v1/users/alice')
          .then(() => (answered += 1))
          .catch((error: unknown) => failures.push(error));
        await sleep(5);
      }
    };
    const clients = [client(), client(), client()];
    put(node.folder, await makePair('second', DAY_MS));
    // Both workers: the kernel spreads connections.
    let inARow = 0;
    await waitFor(
      'the new certificate',
      async () => {
        inARow = (await serialShown()) === shown ? 0 : inARow + 1;
        return inARow >= 20;
      },
      soon,
    );
    shown = await serialShown();
    const before = answered;
    await waitFor('more answers', () => answered > before + 50, soon);
    stopped.abort();
    await Promise.all(clients);
    report('https, certificate replaced', { answered, failures: failures.length });
    expect(failures).toEqual([]);
  });

  it('keeps it over a broken pair, and status says so until that is mended', async () => {
    expect(await problem()).toBeNull();
    writeFileSync(join(node.folder, 'web.pem'), '-----BEGIN CERTIFICATE-----');
    expect(await waitFor('the complaint', problem, soon)).toMatch(
      /web\.pem is not taken: no certificate in PEM; the one before it, until /,
    );
    expect(await serialShown()).toBe(shown);
    // A worker that dies meanwhile comes back with it too.
    const before = node.pids.workerPids;
    process.kill(before[0]!, 'SIGKILL');
    await waitFor('another worker', () => !node.pids.workerPids.includes(before[0]!), soon);
    await waitFor('both workers', () => node.pids.workerPids.length === 2, soon);
    for (let i = 0; i < 20; i += 1) expect(await serialShown()).toBe(shown);
  });

  it('tells its end in status and metrics before and after, until it is replaced', async () => {
    put(node.folder, await makePair('brief', BRIEF_MS));
    await waitFor('the new certificate', async () => (await serialShown()) !== shown, soon);
    const warning = /^its HTTPS certificate \S+web\.pem expires in less than 2 hours \(/;
    for (const said of [warning, /^its HTTPS certificate \S+web\.pem has expired \(/]) {
      await waitFor(String(said), async () => said.test((await problem()) ?? ''), {
        ...soon,
        timeoutMs: 2 * BRIEF_MS,
      });
    }
    await expect(cluster.api(node, freshConnections).cluster()).rejects.toThrow('expired');
    const metrics = await fetchMetrics();
    expect(metrics).toMatch(
      /countersign_certificate_expires_seconds\{certificate="https",.*\} -\d/,
    );
    put(node.folder, await makePair('last', DAY_MS));
    await waitFor('its successor', async () => (await problem()) === null, soon);
    expect(node.log('supervisor')).toContain('HTTPS shows another certificate');
  });
});

async function fetchMetrics(): Promise<string> {
  const { statusCode, body } = await anyCertificate.request({
    origin: node.url,
    path: '/metrics',
    method: 'GET',
    headers: { authorization: `Bearer ${cluster.apiKey}` },
  });
  expect(statusCode).toBe(200);
  return body.text();
}
