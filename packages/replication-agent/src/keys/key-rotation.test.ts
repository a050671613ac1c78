import { randomBytes, randomUUID } from 'node:crypto';
import {
  Membership,
  sealedPartOf,
  type Command,
  type Heartbeat,
  type MasterReply,
} from '@countersign/cluster';
import {
  findUser,
  listDirectories,
  readSettings,
  recomputeDigest,
  type Database,
} from '@countersign/database';
import {
  deriveKeys,
  handKeys,
  makeGeneration,
  open,
  renewKeys,
  ringAsWanted,
  sealedUnder,
  sealGeneration,
  takeKeys,
  type KeyRing,
} from '@countersign/keys';
import {
  isPin,
  openDirectoryPassword,
  openRadiusSecret,
  openSetting,
  seedContext,
} from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { encodeBase32, type KeyRingDocument } from '@countersign/verification';
import { afterEach, expect, it } from 'vitest';
import { AGENT_KEYS, type KeyRingReport } from '../config.ts';
import { silent, useTestLog } from '../testing/use-test-log.ts';
import { startTestMaster } from '../testing/start-test-master.ts';
import { followKeyRing } from './follow-key-ring.ts';
import { KeyRotation } from './key-rotation.ts';
import { readKeyRing } from './read-key-ring.ts';

const test = useTestLog();
const stops: AbortController[] = [];
afterEach(() => {
  for (const stop of stops.splice(0)) stop.abort();
});

const waits = { timeoutMs: 20_000 };

/** The ring of a node, as its supervisor keeps it. */
function makeRing() {
  const first = makeGeneration('2026-01-01T00:00:00.000Z');
  let ring: KeyRing = { active: first.id, generations: [first] };
  const keys = takeKeys(handKeys(deriveKeys(ring, AGENT_KEYS)));
  return {
    first: first.id,
    keys,
    /** Of the ring as it is now; for the old keys ask before. */
    ring: () => ring,
    report: (): KeyRingReport => ({
      active: ring.active,
      generations: ring.generations.map(({ id, madeAt, bytes }) => {
        return { id, madeAt, isRetired: bytes === null };
      }),
      problem: null,
    }),
    async makeGeneration() {
      const made = makeGeneration(new Date().toISOString());
      const { id, madeAt } = made;
      return { id, madeAt, sealed: sealGeneration(ring, made).toString('base64') };
    },
    follow(document: KeyRingDocument) {
      ring = ringAsWanted(ring, document);
      renewKeys(keys, handKeys(deriveKeys(ring, AGENT_KEYS)));
    },
  };
}

async function startCluster() {
  const own = makeRing();
  const master = await startTestMaster(test, { keys: own.keys });
  const { db, sealer, mastership, link } = master;
  const membership = new Membership(link);
  const told: string[] = [];
  const events = {
    keyRotationBegan: () => void told.push('began'),
    keyActivated: () => void told.push('activated'),
    keyRetired: () => void told.push('retired'),
  };
  const stop = new AbortController();
  stops.push(stop);
  void followKeyRing({
    db,
    sealer,
    keyRing: own.report,
    tellSupervisor: own.follow,
    log: silent,
    signal: stop.signal,
  });
  const say = (node: string, { active, generations }: KeyRingReport) => {
    const keyRing = { active, generations: generations.filter(({ isRetired }) => !isRetired) };
    membership.send({ node, keyRing, problems: [], wallMs: Date.now() } as unknown as Heartbeat);
  };
  const saying = setInterval(() => say('node-1', own.report()), 50);
  stop.signal.addEventListener('abort', () => clearInterval(saying));
  const document = (name: string) => ({
    id: name,
    name,
    addedAt: new Date().toISOString(),
    version: '0.1.0',
  });
  await mastership.write({ kind: 'node', id: 'node-1', document: document('node-1') });

  /** As a master does that knows nothing but what stands in the log. */
  function startRotation(more: { graceMs?: number } = {}) {
    const rotation = new KeyRotation({
      ...{ node: 'node-1', db, sealer, keys: own.keys, baseRevision: 0, mastership, membership },
      ...{ keyRing: own.report, makeGeneration: own.makeGeneration, events, log: silent },
      ...more,
    });
    const life = new AbortController();
    const running = rotation.run(AbortSignal.any([life.signal, stop.signal]));
    return {
      rotation,
      async die() {
        life.abort();
        await running;
      },
    };
  }

  function run(name: string, args: object, commandId: string = randomUUID()): Promise<MasterReply> {
    const command: Command = master.command(name, { ...args }, 8000, commandId);
    return mastership.handle(command);
  }
  async function done(name: string, args: object, commandId?: string) {
    const reply = await run(name, args, commandId);
    if (reply.kind !== 'done') throw new Error(JSON.stringify(reply));
    return reply.result;
  }
  const addNode = (name: string) =>
    mastership.write({ kind: 'node', id: name, document: document(name) });
  const readDocument = async () => (await readKeyRing(db, sealer))!;
  return { ...master, own, told, say, startRotation, run, done, addNode, readDocument };
}

