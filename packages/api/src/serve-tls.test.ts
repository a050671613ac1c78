import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { mkdir } from 'node:fs/promises';
import { Agent, request, type RequestOptions } from 'node:https';
import { connect as connectPlain, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import { INTERMEDIATE, MODERN, type CertificatePair, type TlsTerms } from '@countersign/tls';
import { hasOpenssl, makeTestCertificate, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { serveCertificate, type ApiTls } from './serve-tls.ts';
import { startApi } from './testing/index.ts';

const patience = { timeoutMs: 10_000 };
const folder = mkdtempSync(join(tmpdir(), 'countersign-tls-'));
let first: Made;
let second: Made;
type Made = { pair: CertificatePair; sha256: string; authority: string };

async function make(name: string): Promise<Made> {
  await mkdir(join(folder, name));
  const made = await makeTestCertificate(join(folder, name));
  const [certificatePem, keyPem] = [made.certificateFile, made.keyFile].map((file) =>
    readFileSync(file, 'utf8'),
  ) as [string, string];
  return { pair: { certificatePem, keyPem }, sha256: made.sha256, authority: made.authority };
}

const start = (terms: TlsTerms, tls: Partial<ApiTls> = {}) =>
  startApi({ tls: { terms, pair: first.pair, ...tls } });

/** Protocol and cipher that were agreed on, or why nothing was. */
function agree(port: number, options: ConnectionOptions): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host: '127.0.0.1', port, ca: first.authority, ...options });
    const end = (how: string) => {
      socket.destroy();
      resolve(how);
    };
    socket.once('secureConnect', () => end(`${socket.getProtocol()} ${socket.getCipher().name}`));
    socket.once('error', (error: Error & { code?: string }) => end(error.code ?? error.message));
  });
}

/** SHA-256 of the certificate shown to a new connection. */
function shownAt(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const ca = [first.authority, second.authority];
    const socket = connect({ host: '127.0.0.1', port, ca }, () => {
      resolve(socket.getPeerCertificate().fingerprint256.replaceAll(':', '').toLowerCase());
      socket.destroy();
    });
    socket.once('error', reject);
  });
}

function get(port: number, options: RequestOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    const { authority } = first;
    const ca = [authority, second.authority];
    const path = '/healthz';
    const sent = request({ host: '127.0.0.1', port, path, ca, ...options }, (reply) => {
      reply.resume();
      reply.once('end', () => resolve(reply.statusCode!));
    });
    sent.once('error', reject);
    sent.end();
  });
}

const closed = (socket: Socket) =>
  new Promise<void>((resolve) => {
    socket.on('error', () => undefined);
    socket.once('close', () => resolve());
    socket.resume();
  });

