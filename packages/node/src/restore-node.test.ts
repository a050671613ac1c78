import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';

import { makeExampleBackup } from '@countersign/backup/testing';
import { readIdentity } from '@countersign/identity';
import { readKeyRing, sealedUnder } from '@countersign/keys';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';

import { writeNodeConfig, type NodeConfigInput } from './config.ts';
import { readLayoutFile } from './layout-file.ts';
import { restoreNode } from './restore-node.ts';
import { runNode } from './run-node.ts';

const identity = 'AGE-SECRET-KEY-19F6GUPCSHS2NLAQT9NA5Y08FY57ZRJ2P5XSVMKMRGVAF4WVEQNTQMK5Z50';
const recipient = 'age1ll3vs43tjvcyretpgyjj6e8d3rwwpkeqcfte5c3fy4nnj3c9qcaqeumtl4';

let root: string;
let backup: string;
let folders = 0;
let dataDirectory: string;
let configFile: string;

beforeAll(async () => {
  // PostgreSQL runs as another user where the tests run as root, so not below a private folder.
  root = mkdtempSync('/var/tmp/countersign-restore-');
  rmSync(root, { recursive: true });
  mkdirSync(root, { mode: 0o711 });
  backup = join(root, 'backup');
  await makeExampleBackup(backup, { recipient });
});
afterAll(() => rmSync(root, { recursive: true, force: true }));
beforeEach(() => {
  dataDirectory = join(root, `node-${(folders += 1)}`);
  configFile = join(root, `node-${folders}.json`);
  configure({});
});

function configure(more: Partial<NodeConfigInput>): void {
  writeNodeConfig(configFile, { name: 'node-1', dataDirectory, ...more });
}

const restore = (file = backup, secret = { identity }) =>
  restoreNode({ configFile, backupFile: file, secret, hosts: [] });
const files = () => (existsSync(dataDirectory) ? readdirSync(dataDirectory).toSorted() : []);

describe('a restore', () => {
  it('makes a node that goes on alone: its key, its PostgreSQL, log servers of its own', async () => {
    const startedAt = Date.now();
    const { node, summary, left } = await restore();
    expect([node, summary.users, left]).toEqual(['node-1', 3, false]);
    expect(files()).toEqual([
      'cluster.key',
      'log-layout.json',
      'logs',
      'nats',
      'postgres',
      'socket',
    ]);
    const keyFile = join(dataDirectory, 'cluster.key');
    expect(statSync(keyFile).mode & 0o777).toBe(0o600);
    expect((await readKeyRing(keyFile, null)).ring.generations).toHaveLength(1);
    const noted = readLayoutFile(join(dataDirectory, 'log-layout.json'))!;
    expect(noted).toMatchObject({ runsLogServer: true, layout: { by: 'node-1' } });
    expect(noted.layout.servers.map(({ name }) => name)).toEqual(['node-1']);
    expect(Date.parse(noted.layout.disasterAt!)).toBeGreaterThanOrEqual(startedAt);
    expect(existsSync(join(dataDirectory, 'nats', noted.layout.tag))).toBe(true);
  }, 120_000);

  it('founds a cluster of another identity where it is told how it is reached, under the keys of the backup', async () => {
    const hosts = ['127.0.0.1', 'node-1.corp.test'];
    const { clusterId } = await restoreNode({
      configFile,
      backupFile: backup,
      secret: { identity },
      hosts,
    });
    const folder = join(dataDirectory, 'identity');
    const own = readIdentity(folder)!;
    expect(own).toMatchObject({ clusterId, nodeName: 'node-1' });
    expect(own.members.members.map(({ name }) => name)).toEqual(['node-1']);
    const { ring } = await readKeyRing(join(dataDirectory, 'cluster.key'), null);
    const founding = JSON.parse(readFileSync(join(folder, 'founding.json'), 'utf8')) as {
      authority: { sealedKey: string };
    };
    const sealed = Buffer.from(founding.authority.sealedKey, 'base64');
    expect(sealedUnder(sealed)).toBe(ring.active);
    expect(files()).not.toContain('identity.founding');
  }, 120_000);

  it.each([
    ['users of its own', () => makeFile('postgres/PG_VERSION'), 'is not empty (postgres)'],
    ['anything else', () => makeFile('notes.txt'), 'is not empty (notes.txt)'],
    ['another cluster’s key', () => makeFile('../other.key'), 'is there already'],
  ])('refuses a node with %s, and leaves it as it is', async (_what, prepare, message) => {
    configure({ clusterKeyFile: join(root, 'other.key') });
    rmSync(join(root, 'other.key'), { force: true });
    mkdirSync(dataDirectory);
    prepare();
    const before = files();
    await expect(restore()).rejects.toThrow(message);
    expect(files()).toEqual(before);
  });

  it('touches nothing where the secret is wrong, the file is none, or the node has no log server', async () => {
    const foreign = join(root, 'foreign');
    writeFileSync(foreign, 'a letter');
    const other = recipient.replace('age1', 'AGE-SECRET-KEY-1').toUpperCase();
    await expect(restore(backup, { identity: other })).rejects.toMatchObject({
      code: 'bad_secret',
    });
    await expect(restore(foreign)).rejects.toMatchObject({ code: 'foreign' });
    const elsewhere = { name: 'node-2', host: '127.0.0.1', clientPort: 4222, routePort: 6222 };
    configure({ logServers: [elsewhere] });
    await expect(restore()).rejects.toThrow('no log server of its own');
    expect(files()).toEqual([]);
  });

  it('undoes what it did where the backup turns out to be damaged at its end', async () => {
    const damaged = join(root, 'damaged');
    const bytes = readFileSync(backup);
    writeFileSync(damaged, bytes.subarray(0, bytes.length - 1));
    await expect(restore(damaged)).rejects.toMatchObject({ code: 'damaged' });
    expect(files()).toEqual([]);
  }, 120_000);

  it('that was cut off keeps the node from starting, and the next one begins anew', async () => {
    await restore();
    // As kill -9 leaves it: everything but the last step.
    const mark = { backup, startedAt: 'x', clusterKeyFile: join(dataDirectory, 'cluster.key') };
    makeFile('restore-unfinished.json', JSON.stringify(mark));
    makeFile('cluster.key.0123456789ab.tmp', 'a draft');
    makeFile('restore-unfinished.json.0123456789ab.tmp', '');
    makeFile('log-layout.json.0123456789ab.tmp', '');
    await expect(runNode({ configFile })).rejects.toThrow('was not finished');
    const { left } = await restore();
    expect(left).toBe(true);
    expect(files()).toEqual([
      'cluster.key',
      'log-layout.json',
      'logs',
      'nats',
      'postgres',
      'socket',
    ]);
    await expect(restore()).rejects.toThrow('is not empty');
  }, 120_000);
});

function makeFile(name: string, text = 'precious'): void {
  const path = join(dataDirectory, name);
  mkdirSync(join(path, '..'), { recursive: true });
  writeFileSync(path, text);
}