/** The generation that each document in the log is sealed under, but for epochs, which are not sealed. */
async function generationsOf(db: Database): Promise<Record<string, string[]>> {
  const rows = await db.sql<{ kind: string; bytes: Buffer }[]>`
    select kind, bytes from documents where kind <> 'epoch'`;
  const found: Record<string, Set<string>> = {};
  for (const { kind, bytes } of rows) {
    (found[kind] ??= new Set()).add(sealedUnder(sealedPartOf(bytes)) ?? 'nothing');
  }
  return Object.fromEntries(Object.entries(found).map(([kind, ids]) => [kind, [...ids]]));
}

it('everything comes under the new key and opens as before, and what is sealed under the old one is gone', async () => {
  const cluster = await startCluster();
  const { db, own, done, run, readDocument } = cluster;
  const secret = randomBytes(20);
  const authenticators = [{ type: 'totp', secret: encodeBase32(secret), serial: 'S-1' }];
  await done('user.add', { username: 'alice', authenticators });
  await done('user.set-pin', { username: 'alice', pin: '739164' });
  const codesId = randomUUID();
  const codes = await done('user.make-recovery-codes', { username: 'alice' }, codesId);
  await done('user.add', { username: 'gone' });
  await done('user.remove', { username: 'gone' });
  await done('settings.set', {
    changes: { 'mail.host': 'mail.example.org', 'mail.password': 'HUSH-mail' },
  });
  await done('application.add', { name: 'vpn' });
  const shared = { application: 'vpn', addresses: ['192.0.2.7'], secret: 'HUSH-HUSH-HUSH-HUSH' };
  await done('radius-client.add', { client: { name: 'gateway', ...shared } });
  await done('directory.add', {
    directory: {
      ...{ name: 'corp', type: 'active-directory', servers: ['ldaps://dc1.corp.test'] },
      ...{ baseDn: 'DC=corp,DC=test', account: { name: 'CN=reader', password: 'HUSH-directory' } },
    },
  });
  await cluster.mastership.write({
    kind: 'probe',
    id: 'node-9',
    document: { at: new Date().toISOString() },
  });
  const oldKeys = deriveKeys(own.ring(), AGENT_KEYS);

  const { rotation } = cluster.startRotation({ graceMs: 0 });
  const begun = await rotation.begin({ reason: 'a test', by: 'tester', always: false });
  const { to } = begun as { to: string };
  expect(begun).toEqual({ kind: 'begun', to, isNew: true });
  await waitFor(
    'the end of the rotation',
    async () => (await readDocument()).rotation.finishedAt !== null,
    waits,
  );

  const found = await generationsOf(db);
  for (const ids of Object.values(found)) expect(ids).toEqual([to]);
  expect(Object.keys(found)).toContain('probe');
  expect(JSON.stringify(await readDocument())).not.toContain('sealed');
  const { digest, stored } = await recomputeDigest(db);
  expect(digest).toBe(stored);
  await waitFor('the ring', () => own.report().generations[0]!.isRetired, waits);
  await waitFor('the events', () => cluster.told.length >= 3, waits);
  expect(cluster.told).toEqual(['began', 'activated', 'retired']);

  const alice = await findUser(db, 'alice');
  if (!alice || alice === 'ambiguous') throw new Error('no alice');
  const [token] = alice.document.authenticators;
  if (!token || token.type === 'phone') throw new Error('no token');
  const { seed, pin } = own.keys;
  const sealed = Buffer.from(token.sealedSecret, 'base64');
  expect(open(seed, sealed, seedContext(token.id))).toEqual(secret);
  expect(await isPin(pin, alice.document.id, '739164', alice.document.pin!)).toBe(true);
  const settings = await readSettings(db);
  expect(openSetting(seed, settings.settings, 'mail.password')).toBe('HUSH-mail');
  expect(openRadiusSecret(seed, settings.radiusClients[0]!).toString()).toBe('HUSH-HUSH-HUSH-HUSH');
  const [corp] = await listDirectories(db);
  expect(openDirectoryPassword(seed, corp!)).toBe('HUSH-directory');

  // Whoever has nothing but the old keys opens none of it.
  expect(() => open(oldKeys.seed, sealed, seedContext(token.id))).toThrow('not known here');
  await expect(
    isPin(oldKeys.pin, alice.document.id, '739164', alice.document.pin!),
  ).rejects.toThrow('not known here');
  expect(() => openDirectoryPassword(oldKeys.seed, corp!)).toThrow('not known here');

  // The repeat of a command of before gets its first result, and nobody enrols the same token again.
  const repeated = await done('user.make-recovery-codes', { username: 'alice' }, codesId);
  expect(repeated.codes).toEqual([]);
  expect((codes.codes as string[]).length).toBeGreaterThan(0);
  const twin = await run('user.add', {
    username: 'bob',
    authenticators: [{ type: 'totp', secret: encodeBase32(secret) }],
  });
  expect(twin).toMatchObject({ kind: 'refused', code: 'duplicate_token' });
}, 60_000);

