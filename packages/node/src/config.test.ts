import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { INTERMEDIATE } from '@countersign/tls';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { z } from 'zod';

import {
  logServersByDistance,
  nodeConfigSchema,
  ownLogServer,
  parseNodeConfig,
  readNodeConfig,
  writeNodeConfig,
} from './config.ts';
import { NodeError } from './node-error.ts';
import { parseYaml } from './parse-yaml.ts';

const exampleFile = new URL('../../../deploy/countersign.yaml', import.meta.url);
const least = { name: 'node-1', dataDirectory: '/srv/data' };
const servers = ['node-1', 'node-2', 'node-3'].map((name, index) => ({
  name,
  host: '127.0.0.1',
  clientPort: 4222 + index,
  routePort: 6222 + index,
}));

describe('the configuration file', () => {
  it('must be readable by its owner alone where it holds a password', () => {
    const folder = mkdtempSync(join(tmpdir(), 'countersign-config-'));
    try {
      const file = join(folder, 'node.yaml');
      const url = 'postgres://mfa:topsecret@127.0.0.1/countersign?sslmode=disable';
      writeFileSync(file, JSON.stringify({ ...least, database: { url } }), { mode: 0o644 });
      expect(() => readNodeConfig(file)).toThrow(
        `${file} holds the password of database.url: chmod 600 it, or use database.passwordFile`,
      );
      chmodSync(file, 0o600);
      expect(readNodeConfig(file).database?.url).toBe(url);
    } finally {
      rmSync(folder, { recursive: true });
    }
  });

  it('needs a name and a data directory and has a default for the rest', () => {
    expect(parse(least)).toEqual({
      name: 'node-1',
      dataDirectory: '/srv/data',
      file: {
        path: '/etc/countersign/countersign.yaml',
        sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
      },
      keys: {},
      clusterKeyFile: '/srv/data/cluster.key',
      found: false,
      database: null,
      http: {
        host: '127.0.0.1',
        port: 8080,
        tls: null,
        trustedProxies: [],
        monitoringFrom: ['127.0.0.0/8', '::1/128'],
      },
      tls: INTERMEDIATE,
      texts: { gateways: [] },
      nats: null,
      radius: null,
      backup: null,
      workers: 2,
      promotable: true,
      url: null,
      log: { level: 'info' },
      logServers: [{ name: 'node-1', host: '127.0.0.1', clientPort: 4222, routePort: 6222 }],
      limits: {
        changesBytes: 2 * 1024 ** 3,
        statesBytes: 1024 ** 3,
        eventsBytes: 256 * 1024 ** 2,
      },
    });
    expect(complaintAbout({ name: 'node-1' })).toContain('dataDirectory');
    expect(complaintAbout({ dataDirectory: '/srv/data' })).toContain('name');
  });

  it('counts relative paths from its own folder', () => {
    const { dataDirectory, clusterKeyFile, http } = parse({
      ...least,
      dataDirectory: 'data',
      clusterKeyFile: '../key',
      http: { tls: { certificateFile: 'web.pem', keyFile: '/web.key' } },
    });
    expect([dataDirectory, clusterKeyFile]).toEqual(['/etc/countersign/data', '/etc/key']);
    const certificateFile = '/etc/countersign/web.pem';
    expect(http.tls).toEqual({ certificateFile, keyFile: '/web.key' });
  });

  it.each([
    [{ ...least, workerz: 1 }, 'workerz: no such key'],
    [{ ...least, http: { prot: 1 } }, 'http.prot: no such key'],
    [{ ...least, logServers: [{ ...servers[0], x: 1 }] }, 'logServers[0].x: no such key'],
  ])('refuses an unknown key by its name', (config, complaint) => {
    expect(complaintAbout(config)).toBe(`/etc/countersign/countersign.yaml: ${complaint}`);
  });

  it.each([
    ['a name with other characters', { ...least, name: 'Node 1' }, 'name: '],
    ['a host name', { ...least, http: { host: 'localhost' } }, 'http.host: '],
    ['a RADIUS host by name', { ...least, radius: { host: 'radius' } }, 'radius.host: '],
    ['RADIUS nowhere', { ...least, radius: { host: [] } }, 'radius.host: '],
    [
      'one address twice',
      { ...least, radius: { host: ['::1', '::1'] } },
      'radius.host: names an address twice',
    ],
    [
      'one port for all of RADIUS',
      { ...least, radius: { host: '::1', authenticationPort: 1813 } },
      'radius.accountingPort: must not be',
    ],
    ['no workers', { ...least, workers: 0 }, 'workers: '],
    ['too many workers', { ...least, workers: 33 }, 'workers: '],
    ['a watcher that is no address', { ...least, http: { monitoringFrom: ['x'] } }, 'http.monit'],
    ['a proxy that is no address', { ...least, http: { trustedProxies: ['lb'] } }, 'http.trusted'],
    ['an unknown log level', { ...least, log: { level: 'loud' } }, 'log.level: '],
    ['a URL of another kind', { ...least, url: 'ftp://a' }, 'url: '],
    ['a limit in text', { ...least, limits: { statesBytes: '1 GiB' } }, 'limits.statesBytes: '],
    ['a tiny limit', { ...least, limits: { eventsBytes: 1 } }, 'limits.eventsBytes: '],
    ['no log server', { ...least, logServers: [] }, 'logServers: must be 1 to 5'],
    [
      'a log server at no address',
      { ...least, logServers: [{ ...servers[0], host: '10.0.0.256' }] },
      'logServers[0].host: not an address or host name',
    ],
    ['half a certificate', { ...least, http: { tls: { keyFile: 'k' } } }, 'http.tls.certificateFi'],
    ['a policy nobody knows', { ...least, tls: { policy: 'old' } }, 'tls.policy: '],
    [
      'no ciphers of its own',
      { ...least, tls: { policy: 'custom' } },
      'tls: policy "custom" takes',
    ],
    [
      'TLS 1.1',
      {
        ...least,
        tls: { policy: 'custom', ciphers: ['TLS_AES_128_GCM_SHA256'], minVersion: 'TLSv1.1' },
      },
      'tls.minVersion: must be TLSv1.2 or TLSv1.3',
    ],
    [
      'a weak cipher',
      { ...least, tls: { policy: 'custom', ciphers: ['AES128-SHA'] } },
      'tls: AES128-SHA is too weak',
    ],
    [
      'ciphers beside a policy that has its own',
      { ...least, tls: { ciphers: ['TLS_AES_128_GCM_SHA256'] } },
      'tls: minVersion and ciphers count only with policy "custom"',
    ],
    [
      'a log server named twice',
      { ...least, logServers: [servers[0], servers[0], servers[1]] },
      'logServers: names a server twice',
    ],
    [
      'one port for two purposes',
      { ...least, http: { port: 4222 } },
      'logServers: gives node-1 one port',
    ],
  ])('refuses %s', (_, config, complaint) => {
    expect(complaintAbout(config)).toContain(`/etc/countersign/countersign.yaml: ${complaint}`);
  });

  it('is YAML, and so JSON too', () => {
    const yaml = '# a comment\nname: node-1 # another\ndataDirectory: /srv/data\nworkers: 3\n';
    const { file: _yaml, ...fromYaml } = parseNodeConfig(yaml, 'n.yaml');
    const { file: _json, ...fromJson } = parseNodeConfig(
      JSON.stringify({ ...least, workers: 3 }),
      'n',
    );
    expect(fromYaml).toEqual(fromJson);
  });

  it.each([
    ['an open bracket', 'name: [node-1\nurl: postgres://me:topsecret@db/x\n'],
    ['a key twice', 'name: node-1\nname: topsecret\n'],
    ['an alias', 'name: &a topsecret\nurl: *a\n'],
    ['two documents', 'name: node-1\n---\nname: topsecret\n'],
    ['a tab', 'http:\n\thost: topsecret\n'],
  ])('tells in one line where it is not YAML, and repeats nothing of it: %s', (_, text) => {
    const read = () => parseNodeConfig(text, 'n.yaml');
    expect(read).toThrow(NodeError);
    expect(read).toThrow(/^n\.yaml is not YAML: (?!.*topsecret)[^\n]+$/);
  });

  it('knows its own log server and puts it first for clients', () => {
    const config = parse({ ...least, name: 'node-2', logServers: servers });
    expect(ownLogServer(config)?.clientPort).toBe(4223);
    const names = logServersByDistance(config).map(({ name }) => name);
    expect(names).toEqual(['node-2', 'node-1', 'node-3']);
    const client = parse({ ...least, name: 'node-4', logServers: servers });
    expect(ownLogServer(client)).toBeUndefined();
    expect(logServersByDistance(client)).toEqual(servers);
  });
});

