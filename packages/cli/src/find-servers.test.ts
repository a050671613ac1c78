import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
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
    expect(findServers({ server: 'http://a:1, http://b:2/', apiKey: 'k' }, env, directory)).toEqual(
      { servers: [{ url: 'http://a:1' }, { url: 'http://b:2' }], apiKey: 'k' },
    );
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
    expect(findServers({ server: 'http://a:1', apiKeyFile }, {}, directory).apiKey).toBe(
      'from-file',
    );
    expect(() =>
      findServers({ server: 'http://a:1', apiKeyFile: `${apiKeyFile}-not` }, {}, directory),
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

  it('says what is missing', () => {
    expect(() => findServers({}, {}, join(directory, 'empty'))).toThrow('no server to ask');
    expect(() => findServers({ server: 'http://a:1' }, {}, directory)).toThrow('API key is needed');
    expect(() => findServers({ server: 'ftp://a' }, {}, directory)).toThrow('not an http(s)');
  });
});
