import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterEach, beforeEach, describe, expect, it } from 'vitest';

import { checkExposure } from './check-exposure.ts';
import { parseNodeConfig, type NodeConfigInput } from './config.ts';
import { NodeError } from './node-error.ts';

const own = { certificateFile: 'web.pem', keyFile: 'web.key' };
const logServer = { name: 'node-1', host: '10.0.0.1', clientPort: 4222, routePort: 6222 };

describe('what a node may be reached at', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'countersign-exposure-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  function check(config: Partial<NodeConfigInput>): void {
    const text = JSON.stringify({ name: 'node-1', dataDirectory: folder, ...config });
    checkExposure(parseNodeConfig(text, join(folder, 'node.yaml')), 'node.yaml');
  }

  it.each<[string, Partial<NodeConfigInput>]>([
    ['the API', { http: { host: '10.0.0.1' } }],
    ['the API at all addresses', { http: { host: '0.0.0.0' } }],
    ['a log server', { logServers: [logServer] }],
    ['a log server by name', { logServers: [{ ...logServer, host: 'node-1.example.org' }] }],
    ['a log server, whatever the certificate', { logServers: [logServer], http: { tls: own } }],
  ])('%s stays on loopback without an identity, and is told how to get one', (_, config) => {
    expect(() => check(config)).toThrow(NodeError);
    expect(() => check(config)).toThrow(
      /^node\.yaml: (http|logServers\[0\])\.host: \S+ is not a loopback .*countersign init.*join/,
    );
    mkdirSync(join(folder, 'identity'));
    expect(() => check(config)).not.toThrow();
  });

  it("the API may be anywhere with the operator's own certificate", () => {
    expect(() => check({ http: { host: '10.0.0.1' } })).toThrow(
      'certificate of your own in http.tls',
    );
    expect(() => check({ http: { host: '10.0.0.1', tls: own } })).not.toThrow();
    expect(() => check({ http: { host: '::', tls: own } })).not.toThrow();
  });

  it.each(['0.0.0.0', '::'])('no log server is at %s, where nobody else could find it', (host) => {
    mkdirSync(join(folder, 'identity'));
    expect(() => check({ logServers: [{ ...logServer, host }] })).toThrow(
      'logServers[0].host: give',
    );
  });

  it('an address for people is https where nothing else is spoken', () => {
    const url = 'http://node-1.example.org:8080';
    expect(() => check({ url })).not.toThrow();
    expect(() => check({ url, http: { tls: own } })).toThrow(
      'node.yaml: url: must begin with https://',
    );
    mkdirSync(join(folder, 'identity'));
    expect(() => check({ url })).toThrow('url: ');
    expect(() => check({ url: 'https://node-1.example.org:8080' })).not.toThrow();
  });
});
