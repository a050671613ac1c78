import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { createCertificateRequest } from './certificate-request.ts';
import {
  prepareOwnSecrets,
  readIdentity,
  replaceCertificate,
  replaceMembers,
} from './identity-folder.ts';
import { issueCertificate } from './issue-certificate.ts';
import { signMembers } from './member-list.ts';
import { createTestCluster, type TestCluster } from './testing/index.ts';

let base: string;
let folder: string;
let cluster: TestCluster;
beforeAll(async () => {
  base = mkdtempSync(join(tmpdir(), 'countersign-identity-'));
  folder = join(base, 'node-1');
  cluster = await createTestCluster([
    { name: 'node-1', folder },
    { name: 'node-2', folder: join(base, 'node-2') },
    { name: 'w', folder: join(base, 'w'), role: 'witness' },
  ]);
});
afterAll(() => rmSync(base, { recursive: true, force: true }));

it('an identity is read as it was written, by its owner only', () => {
  const [identity] = cluster.identities;
  expect(identity).toMatchObject({
    nodeName: 'node-1',
    clusterId: cluster.authority.clusterId,
    members: cluster.members,
  });
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  for (const name of readdirSync(folder)) {
    expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
  }
});

it('a node without the folder is an open one', () => {
  expect(readIdentity(join(base, 'nothing'))).toBeNull();
});

it('the same secrets are there again after an interruption', () => {
  const half = join(base, 'half');
  const first = prepareOwnSecrets(half);
  rmSync(join(half, 'worker.nk'));
  const second = prepareOwnSecrets(half);
  expect(second).toEqual({ ...first, workerSeed: second.workerSeed });
  expect(second.workerSeed).not.toBe(first.workerSeed);
});

it('a folder or file that others may read is refused by name', () => {
  chmodSync(join(folder, 'node.key'), 0o640);
  expect(() => readIdentity(folder)).toThrow(/node\.key has mode 0640.*chmod 600/);
  chmodSync(join(folder, 'node.key'), 0o600);
  chmodSync(folder, 0o750);
  expect(() => readIdentity(folder)).toThrow(/node-1 has mode 0750.*chmod 700/);
  chmodSync(folder, 0o700);
  expect(readIdentity(folder)).not.toBeNull();
});

it.each(['ca.pem', 'node.pem', 'node.key', 'agent.nk', 'members.json'])(
  'a folder whose %s is missing or rubbish is refused by name',
  async (name) => {
    const other = join(base, `broken-${name}`);
    await createTestCluster([{ name: 'node-1', folder: other }]);
    writeFileSync(join(other, name), 'rubbish');
    expect(() => readIdentity(other)).toThrow(other);
    rmSync(join(other, name));
    expect(() => readIdentity(other)).toThrow(`${name} is missing`);
  },
);

it('a renewed certificate takes the place of the old one only if it is for this node and key', async () => {
  const { authority, identities } = cluster;
  const issue = async (name: string, keyPem: string) => {
    const requestPem = await createCertificateRequest({ name, keyPem });
    const about = { authority, requestPem, name, hosts: [], otherNodes: [], lifeMs: 60_000 };
    return (await issueCertificate(about)).certificatePem;
  };
  const [one, two] = identities.map(({ keyPem }) => keyPem) as [string, string];

  const renewed = await issue('node-1', one);
  replaceCertificate(folder, renewed);
  expect(readIdentity(folder)?.certificatePem).toBe(renewed);

  const wrongKey = await issue('node-1', two);
  expect(() => replaceCertificate(folder, wrongKey)).toThrow('another key');
  const wrongName = await issue('node-2', one);
  expect(() => replaceCertificate(folder, wrongName)).toThrow('another node');
  expect(readIdentity(folder)?.certificatePem).toBe(renewed);
});

it("only a list signed by this cluster's CA takes the place of the old one", async () => {
  const { authority, members } = cluster;
  const next = signMembers(authority, { version: 2, members: members.members.slice(0, 2) });
  expect(replaceMembers(folder, next)).toBe(true);
  expect(replaceMembers(folder, next)).toBe(false);
  expect(readIdentity(folder)?.members).toEqual(next);
  // What was taken off the list comes back by no copy of an older one, nor by another of the same number.
  expect(() => replaceMembers(folder, members)).toThrow('not newer');
  const twin = signMembers(authority, { version: 2, members: members.members });
  expect(() => replaceMembers(folder, twin)).toThrow('not newer');

  expect(() => replaceMembers(folder, { ...next, version: 3 })).toThrow('not signed');
  const other = await createTestCluster([{ name: 'node-1', folder: join(base, 'foreign') }]);
  expect(() => replaceMembers(folder, other.members)).toThrow(/another cluster|not signed/);
  expect(readIdentity(folder)?.members).toEqual(next);
});
