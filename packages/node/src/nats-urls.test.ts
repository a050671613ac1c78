import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createTestCluster } from '@countersign/identity/testing';
import { createClusterKeyFile, readKeyRing } from '@countersign/keys';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { checkExposure } from './check-exposure.ts';
import { parseNodeConfig } from './config.ts';
import { readLogAccess } from './log-access.ts';
import { describeNatsAccount } from './nats-accounts.ts';
import { natsAddresses } from './nats-urls.ts';
import { operatorsLayout, refuseOtherLog } from './operators-nats.ts';

let folder: string;
beforeAll(() => (folder = mkdtempSync(join(tmpdir(), 'countersign-nats-urls-'))));
afterAll(() => rmSync(folder, { recursive: true }));

const far = ['tls://nats-1.example.org', 'tls://nats-2.example.org:4333'];
const parse = (nats: object, more: object = {}) =>
  parseNodeConfig(JSON.stringify({ name: 'node-1', dataDirectory: folder, nats, ...more }), 'f');

it('takes servers with TLS, in their order, and files from the folder of the configuration', () => {
  const config = parse({ urls: far, authorityFile: '/ca.pem' });
  expect(config.logServers.map(({ name }) => name)).toEqual([
    'nats-1.example.org:4222',
    'nats-2.example.org:4333',
  ]);
  expect(config.nats?.authorityFile).toBe('/ca.pem');
  expect(natsAddresses(['nats://[::1]:4222'])).toMatchObject([{ name: '[::1]:4222', host: '::1' }]);
});

it.each([
  [{ urls: far }, 'nats.urls: needs authorityFile'],
  [{ urls: ['nats://192.0.2.1'] }, 'nats.urls: nats:// is for loopback only'],
  [{ urls: ['nats://localhost'] }, 'nats.urls: nats:// is for loopback only'],
  [{ urls: ['nats://127.0.0.1'], authorityFile: 'a' }, 'must begin with tls://'],
  [{ urls: ['tls://me:secret@a'], authorityFile: 'a' }, 'must not hold a user or password'],
  [{ urls: ['tls://a/b'], authorityFile: 'a' }, 'must be tls://HOST[:PORT]'],
  [{ urls: ['tls://a', 'tls://a:4222'], authorityFile: 'a' }, 'names a server twice'],
  [{ urls: ['tls://a', 'nats://127.0.0.1'], authorityFile: 'a' }, 'must all begin with tls://'],
  [{ urls: ['http://a'] }, 'nats.urls[0]: not nats:// or tls://'],
  [{ urls: ['nats://127.0.0.1'], user: 'me' }, 'needs user and passwordFile both'],
  [{ urls: ['tls://a'], authorityFile: 'a', keyFile: 'k' }, 'needs certificateFile and keyFile'],
  [{ urls: [] }, 'nats.urls'],
])('refuses %j', (nats, why) => {
  expect(() => parse(nats)).toThrow(why);
});

it('refuses log servers of the nodes beside it', () => {
  const logServers = [{ name: 'node-1', host: '127.0.0.1', clientPort: 1, routePort: 2 }];
  expect(() => parse({ urls: ['nats://127.0.0.1'] }, { logServers })).toThrow(
    'logServers: counts only where the nodes run the log servers',
  );
});

it('stays on loopback without an identity, and has no password with one', async () => {
  const tls = parse({ urls: far, authorityFile: '/ca.pem' });
  expect(() => checkExposure(tls, 'f')).toThrow(/nats.urls: nats-1.example.org is not a loopback/);
  const passwordFile = join(folder, 'password');
  writeFileSync(passwordFile, 'secret\n');
  const open = { urls: ['nats://127.0.0.1'], user: 'me', passwordFile };
  expect(() => checkExposure(parse(open), 'f')).not.toThrow();
  const keyFile = join(folder, 'cluster.key');
  createClusterKeyFile(keyFile);
  const about = { nodeName: 'node-1', clusterKey: (await readKeyRing(keyFile, null)).ring };
  const dataDirectory = join(folder, 'open');
  const access = readLogAccess({ ...about, dataDirectory, nats: parse(open).nats });
  expect(access.agent).toMatchObject({ user: 'me', password: 'secret' });
  expect(access.agent.streamsOf).toMatch(/^open-[0-9a-f]{16}$/);

  const secured = join(folder, 'secured');
  const { members } = await createTestCluster([
    { name: 'node-1', folder: join(secured, 'identity') },
    { name: 'node-2', folder: join(folder, 'other', 'identity') },
    { name: 'witness', role: 'witness', folder: join(folder, 'witness', 'identity') },
  ]);
  const more = { dataDirectory: secured };
  expect(() => checkExposure(parse(open, more), 'f')).toThrow('nats.user: counts only on a node');
  const config = parse({ urls: far, authorityFile: '/ca.pem' }, more);
  expect(() => checkExposure(config, 'f')).not.toThrow();
  const own = readLogAccess({ ...about, dataDirectory: secured, nats: config.nats });
  const tlsOnly = { authorityFile: '/ca.pem' };
  expect(own.agent).toMatchObject({ tls: tlsOnly, streamsOf: members.clusterId });
  expect(own.worker).toMatchObject({ tls: tlsOnly, inboxPrefix: '_INBOX.node-1.worker' });

  // What the operator enters: two keys of each node, no witness, nothing of a supervisor.
  const configFile = join(secured, 'node.yaml');
  const nats = { urls: far, authorityFile: '/ca.pem' };
  writeFileSync(configFile, JSON.stringify({ name: 'node-1', dataDirectory: secured, nats }));
  const account = describeNatsAccount(configFile);
  const nkeys = [...account.matchAll(/nkey: (U\w+)/g)].map(([, key]) => key);
  const nodes = members.members.filter(({ role }) => role === 'node');
  expect(nkeys).toEqual(nodes.flatMap(({ agentKey, workerKey }) => [agentKey, workerKey]));
  expect(account.match(/"change\.>"/g)).toHaveLength(nodes.length);
});

it('says why there are no accounts to enter without an identity', () => {
  const configFile = join(folder, 'open.json');
  const nats = { urls: ['nats://127.0.0.1'] };
  writeFileSync(configFile, JSON.stringify({ name: 'node-1', dataDirectory: folder, nats }));
  expect(() => describeNatsAccount(configFile)).toThrow('has no identity');
});

it('never takes a log from servers of the nodes to a NATS of the operator, or back', () => {
  const file = { path: '/etc/countersign.yaml', sha256: '' };
  const own = parse({ urls: ['nats://127.0.0.1'] });
  const { layout } = operatorsLayout(own);
  const inNodes = { tag: '1' };
  expect(() => refuseOtherLog({ nats: own.nats, file }, layout)).not.toThrow();
  expect(() => refuseOtherLog({ nats: null, file }, inNodes)).not.toThrow();
  expect(() => refuseOtherLog({ nats: own.nats, file }, inNodes)).toThrow(
    '/etc/countersign.yaml has nats.urls, and the log of this cluster is on servers that its nodes run: ' +
      'to change that, make a backup and restore it into a new cluster',
  );
  expect(() => refuseOtherLog({ nats: null, file }, layout)).toThrow(
    '/etc/countersign.yaml has no nats',
  );
});
