import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { createTestCluster } from '@countersign/identity/testing';
import { afterEach, beforeEach, expect, it } from 'vitest';

import { writeNodeConfig } from './config.ts';
import { runWitness } from './run-witness.ts';

let folder: string;
beforeEach(() => void (folder = mkdtempSync(join(tmpdir(), 'countersign-witness-'))));
afterEach(() => rmSync(folder, { recursive: true }));

const server = (name: string) => ({ name, host: '127.0.0.1', clientPort: 4222, routePort: 6222 });

function run(name = 'w', servers = [server('node-1'), server('w')]): Promise<void> {
  const configFile = join(folder, 'node.yaml');
  writeNodeConfig(configFile, { name, dataDirectory: folder, logServers: servers });
  return runWitness({ configFile });
}

const makeIdentity = (name: string, role: 'node' | 'witness') =>
  createTestCluster([{ name, folder: join(folder, 'identity'), role }]);

it('says how a machine becomes a witness where it is none yet', async () => {
  await expect(run()).rejects.toThrow('make this machine a witness with countersign join');
});

it('refuses the identity of a node by name, and of another witness', async () => {
  await makeIdentity('w', 'node');
  await expect(run()).rejects.toThrow('is the identity of a node: start it with countersign node');
  await expect(run('v', [server('v')])).rejects.toThrow('is the identity of w');
});

it('is one of the log servers that its configuration names', async () => {
  await makeIdentity('w', 'witness');
  await expect(run('w', [server('node-1')])).rejects.toThrow('logServers: does not name w itself');
});

it('listens where its certificate is for', async () => {
  await makeIdentity('w', 'witness');
  const elsewhere = { ...server('w'), host: '127.0.0.2' };
  await expect(run('w', [elsewhere])).rejects.toThrow(
    'w joined as 127.0.0.1, and its certificate is not for 127.0.0.2',
  );
});

it('does not guess where the log is', async () => {
  await makeIdentity('w', 'witness');
  await expect(run()).rejects.toThrow('log-layout.json is missing: remove w from the cluster');
});
