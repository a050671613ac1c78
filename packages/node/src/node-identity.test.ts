import { existsSync, mkdirSync, mkdtempSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import {
  createCertificateRequest,
  issueCertificate,
  readIdentity,
  signMembers,
  unwrap,
  writeDurably,
  type Member,
} from '@countersign/identity';
import { createTestCluster, type TestCluster } from '@countersign/identity/testing';
import { decodeKeyRing, makeGeneration } from '@countersign/keys';
import type { MemberMessage, WrappedKeyMessage } from '@countersign/replication-agent';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { parseNodeConfig } from './config.ts';
import { clusterKeyContext, foundingFileOf, NodeIdentity } from './node-identity.ts';
import { openSupervisorEvents } from './supervisor-events.ts';

let folder: string;
let cluster: TestCluster;
const generation = makeGeneration('2026-03-01T12:00:00.000Z');
const ring = { active: generation.id, generations: [generation] };

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-identity-'));
  cluster = await createTestCluster([
    { name: 'node-1', folder: identityOf('node-1') },
    { name: 'node-2', folder: identityOf('node-2') },
    { name: 'w', folder: identityOf('w'), role: 'witness' },
  ]);
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const identityOf = (name: string) => join(folder, name, 'identity');

const inodeOf = (name: string) => statSync(join(identityOf('node-1'), name)).ino;

function open(name: string): NodeIdentity | null {
  const dataDirectory = join(folder, name);
  mkdirSync(join(dataDirectory, 'logs'), { recursive: true });
  const config = parseNodeConfig(JSON.stringify({ name: 'node-1', dataDirectory }), 'test');
  return NodeIdentity.open(config, openSupervisorEvents(config));
}

/** What the agent is answered, and whether a file was replaced. */
function tell(identity: NodeIdentity, message: MemberMessage) {
  const answers: WrappedKeyMessage[] = [];
  const files = () => ['members.json', 'node.pem'].map(inodeOf).join();
  const before = files();
  identity.handle(message, { ring, answer: (answer) => void answers.push(answer) });
  return { answers, isWritten: files() !== before };
}

it('a node without an identity is open, and none takes that of another', () => {
  expect(open('nothing')).toBeNull();
  expect(() => open('node-2')).toThrow('is the identity of node-2');
});

it('no node runs with the identity of a witness', () => {
  const dataDirectory = join(folder, 'w');
  const config = parseNodeConfig(JSON.stringify({ name: 'w', dataDirectory }), 'test');
  mkdirSync(join(dataDirectory, 'logs'), { recursive: true });
  expect(() => NodeIdentity.open(config, openSupervisorEvents(config))).toThrow(
    'is the identity of a witness, which runs a log server only: start it with countersign witness',
  );
});

it('the cluster key is wrapped for a member that is a node, and for nobody else', async () => {
  const identity = open('node-1')!;
  const [, two, witness] = cluster.identities as [unknown, ...TestCluster['identities']];
  const ask = (certificatePem: string, list = cluster.members) =>
    tell(identity, { type: 'wrap-cluster-key', id: 'a', certificatePem, list }).answers;

  const [answer] = ask(two!.certificatePem);
  const context = clusterKeyContext(cluster.authority.clusterId, 'node-2');
  const opened = unwrap(two!.keyPem, Buffer.from(answer!.wrapped!, 'base64'), context);
  expect(decodeKeyRing(opened.toString())).toEqual(ring);

  expect(ask(witness!.certificatePem)).toMatchObject([{ wrapped: null }]);
  const members = cluster.members.members.filter(({ name }) => name !== 'node-2');
  const without = signMembers(cluster.authority, { version: 2, members });
  expect(ask(two!.certificatePem, without)).toMatchObject([{ wrapped: null }]);
  expect(ask(two!.certificatePem, { ...cluster.members, version: 9 })).toEqual([]);
  const stranger = await createTestCluster([{ name: 'node-2', folder: join(folder, 'stranger') }]);
  expect(ask(stranger.identities[0]!.certificatePem)).toEqual([]);
});

it('takes over what the CA has signed, and nothing else, and says so once', async () => {
  const identity = open('node-1')!;
  const { authority } = cluster;
  const next = signMembers(authority, { version: 2, members: cluster.members.members.slice(0, 2) });
  expect(tell(identity, { type: 'members', list: next }).isWritten).toBe(true);
  expect(tell(identity, { type: 'members', list: next }).isWritten).toBe(false);
  expect(tell(identity, { type: 'members', list: { ...next, version: 7 } }).isWritten).toBe(false);
  expect(tell(identity, { type: 'members', list: cluster.members }).isWritten).toBe(false);
  const [, , witness] = cluster.identities as [unknown, unknown, TestCluster['identities'][0]];
  const old = { certificatePem: witness.certificatePem, list: cluster.members };
  expect(tell(identity, { type: 'wrap-cluster-key', id: 'a', ...old }).answers).toEqual([]);
  expect(readIdentity(identityOf('node-1'))?.members).toEqual(next);
  expect(identity.current.members).toEqual(next);

  const { keyPem } = identity.current;
  const requestPem = await createCertificateRequest({ name: 'node-1', keyPem });
  const wanted = { requestPem, name: 'node-1', hosts: [], otherNodes: [], lifeMs: 60_000 };
  const { certificatePem } = await issueCertificate({ authority, ...wanted });
  expect(tell(identity, { type: 'certificate', certificatePem }).isWritten).toBe(true);
  expect(identity.current.certificatePem).toBe(certificatePem);
  const [, { certificatePem: foreign }] = cluster.identities as [
    unknown,
    { certificatePem: string },
  ];
  expect(tell(identity, { type: 'certificate', certificatePem: foreign }).isWritten).toBe(false);
  expect(readIdentity(identityOf('node-1'))?.certificatePem).toBe(certificatePem);
});

it('knows when it was removed, and does not start again', async () => {
  const removed = join(folder, 'removed');
  const own = await createTestCluster([
    { name: 'node-1', folder: join(removed, 'identity') },
    { name: 'node-2', folder: join(folder, 'stays', 'identity') },
  ]);
  const identity = open('removed')!;
  expect(identity.removal).toBeNull();
  const { members } = own.members;
  const [node1, node2] = members as [Member, Member];
  const list = signMembers(own.authority, { version: 2, members: [node2] });
  identity.handle({ type: 'members', list }, { ring, answer: () => undefined });
  expect(identity.removal?.message).toContain('node-1 was removed from the cluster');
  expect(() => open('removed')).toThrow('was removed');

  // Another machine under its name is not this one.
  const { agentKey, workerKey, supervisorKey } = node2;
  const other = { ...node1, agentKey, workerKey, supervisorKey };
  const later = signMembers(own.authority, { version: 3, members: [other] });
  identity.handle({ type: 'members', list: later }, { ring, answer: () => undefined });
  expect(identity.current.members).toEqual(later);
  expect(() => open('removed')).toThrow('was removed');
});

it('keeps what founds the cluster until the log has it', () => {
  const file = foundingFileOf(identityOf('node-1'));
  writeDurably(file, '{"members":{}}');
  const identity = open('node-1')!;
  expect(identity.handOver().founding).toEqual({ members: {} });
  tell(identity, { type: 'founded' });
  expect(existsSync(file)).toBe(false);
  expect(identity.handOver().founding).toBeNull();
});