it('waits for every node to have the new key, and lets go of the old one only when all have followed', async () => {
  const cluster = await startCluster();
  const { own, done, readDocument, say } = cluster;
  await cluster.addNode('node-2');
  await done('user.add', { username: 'alice' });
  const { rotation } = cluster.startRotation({ graceMs: 0 });
  const codesId = randomUUID();
  const { codes } = await done('user.make-recovery-codes', { username: 'alice' }, codesId);
  await rotation.begin({ reason: 'a test', by: 'tester', always: false });
  await waitFor('node-1 to have it', () => own.report().generations.length === 2, waits);
  await waitFor('the wait', () => rotation.progress?.waitsFor.join() === 'node-2', waits);
  expect((await readDocument()).rotation.activatedAt).toBeNull();
  expect(own.report().active).toBe(own.first);

  // Held, and not sealed with yet.
  say('node-2', own.report());
  await waitFor('the new key to count', () => own.report().active !== own.first, waits);
  await waitFor('nothing left', () => rotation.progress?.isClean === true, waits);
  const again = await done('user.make-recovery-codes', { username: 'alice' }, codesId);
  expect(again.codes).toEqual(codes);
  expect(rotation.progress?.waitsFor).toEqual(['node-2']);
  expect((await readDocument()).rotation.finishedAt).toBeNull();
  say('node-2', own.report());
  await waitFor('the end', async () => (await readDocument()).rotation.finishedAt !== null, waits);
}, 60_000);

it('goes on with the next master wherever one dies, while users are changed, and loses nothing', async () => {
  const cluster = await startCluster();
  const { db, own, done, readDocument } = cluster;
  const users = Array.from({ length: 120 }, (_, index) => `user-${index}`);
  for (let from = 0; from < users.length; from += 20) {
    const authenticators = [{ type: 'totp' }];
    const slice = users.slice(from, from + 20);
    await Promise.all(slice.map((username) => done('user.add', { username, authenticators })));
  }
  const first = cluster.startRotation({ graceMs: 0 });
  await first.rotation.begin({ reason: 'a test', by: 'tester', always: false });
  await first.die();
  const second = cluster.startRotation({ graceMs: 0 });
  await waitFor('the new key to count', () => own.report().active !== own.first, waits);
  await waitFor('some of it', () => (second.rotation.progress?.seen ?? 0) > 0, waits);
  await second.die();
  const writing = Promise.all(
    users.map((username) => done('user.set', { username, changes: { displayName: 'changed' } })),
  );
  const third = cluster.startRotation({ graceMs: 0 });
  await writing;
  await waitFor('the end', async () => (await readDocument()).rotation.finishedAt !== null, waits);
  await third.die();
  const { active } = own.report();
  for (const ids of Object.values(await generationsOf(db))) expect(ids).toEqual([active]);
  for (const username of users) {
    const user = await findUser(db, username);
    if (!user || user === 'ambiguous') throw new Error(`no ${username}`);
    expect(user.document.displayName).toBe('changed');
    const [token] = user.document.authenticators;
    if (!token || token.type === 'phone') throw new Error('no token');
    const sealed = Buffer.from(token.sealedSecret, 'base64');
    expect(sealedUnder(sealed)).toBe(active);
    expect(open(own.keys.seed, sealed, seedContext(token.id))).toHaveLength(20);
  }
}, 60_000);

it('a second wish is met by the change under way, unless somebody may have got hold of its key', async () => {
  const cluster = await startCluster();
  const { own, readDocument } = cluster;
  await cluster.addNode('node-2');
  const { rotation } = cluster.startRotation({ graceMs: 0 });
  const begun = await rotation.begin({ reason: 'first', by: 'tester', always: false });
  const wish = { reason: 'node-2 was removed', by: 'tester' };
  const second = await rotation.begin({ ...wish, always: false });
  expect(second).toEqual({ ...begun, isNew: false });
  await rotation.begin({ ...wish, always: true });
  expect((await readDocument()).rotation).toMatchObject({ reason: 'first', next: wish });
  await cluster.mastership.write({ kind: 'node', id: 'node-2', document: null, removed: true });
  await waitFor(
    'both',
    async () => {
      const { reason, finishedAt } = (await readDocument()).rotation;
      return reason === wish.reason && finishedAt !== null;
    },
    waits,
  );
  // Told after it was written.
  await waitFor('the events', () => cluster.told.length >= 6, waits);
  expect(cluster.told).toEqual([
    ...['began', 'activated', 'retired'],
    ...['began', 'activated', 'retired'],
  ]);
  expect((await readDocument()).generations).toHaveLength(3);
  await waitFor(
    'the ring',
    () => own.report().generations.filter(({ isRetired }) => isRetired).length === 2,
    waits,
  );
}, 60_000);
