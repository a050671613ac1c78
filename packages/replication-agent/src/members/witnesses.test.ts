import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  NatsLink,
  WitnessLine,
  type LogLayout,
  type WitnessBeat,
  type WitnessWord,
} from '@countersign/cluster';
import {
  createCertificateRequest,
  isSignedByUser,
  issueCertificate,
  publicKeyOfSeed,
  readNodeCertificate,
  signMembers,
  type Identity,
} from '@countersign/identity';
import { createTestCluster, type TestCluster } from '@countersign/identity/testing';
import { startTestNats, waitFor } from '@countersign/testing';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { StoreMarks } from '../store-marks.ts';
import { Witnesses } from './witnesses.ts';

const log = { info() {}, warn() {} };
const signIn = { user: 'countersign', password: 'of the test' };
const layout: LogLayout = { tag: 'now', servers: [], by: null, disasterAt: null };
const closing: (() => unknown)[] = [];
const words: { word: string; by: string; signature: string }[] = [];
const storeMarks = new StoreMarks();
let isMaster = false;
const renewals: string[] = [];
let cluster: TestCluster;
let node: Identity;
let witness: Identity;
let witnesses: Witnesses;
let line: WitnessLine;
let beats = 0;

beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'countersign-witnesses-'));
  closing.push(() => rmSync(folder, { recursive: true }));
  cluster = await createTestCluster([
    { name: 'node-1', folder: join(folder, '1') },
    { name: 'w', folder: join(folder, 'w'), role: 'witness' },
  ]);
  [node, witness] = cluster.identities as [Identity, Identity];
  const nats = await startTestNats({ servers: 1, access: () => signIn });
  closing.push(() => nats.stop());
  const [host, clientPort] = nats.urls[0]!.replace('nats://', '').split(':') as [string, string];
  const link = new NatsLink({ ...signIn, servers: [`${host}:${clientPort}`], name: 'agent', log });
  closing.push(() => link.close());
  witnesses = new Witnesses({
    node: 'node-1',
    identity: { agentSeed: node.agentSeed, caPem: node.caPem },
    link,
    layout,
    incarnationNumber: 3,
    left: () => ['before'],
    logServers: () => [],
    storeMarks,
    isMaster: () => isMaster,
    async renew({ name, certificateRequest: requestPem }) {
      renewals.push(name);
      const { authority } = cluster;
      const about = { authority, requestPem, name, hosts: [], otherNodes: [] };
      const issued = await issueCertificate({ ...about, lifeMs: 90 * 86_400_000 });
      return { certificatePem: issued.certificatePem };
    },
    log,
  });
  line = new WitnessLine({
    name: 'w',
    signIn,
    log,
    onWord: (word) => words.push(word as (typeof words)[number]),
  });
  closing.push(() => line[Symbol.asyncDispose]());
  const server = { name: 'node-1', host, clientPort: Number(clientPort), routePort: 1 };
  line.connect([server]);
  await link.waitUntilUp(10_000);
  await waitFor('the line', () => line.connected === 1, { timeoutMs: 10_000 });
});
afterAll(async () => {
  for (const close of closing.toReversed()) await close();
});

const beatOf = (differs: Partial<WitnessBeat> = {}): WitnessBeat => ({
  name: 'w',
  version: '1',
  nonce: `nonce ${(beats += 1)}`,
  logServer: { name: 'w', host: '127.0.0.1', clientPort: 4222, routePort: 6222 },
  tag: 'now',
  runsLogServer: true,
  storeMark: 0,
  membersSignature: cluster.members.signature,
  certificateSerial: 'aa',
  certificateExpiresAt: '2026-12-31T00:00:00.000Z',
  certificateRequest: null,
  problems: [],
  ...differs,
});

/** Says it until there is an answer to it. */
async function tell(differs: Partial<WitnessBeat> = {}): Promise<WitnessWord> {
  let nonces: string[] = [];
  const signed = await waitFor(
    'an answer',
    () => {
      const beat = beatOf(differs);
      nonces = [...nonces, beat.nonce];
      line.send(beat);
      return words.find(({ word }) => nonces.includes((JSON.parse(word) as WitnessWord).nonce));
    },
    { timeoutMs: 10_000, everyMs: 250 },
  );
  expect(signed.by).toBe(publicKeyOfSeed(node.agentSeed));
  expect(isSignedByUser(signed.by, signed.word, signed.signature)).toBe(true);
  return JSON.parse(signed.word) as WitnessWord;
}

it('hears nobody before it knows who is a witness', () => {
  line.send(beatOf());
  expect(witnesses.online()).toEqual([]);
  expect(witnesses.isGone('w')).toBe(false);
});

it('answers a witness where the log is, and with the member list that it does not have', async () => {
  witnesses.noteMembers(cluster.members);
  expect(await tell()).toMatchObject({
    witness: 'w',
    node: 'node-1',
    members: null,
    layout,
    incarnation: 3,
    left: ['before'],
    certificatePem: null,
  });
  expect((await tell({ membersSignature: 'an old one' })).members).toEqual(cluster.members);
  expect(witnesses.online()).toMatchObject([{ name: 'w', tag: 'now' }]);
  expect(witnesses.reports()).toMatchObject([{ name: 'w', online: true, runsLogServer: true }]);
});

it('tells it how far its store was, before what it says now', async () => {
  await tell({ storeMark: 7 });
  expect(await tell({ storeMark: 2 })).toMatchObject({ storeMark: 7 });
  expect(storeMarks.heard('now')).toEqual({ w: 7 });
});

it('does not take it to be where it was not let in to be', async () => {
  const before = await tell();
  const logServer = { name: 'w', host: '192.0.2.66', clientPort: 4222, routePort: 6222 };
  line.send(beatOf({ logServer }));
  line.send(beatOf({ logServer: { ...logServer, name: 'node-1' } }));
  await tell();
  expect(witnesses.online()).toMatchObject([{ logServer: { name: 'w', host: '127.0.0.1' } }]);
  expect(before.layout).toEqual(layout);
});

it('has its certificate renewed by the master alone, once', async () => {
  const certificateRequest = await createCertificateRequest({ name: 'w', keyPem: witness.keyPem });
  await tell({ certificateRequest });
  expect(renewals).toEqual([]);
  isMaster = true;
  const renewed = await waitFor(
    'the certificate',
    async () => (await tell({ certificateRequest })).certificatePem,
    { timeoutMs: 15_000 },
  );
  const { serial, name } = readNodeCertificate(renewed, witness);
  expect(name).toBe('w');
  expect((await tell({ certificateSerial: serial })).certificatePem).toBeNull();
  expect(renewals).toEqual(['w']);
});

it('hears a witness no more that was removed, and knows no list of before', async () => {
  const { authority, members: list } = cluster;
  const members = list.members.filter(({ name }) => name !== 'w');
  witnesses.noteMembers(signMembers(authority, { version: 2, members }));
  expect(witnesses.online()).toEqual([]);
  expect(witnesses.isGone('w')).toBe(true);
  witnesses.noteMembers(list);
  expect(witnesses.isWitness('w')).toBe(false);
});