describe.runIf(hasOpenssl)('the API over TLS', () => {
  beforeAll(async () => {
    [first, second] = await Promise.all([make('first'), make('second')]);
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  // What a client has to allow before it offers such things at all.
  const old = { minVersion: 'TLSv1', ciphers: 'ALL:@SECLEVEL=0' } as const;

  it.each<[string, ConnectionOptions, RegExp]>([
    ['TLS 1.0', { ...old, maxVersion: 'TLSv1' }, /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/],
    ['TLS 1.1', { ...old, maxVersion: 'TLSv1.1' }, /^ERR_SSL_TLSV1_ALERT_PROTOCOL_VERSION$/],
    ['CBC', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-SHA256' }, /HANDSHAKE_FAILURE$/],
    ['CCM', { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-CCM' }, /HANDSHAKE_FAILURE$/],
    [
      'anonymous keys',
      { maxVersion: 'TLSv1.2', ciphers: 'aNULL:@SECLEVEL=0' },
      /HANDSHAKE_FAILURE$|NO_CIPHERS/,
    ],
  ])('refuses %s under the intermediate policy', async (_, offer, refusal) => {
    await using server = await startClosing(INTERMEDIATE);
    expect(await agree(server.port, offer)).toMatch(refusal);
    expect(await agree(server.port, {})).toBe('TLSv1.3 TLS_AES_256_GCM_SHA384');
    expect(await agree(server.port, { maxVersion: 'TLSv1.2' })).toMatch(/^TLSv1.2 ECDHE-ECDSA-AES/);
  });

  it('takes TLS 1.3 alone under the modern policy', async () => {
    await using server = await startClosing(MODERN);
    expect(await agree(server.port, { maxVersion: 'TLSv1.2' })).toMatch(/PROTOCOL_VERSION$/);
    expect(await agree(server.port, {})).toMatch(/^TLSv1.3 /);
  });

  it('takes what a custom policy lists and nothing else', async () => {
    const ciphers = ['ECDHE-ECDSA-AES128-SHA256'];
    await using server = await startClosing({ minVersion: 'TLSv1.2', ciphers });
    expect(await agree(server.port, {})).toBe('TLSv1.2 ECDHE-ECDSA-AES128-SHA256');
    const gcm = { maxVersion: 'TLSv1.2', ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' } as const;
    expect(await agree(server.port, gcm)).toMatch(/HANDSHAKE_FAILURE$/);
    expect(await agree(server.port, { minVersion: 'TLSv1.3' })).toMatch(/PROTOCOL_VERSION$/);
    const only13 = { minVersion: 'TLSv1.2', ciphers: ['TLS_CHACHA20_POLY1305_SHA256'] } as const;
    await using other = await startClosing({ ...only13, ciphers: [...only13.ciphers] });
    expect(await agree(other.port, {})).toBe('TLSv1.3 TLS_CHACHA20_POLY1305_SHA256');
    expect(await agree(other.port, { maxVersion: 'TLSv1.2' })).toMatch(/PROTOCOL_VERSION$/);
  });

  it('negotiates a connection once', async () => {
    await using server = await startClosing(INTERMEDIATE);
    const options = { ca: first.authority, maxVersion: 'TLSv1.2' } as const;
    const socket: TLSSocket = connect({ host: '127.0.0.1', port: server.port, ...options });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    socket.resume();
    const outcome = await new Promise((resolve) => {
      socket.once('error', resolve);
      socket.renegotiate({}, resolve);
    });
    socket.destroy();
    expect(outcome).toMatchObject({ code: 'ERR_SSL_NO_RENEGOTIATION' });
  });

  it('shows a new certificate to new connections and loses no request meanwhile', async () => {
    await using server = await startClosing(INTERMEDIATE);
    const agent = new Agent({ keepAlive: true, maxSockets: 4 });
    const stopped = new AbortController();
    onTestFinished(() => stopped.abort());
    const seen: unknown[] = [];
    const client = async (options: RequestOptions) => {
      while (!stopped.signal.aborted) {
        seen.push(await get(server.port, options).catch((error: unknown) => error));
      }
    };
    // Some keep their connection, some begin anew each time.
    const clients = [client({ agent }), client({ agent }), client({ agent: false })];
    await waitFor('requests', () => seen.length > 20, patience);
    expect(await shownAt(server.port)).toBe(first.sha256);
    for (const { pair } of [second, first, second]) {
      const before = seen.length;
      serveCertificate(server.api, { terms: INTERMEDIATE, pair });
      await waitFor('more requests', () => seen.length > before + 20, patience);
    }
    expect(await shownAt(server.port)).toBe(second.sha256);
    stopped.abort();
    await Promise.all(clients);
    agent.destroy();
    expect(seen.filter((outcome) => outcome !== 200)).toEqual([]);
  });

  it('ends handshakes that are not finished in time, also half of one', async () => {
    await using server = await startClosing(INTERMEDIATE, { handshakeTimeoutMs: 300 });
    const silent = connectPlain(server.port, '127.0.0.1');
    const half = connectPlain(server.port, '127.0.0.1');
    // A record of a handshake that says 512 bytes follow.
    half.write(Buffer.from([22, 3, 1, 2, 0, 1]));
    const began = performance.now();
    await Promise.all([closed(silent), closed(half)]);
    // Without that bound of its own it would be 5 s.
    expect(performance.now() - began).toBeLessThan(4_500);
  });

  it('ends connections that ask nothing after the handshake', async () => {
    const tls = { terms: INTERMEDIATE, pair: first.pair };
    const server = await startApi({ tls, requestTimeoutMs: 300 });
    const socket = connect({ host: '127.0.0.1', port: server.port, ca: first.authority });
    await new Promise((resolve) => socket.once('secureConnect', resolve));
    const began = performance.now();
    await closed(socket);
    // Without that bound of its own it would be 10 s.
    expect(performance.now() - began).toBeLessThan(8_000);
    await server.close();
  });

  it('lets clients in while strangers hold more handshakes open than it keeps', async () => {
    const bounds = { handshakeTimeoutMs: 60_000, maxHandshakes: 8 };
    await using server = await startClosing(INTERMEDIATE, bounds);
    const strangers: Socket[] = [];
    let ended = 0;
    for (let i = 0; i < 40; i += 1) {
      const socket = connectPlain(server.port, '127.0.0.1');
      void closed(socket).then(() => (ended += 1));
      strangers.push(socket);
    }
    await waitFor('the oldest to be ended', () => ended >= 32, patience);
    expect(await get(server.port, { agent: false })).toBe(200);
    expect(ended).toBeLessThanOrEqual(33);
    for (const socket of strangers) socket.destroy();
  });

  it('closes on plain HTTP', async () => {
    await using server = await startClosing(INTERMEDIATE);
    const socket = connectPlain(server.port, '127.0.0.1');
    let received = '';
    socket.on('data', (data) => (received += data.toString('latin1')));
    socket.write('GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n');
    await closed(socket);
    expect(received).not.toContain('HTTP');
  });

  async function startClosing(terms: TlsTerms, tls?: Partial<ApiTls>) {
    const server = await start(terms, tls);
    return { ...server, [Symbol.asyncDispose]: async () => server.close() };
  }
});
