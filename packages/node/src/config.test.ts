import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

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
import { stripJsonComments } from './strip-json-comments.ts';

const exampleFile = new URL('../../../deploy/node.example.jsonc', import.meta.url);
const least = { name: 'node-1', dataDirectory: '/srv/data' };
const servers = ['node-1', 'node-2', 'node-3'].map((name, index) => ({
  name,
  host: '127.0.0.1',
  clientPort: 4222 + index,
  routePort: 6222 + index,
}));

describe('the configuration file', () => {
  it('needs a name and a data directory and has a default for the rest', () => {
    expect(parse(least)).toEqual({
      name: 'node-1',
      dataDirectory: '/srv/data',
      clusterKeyFile: '/srv/data/cluster.key',
      found: false,
      http: { host: '127.0.0.1', port: 8080, trustedProxies: [] },
      texts: { gateways: [] },
      radius: null,
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
    const { dataDirectory, clusterKeyFile } = parse({
      ...least,
      dataDirectory: 'data',
      clusterKeyFile: '../key',
    });
    expect([dataDirectory, clusterKeyFile]).toEqual(['/etc/countersign/data', '/etc/key']);
  });

  it.each([
    [{ ...least, workerz: 1 }, 'workerz: no such key'],
    [{ ...least, http: { prot: 1 } }, 'http.prot: no such key'],
    [{ ...least, logServers: [{ ...servers[0], x: 1 }] }, 'logServers[0].x: no such key'],
  ])('refuses an unknown key by its name', (config, complaint) => {
    expect(complaintAbout(config)).toBe(`/etc/countersign/node.jsonc: ${complaint}`);
  });

  it.each([
    ['a name with other characters', { ...least, name: 'Node 1' }, 'name: '],
    ['an address others can reach', { ...least, http: { host: '0.0.0.0' } }, 'http.host: '],
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
    ['a proxy that is no address', { ...least, http: { trustedProxies: ['lb'] } }, 'http.trusted'],
    ['an unknown log level', { ...least, log: { level: 'loud' } }, 'log.level: '],
    ['a URL of another kind', { ...least, url: 'ftp://a' }, 'url: '],
    ['a limit in text', { ...least, limits: { statesBytes: '1 GiB' } }, 'limits.statesBytes: '],
    ['a tiny limit', { ...least, limits: { eventsBytes: 1 } }, 'limits.eventsBytes: '],
    ['two log servers', { ...least, logServers: servers.slice(0, 2) }, 'logServers: must be 1, 3'],
    ['no log server', { ...least, logServers: [] }, 'logServers: must be 1, 3'],
    [
      'a log server others can reach',
      { ...least, logServers: [{ ...servers[0], host: '10.0.0.1' }] },
      'logServers[0].host: ',
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
    expect(complaintAbout(config)).toContain(`/etc/countersign/node.jsonc: ${complaint}`);
  });

  it('tells in one line where it is not JSON', () => {
    const text = '{ // a comment\n  "name":\n nothing }';
    expect(() => parseNodeConfig(text, 'n.json')).toThrow(/^n\.json is not JSON: .*nothing.*$/);
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
  const content = JSON.parse(stripJsonComments(text)) as unknown;

  it('is accepted', () => {
    expect(parseNodeConfig(text, 'node.jsonc').name).toBe('node-1');
  });

  it('has every key there is and no other', () => {
    const schema = z.toJSONSchema(nodeConfigSchema, { io: 'input', unrepresentable: 'any' });
    expect(keysOf(content).toSorted()).toEqual(keysOfSchema(schema as JsonSchema).toSorted());
  });

  it('explains every key in a comment', () => {
    const lines = text.split('\n');
    const obvious = ['http', 'port', 'accountingPort', 'log'];
    const unexplained = lines
      .filter((_, index) => !lines[index - 1]?.trim().startsWith('//'))
      .flatMap((line) => /^\s*"(\w+)":/.exec(line)?.[1] ?? []);
    expect(unexplained).toEqual(obvious);
  });

  it('shows the defaults', () => {
    const {
      url: _url,
      radius,
      logServers: _servers,
      ...shown
    } = parseNodeConfig(text, 'node.jsonc');
    const { name, dataDirectory } = shown;
    const defaults = parseNodeConfig(JSON.stringify({ name, dataDirectory }), 'node.jsonc');
    expect(defaults).toMatchObject(shown);
    const heard = { ...least, radius: { host: radius!.host } };
    expect(parse(heard).radius).toEqual(radius);
  });
});

describe('writing a configuration', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'cs-config-'));
  });
  afterEach(() => rmSync(folder, { recursive: true }));

  it('makes a file only its owner can read, which reads back the same', () => {
    const file = join(folder, 'node.json');
    writeNodeConfig(file, { ...least, workers: 3 });
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect(readNodeConfig(file)).toEqual(parse({ ...least, workers: 3 }));
  });

  it('never writes a wrong one', () => {
    const file = join(folder, 'node.json');
    expect(() => writeNodeConfig(file, { ...least, workers: 0 })).toThrow(NodeError);
    expect(() => readNodeConfig(file)).toThrow(/cannot read the configuration .*ENOENT/);
  });
});

function parse(config: object) {
  return parseNodeConfig(JSON.stringify(config), '/etc/countersign/node.jsonc');
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
