import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import type { WitnessWord } from '@countersign/cluster';
import { publicKeyOfSeed, signAsUser, signMembers, type Identity } from '@countersign/identity';
import { createTestCluster, type TestCluster } from '@countersign/identity/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';

import { readWord } from './witness-word.ts';

let folder: string;
let cluster: TestCluster;
let stranger: TestCluster;
let one: Identity;
let two: Identity;
let witness: Identity;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'countersign-word-'));
  const folderOf = (name: string) => join(folder, name);
  cluster = await createTestCluster([
    { name: 'node-1', folder: folderOf('1') },
    { name: 'node-2', folder: folderOf('2') },
    { name: 'w', folder: folderOf('w'), role: 'witness' },
  ]);
  stranger = await createTestCluster([{ name: 'node-1', folder: folderOf('x') }]);
  [one, two, witness] = cluster.identities as [Identity, Identity, Identity];
});
afterAll(() => rmSync(folder, { recursive: true }));

const server = { name: 'node-1', host: '192.0.2.1', clientPort: 4222, routePort: 6222 };

const wordOf = (differs: Partial<WitnessWord> = {}): WitnessWord => ({
  witness: 'w',
  nonce: 'asked',
  node: 'node-1',
  members: null,
  layout: { tag: 'a1', servers: [server], by: null, disasterAt: null },
  incarnation: 1,
  left: [],
  logServers: [server],
  storeMark: 0,
  certificatePem: null,
  ...differs,
});

function sign(word: WitnessWord, by: string) {
  const text = JSON.stringify(word);
  return { word: text, by: publicKeyOfSeed(by), signature: signAsUser(by, text) };
}

const read = (value: unknown, identity = witness) =>
  readWord(value, { identity, nonces: ['before', 'asked'] });

/** The list as it is after that change. */
const listOf = (version: number, ...without: string[]) =>
  signMembers(cluster.authority, {
    version,
    members: cluster.members.members.filter(({ name }) => !without.includes(name)),
  });

it('believes what a node that is a member has signed', () => {
  const word = wordOf();
  expect(read(sign(word, one.agentSeed))).toEqual({ word, newer: null });
});

it.each<[string, () => unknown]>([
  ['nothing', () => ({})],
  ['a worker', () => sign(wordOf(), one.workerSeed)],
  ['another node', () => sign(wordOf(), two.agentSeed)],
  ['another cluster', () => sign(wordOf(), stranger.identities[0]!.agentSeed)],
  ['the witness itself', () => sign(wordOf({ node: 'w' }), witness.supervisorSeed)],
  [
    'a log server that changes it on the way',
    () => {
      const { word, ...rest } = sign(wordOf(), one.agentSeed);
      return { ...rest, word: word.replace('"incarnation":1', '"incarnation":9') };
    },
  ],
  ['somebody who was asked another time', () => sign(wordOf({ nonce: 'long ago' }), one.agentSeed)],
  ['somebody who answers another witness', () => sign(wordOf({ witness: 'v' }), one.agentSeed)],
  [
    'a node that knows of no log servers',
    () => sign(wordOf({ layout: { tag: '../..', servers: [] } as never }), one.agentSeed),
  ],
])('believes nothing that comes from %s', (_, make) => {
  expect(() => read(make())).toThrow();
});

it('takes a newer member list, and no older one, by whomever', () => {
  const newer = listOf(5, 'node-2');
  expect(read(sign(wordOf({ members: newer }), one.agentSeed)).newer).toEqual(newer);
  const informed = { ...witness, members: newer };
  const older = wordOf({ members: cluster.members });
  expect(read(sign(older, one.agentSeed), informed).newer).toBeNull();
  // Removed meanwhile: its own old list does not let it in again.
  expect(() => read(sign({ ...older, node: 'node-2' }, two.agentSeed), informed)).toThrow(
    'not signed by a node of this cluster',
  );
});

it('takes no member list that the CA has not signed', () => {
  const forged = signMembers(stranger.authority, { version: 9, members: stranger.members.members });
  expect(() => read(sign(wordOf({ members: forged }), one.agentSeed))).toThrow('another cluster');
  const renamed = { ...forged, clusterId: cluster.members.clusterId };
  expect(() => read(sign(wordOf({ members: renamed }), one.agentSeed))).toThrow('not signed');
});