describe('the example configuration', () => {
  const text = readFileSync(exampleFile, 'utf8');
  const content = parseYaml(text) as Record<string, unknown>;
  const [inComment = ''] = /^# nats:\n(#.*\n)*/m.exec(text)!;
  const outOfComment = inComment.replaceAll(/^# ?/gm, '');
  const { nats } = parseYaml(outOfComment) as { nats: object };

  it('is accepted', () => {
    expect(parseNodeConfig(text, 'countersign.yaml').name).toBe('node-1');
  });

  it.each([
    ['postgres://me@db.example/main', undefined, 'database.url: needs authorityFile'],
    ['mysql://me@db.example/main', 'ca.pem', 'database.url: '],
  ])('refuses the database %s', (url, authorityFile, why) => {
    expect(() => parse({ ...least, database: { url, authorityFile } })).toThrow(why);
  });

  it('has every key there is and no other', () => {
    const schema = z.toJSONSchema(nodeConfigSchema, { io: 'input', unrepresentable: 'any' });
    expect(keysOf({ ...content, nats }).toSorted()).toEqual(
      keysOfSchema(schema as JsonSchema).toSorted(),
    );
  });

  it('shows a NATS of your own that is accepted in the place of log servers', () => {
    const { logServers: _servers, ...others } = content;
    const config = parse({ ...others, nats });
    expect(config.nats).toEqual(nats);
    expect(config.logServers).toHaveLength(3);
  });

  it('explains every key in a comment', () => {
    const lines = text.replace(inComment, outOfComment).split('\n');
    const obvious = ['keyFile', 'passwordFile', 'http', 'port', 'accountingPort', 'log'];
    const unexplained = lines
      .filter((_, index) => !/^ *#/.test(lines[index - 1] ?? ''))
      .flatMap((line) => /^ *(\w+):/.exec(line)?.[1] ?? []);
    expect(unexplained).toEqual(obvious);
  });

  it('shows the defaults', () => {
    const {
      url: _url,
      keys: _keys,
      database: _database,
      file: _file,
      radius,
      backup,
      logServers: _servers,
      http: { tls: _tls, ...http },
      ...others
    } = parseNodeConfig(text, 'countersign.yaml');
    const shown = { ...others, http };
    const { name, dataDirectory } = shown;
    const defaults = parseNodeConfig(JSON.stringify({ name, dataDirectory }), 'countersign.yaml');
    expect(defaults).toMatchObject(shown);
    const heard = { ...least, radius: { host: radius!.host } };
    expect(parse(heard).radius).toEqual(radius);
    const { directory, recipient } = backup!;
    expect(parse({ ...least, backup: { directory, recipient } }).backup).toEqual(backup);
  });
});

describe('writing a configuration', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('makes a file only its owner can read, which reads back the same', () => {
    const file = join(folder, 'node.yaml');
    writeNodeConfig(file, { ...least, workers: 3 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    const { file: _file, ...written } = readNodeConfig(file);
    expect(parse({ ...least, workers: 3 })).toMatchObject(written);
  });

  it('never writes a wrong one', () => {
    const file = join(folder, 'node.yaml');
    expect(() => writeNodeConfig(file, { ...least, workers: 0 })).toThrow(NodeError);
    expect(() => readNodeConfig(file)).toThrow(/cannot read the configuration .*ENOENT/);
  });
});

function parse(config: object) {
  return parseNodeConfig(JSON.stringify(config), '/etc/countersign/countersign.yaml');
}

function complaintAbout(config: object): string {
  try {
    parse(config);
  } catch (error) {
    if (error instanceof NodeError) return error.message;
    throw error;
  }
  return 'accepted';
}

interface JsonSchema {
  properties?: Record<string, JsonSchema>;
  items?: JsonSchema;
  anyOf?: JsonSchema[];
}

function keysOfSchema({ properties, items, anyOf }: JsonSchema, prefix = ''): string[] {
  if (anyOf) return anyOf.flatMap((one) => keysOfSchema(one, prefix));
  if (items) return keysOfSchema(items, prefix);
  return Object.entries(properties ?? {}).flatMap(([key, schema]) => [
    `${prefix}${key}`,
    ...keysOfSchema(schema, `${prefix}${key}.`),
  ]);
}

function keysOf(value: unknown, prefix = ''): string[] {
  if (Array.isArray(value)) return keysOf(value[0], prefix);
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) => [
    `${prefix}${key}`,
    ...keysOf(inner, `${prefix}${key}.`),
  ]);
}
