import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { readIdentity } from '@countersign/identity';
import { createClusterKeyFile, deriveKeys, open, readClusterKey } from '@countersign/keys';
import type { Founding } from '@countersign/replication-agent';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { readNodeConfig } from './config.ts';
import { foundCluster } from './found-cluster.ts';
import { foundingFileOf, NodeIdentity } from './node-identity.ts';
import { refuseHalfDone } from './prepare-membership.ts';
import { openSupervisorEvents } from './supervisor-events.ts';

let base: string;
let data: string;
let identity: string;
let configFile: string;
beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'countersign-init-'));
  data = join(base, 'data of node 1');
  identity = join(data, 'identity');
  configFile = join(base, 'etc', 'countersign.yaml');
});
afterEach(() => rmSync(base, { recursive: true, force: true }));

const found = (change: object = {}) =>
  foundCluster({
    configFile,
    name: 'node-1',
    hosts: ['192.0.2.1', 'mfa.example.com'],
    dataDirectory: data,
    httpPort: 8443,
    nats: null,
    ...change,
  });

it('makes a key, a CA and a first member, and a configuration that starts as it is', async () => {
  const { clusterId, isConfigNew } = await found();

  expect(isConfigNew).toBe(true);
  const config = readNodeConfig(configFile);
  expect(config).toMatchObject({
    name: 'node-1',
    dataDirectory: data,
    http: { host: '0.0.0.0', port: 8443 },
    logServers: [{ name: 'node-1', host: '192.0.2.1' }],
  });
  const made = readIdentity(identity)!;
  expect(made).toMatchObject({ clusterId, nodeName: 'node-1', members: { version: 1 } });
  expect(made.members.members[0]).toMatchObject({ hosts: ['192.0.2.1', 'mfa.example.com'] });
  mkdirSync(join(data, 'logs'));
  const { founding } = NodeIdentity.open(config, openSupervisorEvents(config))!.handOver();
  expect(founding?.members).toEqual(made.members);
});

it("keeps the CA's key sealed under the cluster key, and nowhere else", async () => {
  const { clusterId } = await found();
  const file = foundingFileOf(identity);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  const { authority } = JSON.parse(readFileSync(file, 'utf8')) as Founding;
  const key = deriveKeys(readClusterKey(join(data, 'cluster.key')), ['authority']).authority;
  const sealed = Buffer.from(authority.sealedKey, 'base64');
  expect(open(key, sealed, `authority/${clusterId}`).toString()).toContain('BEGIN PRIVATE KEY');
  expect(readFileSync(file, 'utf8')).not.toContain('PRIVATE KEY');
});

it('is refused on a node that is a member, and changes nothing of it', async () => {
  await found();
  const before = readFileSync(join(identity, 'members.json'), 'utf8');
  await expect(found()).rejects.toThrow(/is node-1 of the cluster \w{20} already/);
  expect(readFileSync(join(identity, 'members.json'), 'utf8')).toBe(before);
});

it('goes on where it was interrupted, and a node does not start in between', async () => {
  mkdirSync(`${identity}.founding`, { recursive: true });
  writeFileSync(join(`${identity}.founding`, 'node.key'), 'half a key');
  const key = createClusterKeyFile(join(data, 'cluster.key'));
  expect(() => refuseHalfDone(data)).toThrow(/init was interrupted here: run it again/);

  const { clusterId } = await found();
  expect(readIdentity(identity)?.clusterId).toBe(clusterId);
  expect(existsSync(`${identity}.founding`)).toBe(false);
  expect(readClusterKey(join(data, 'cluster.key'))).toEqual(key);
  expect(() => refuseHalfDone(data)).not.toThrow();
});

it('is refused where an open node has its data, or a join was begun', async () => {
  mkdirSync(join(data, 'postgres'), { recursive: true });
  await expect(found()).rejects.toThrow('holds the data of a node already (postgres)');
  rmSync(join(data, 'postgres'), { recursive: true });
  mkdirSync(`${identity}.joining`);
  await expect(found()).rejects.toThrow('countersign join was interrupted here');
  expect(existsSync(join(data, 'cluster.key'))).toBe(false);
});

it('takes the configuration that is there, if it is of this node', async () => {
  mkdirSync(join(base, 'etc'));
  const text = JSON.stringify({ name: 'node-1', dataDirectory: '../elsewhere', workers: 4 });
  writeFileSync(configFile, text);
  expect(await found()).toMatchObject({
    isConfigNew: false,
    dataDirectory: join(base, 'elsewhere'),
  });
  expect(readFileSync(configFile, 'utf8')).toBe(text);
  expect(existsSync(data)).toBe(false);
  await expect(found({ name: 'node-2' })).rejects.toThrow('is the configuration of node-1');
});

it('is refused under a name that leads back to this machine', async () => {
  // A name that needs no server to be looked up: Linux reads it as 127.0.0.1.
  await expect(found({ hosts: ['0x7f.1'] })).rejects.toThrow(/no other machine reaches it/);
  expect(existsSync(identity)).toBe(false);
});

it.each([
  ['a name that is none', { name: 'Node_1' }],
  ['a wildcard', { hosts: ['*.example.com'] }],
  ['an address that is none', { hosts: ['192.0.2'] }],
])('is refused with %s', async (_, change) => {
  await expect(found(change)).rejects.toThrow();
  expect(existsSync(identity)).toBe(false);
});
