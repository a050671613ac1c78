import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { getCACertificates } from 'node:tls';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { findServers } from './find-servers.ts';

let directory: string;
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'countersign-cli-'));
});
afterAll(() => rmSync(directory, { recursive: true }));

describe('findServers', () => {
  it('takes options before the environment, and that before a socket', () => {
    const env = {
      COUNTERSIGN_SERVER: 'https://env:1',
      COUNTERSIGN_API_KEY: 'env-key',
      COUNTERSIGN_SOCKET: '/run/x.sock',
    };
    expect(
      findServers({ server: 'http://127.0.0.1:1, https://b:2/', apiKey: 'k' }, env, directory),
    ).toEqual({ servers: [{ url: 'http://127.0.0.1:1' }, { url: 'https://b:2' }], apiKey: 'k' });
    expect(findServers({}, env, directory)).toEqual({
      servers: [{ url: 'https://env:1' }],
      apiKey: 'env-key',
    });
    expect(findServers({}, { COUNTERSIGN_SOCKET: '/run/x.sock' }, directory)).toEqual({
      servers: [{ socketPath: '/run/x.sock' }],
      apiKey: null,
    });
  });

  it('reads the key from a file', () => {
    const apiKeyFile = join(directory, 'key');
    writeFileSync(apiKeyFile, 'from-file\n');
    expect(findServers({ server: 'https://a:1', apiKeyFile }, {}, directory).apiKey).toBe(
      'from-file',
    );
    expect(() =>
      findServers({ server: 'https://a:1', apiKeyFile: `${apiKeyFile}-not` }, {}, directory),
    ).toThrow('cannot read the API key');
  });

  it('finds the demo that runs in this directory', () => {
    mkdirSync(join(directory, 'demo-data'));
    const nodes = [{ url: 'http://127.0.0.1:8080' }, { url: 'http://127.0.0.1:8081' }];
    const file = join(directory, 'demo-data', 'demo.json');
    writeFileSync(file, JSON.stringify({ apiKey: 'demo-key', nodes }));
    expect(findServers({}, {}, directory)).toEqual({ servers: nodes, apiKey: 'demo-key' });
    writeFileSync(file, '{');
    expect(() => findServers({}, {}, directory)).toThrow('not the file of a running demo');
  });

  it.each(['http://127.0.0.1:8080', 'http://127.1.2.3', 'http://[::1]:8080', 'http://localhost'])(
    'sends a key in plain HTTP to %s, which is here',
    (server) => {
      expect(findServers({ server, apiKey: 'k' }, {}, directory).servers).toEqual([
        { url: server },
      ]);
    },
  );

  it.each([
    'http://10.0.0.1',
    'http://mfa.example.org:8080',
    'http://localhost.example.org',
    'http://[::2]',
  ])('sends no key in plain HTTP to %s', (server) => {
    expect(() => findServers({ server, apiKey: 'k' }, {}, directory)).toThrow(
      `${server}: http:// is for this machine alone, others could read the API key on its way: give https://`,
    );
  });

  it('believes the authority that is named, or that the node of the socket knows', () => {
    const server = 'https://a:1';
    const pem = getCACertificates('bundled')[0]!;
    const ca = join(directory, 'named.pem');
    writeFileSync(ca, pem);
    const authorities = (options: object, env = {}) =>
      findServers({ server, apiKey: 'k', ...options }, env, directory).authorities;
    expect(authorities({})).toBeUndefined();
    expect(authorities({ clusterCa: ca })).toEqual([pem]);
    expect(authorities({}, { COUNTERSIGN_CLUSTER_CA: ca })).toEqual([pem]);
    mkdirSync(join(directory, 'identity'));
    writeFileSync(join(directory, 'identity', 'ca.pem'), pem);
    const env = { COUNTERSIGN_SOCKET: join(directory, 'countersign.sock') };
    expect(authorities({}, env)).toEqual([...getCACertificates('default'), pem]);
    writeFileSync(ca, 'x');
    expect(() => authorities({ clusterCa: ca })).toThrow(`from ${ca} (no certificate in PEM)`);
    expect(() => authorities({ clusterCa: `${ca}-not` })).toThrow(`from ${ca}-not (ENOENT)`);
  });

  it('says what is missing', () => {
    expect(() => findServers({}, {}, join(directory, 'empty'))).toThrow('no server to ask');
    expect(() => findServers({ server: 'https://a:1' }, {}, directory)).toThrow(
      'API key is needed',
    );
    expect(() => findServers({ server: 'ftp://a' }, {}, directory)).toThrow('not an http(s)');
  });
});
