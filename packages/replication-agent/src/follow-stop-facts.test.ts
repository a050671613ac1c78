import { randomBytes, randomUUID } from 'node:crypto';
import { StopFacts, type Command, type Incarnation, type MasterReply } from '@countersign/cluster';
import {
  applyChanges,
  countPendingStopFacts,
  findApiKeys,
  findUser,
  initApplied,
  keepStopFacts,
  listUnpublishedStopFacts,
  listUnsettledStopFacts,
  readApplied,
  readStopFacts,
  type Database,
} from '@countersign/database';
import { hashApiKey, sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { API_SCOPES, parseStopFact, type StopFact } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import type { Plan } from './commands/plan.ts';
import { followStopFacts, tendStopFacts } from './follow-stop-facts.ts';
import { planCommand } from './plan-command.ts';
import { silent, useTestLog } from './testing/use-test-log.ts';
import { WrongTries } from './wrong-tries.ts';

const test = useTestLog();
const sealer = sealerOf({ keyId: '00000000', key: randomBytes(32) });
const rights = { scopes: [...API_SCOPES], applications: null, networks: null, expiresAt: null };

/** What the agent of one node does with stop facts, over its own PostgreSQL. */
async function startNode(incarnation: Incarnation, options: { isMaster: boolean }) {
  const link = test.connect();
  const db = await test.openDatabase();
  await initApplied(db, incarnation);
  const stopFacts = new StopFacts({
    link,
    incarnationNumber: incarnation.number,
    sealer,
    parse: parseStopFact,
  });
  const stop = new AbortController();
  const { signal } = stop;
  const commands: string[] = [];
  const run = async (command: Omit<Command, 'proof'>): Promise<MasterReply> => {
    commands.push(String(command.args.id));
    await execute(db, command.name, command.args);
    return { kind: 'done', revision: 0, result: {} };
  };
  const isMaster = () => options.isMaster;
  const running = [
    followStopFacts({ db, stopFacts, signal, log: silent }),
    tendStopFacts({ db, stopFacts, isMaster, run, signal, log: silent }),
  ];
  test.atEnd(() => {
    stop.abort();
    return Promise.all(running);
  });
  return { db, commands };
}

/** Plans a command and applies at once what it comes to, as the only change under way. */
async function execute(db: Database, name: string, args: object): Promise<Plan> {
  const commandId = randomUUID();
  const now = new Date();
  const keys = test.makeKeys();
  const wrongTries = new WrongTries();
  const context = { db, keys, wrongTries, commandId, actor: 'test', rights, now };
  const plan = await planCommand(context, name, args as Record<string, unknown>);
  if (plan.kind === 'change') await applyDocument(db, plan.document);
  return plan;
}

async function applyDocument(
  db: Database,
  { kind, id, removed, content }: Extract<Plan, { kind: 'change' }>['document'],
): Promise<void> {
  const revision = (await readApplied(db))!.revision + 1;
  const bytes = Buffer.from(JSON.stringify({ revision, content }));
  const at = new Date().toISOString();
  const document = content as never;
  await applyChanges(db, [
    { revision, epoch: 1, kind, id, at, removed, bytes, document, commands: [] },
  ]);
}

async function addUser(db: Database, username: string): Promise<string> {
  const added = await execute(db, 'user.add', { username });
  if (added.kind !== 'change') throw new Error(added.kind);
  return added.document.id;
}

async function documentOf(db: Database, username: string) {
  const user = await findUser(db, username);
  if (user === null || user === 'ambiguous') throw new Error(`no one ${username}`);
  return user.document;
}

async function addKey(db: Database, secret: string, scopes = [...API_SCOPES]): Promise<string> {
  const id = randomUUID();
  const content = {
    id,
    name: secret,
    secretHash: hashApiKey(secret),
    scopes,
    applications: null,
    networks: null,
    expiresAt: null,
    createdAt: new Date().toISOString(),
  };
  await applyDocument(db, { kind: 'api-key', id, removed: false, content });
  return id;
}

function factAbout(subject: string, more: Partial<StopFact> = {}): StopFact {
  const nowMs = Date.now();
  return {
    id: randomUUID(),
    kind: 'user',
    subject,
    reason: 'lost phone',
    by: 'help desk',
    node: 'node-2',
    at: new Date(nowMs).toISOString(),
    expiresAt: new Date(nowMs + 86_400_000).toISOString(),
    ...more,
  };
}

async function untilSettled(db: Database): Promise<void> {
  const isDone = async () => {
    const open = [
      ...(await listUnpublishedStopFacts(db, 1)),
      ...(await listUnsettledStopFacts(db)),
    ];
    return open.length === 0;
  };
  await waitFor('no open stop fact', isDone, { timeoutMs: 10_000 });
}

describe('stop facts of a cluster', () => {
  it('reach every node through the bucket, and become changes on the master, once', async () => {
    const incarnation = await test.beginIncarnation(test.connect());
    const master = await startNode(incarnation, { isMaster: true });
    const other = await startNode(incarnation, { isMaster: false });
    const alice = await addUser(master.db, 'alice');
    await addKey(master.db, 'cs_full');
    const key = await addKey(master.db, 'cs_leaked', ['verify']);
    const facts = [
      factAbout(alice),
      factAbout(alice, { reason: 'again' }),
      factAbout(key, { kind: 'api-key', reason: 'revoked', expiresAt: null }),
    ];
    await keepStopFacts(other.db, facts);
    await waitFor('all on the master', async () => (await readStopFacts(master.db)).length === 3, {
      timeoutMs: 10_000,
    });
    await untilSettled(master.db);
    const blocked = await documentOf(master.db, 'alice');
    expect(new Set(blocked.blocked?.stopFacts)).toEqual(new Set([facts[0]!.id, facts[1]!.id]));
    expect(await findApiKeys(master.db, [hashApiKey('cs_leaked'), hashApiKey('cs_full')])).toEqual([
      null,
      expect.anything(),
    ]);
    expect(master.commands.toSorted()).toEqual(facts.map(({ id }) => id).toSorted());
    expect(other.commands).toEqual([]);
    const isPublished = async () => (await listUnpublishedStopFacts(other.db, 1)).length === 0;
    await waitFor('the other to note that', isPublished, { timeoutMs: 10_000 });
  });

  it('are lifted by unblocking and do not come back, while a later one counts again', async () => {
    const incarnation = await test.beginIncarnation(test.connect());
    const { db, commands } = await startNode(incarnation, { isMaster: true });
    const bob = await addUser(db, 'bob');
    const first = factAbout(bob);
    await keepStopFacts(db, [first]);
    await untilSettled(db);
    expect((await documentOf(db, 'bob')).blocked?.reason).toBe('lost phone');
    await execute(db, 'user.unblock', { username: 'bob' });
    expect(await documentOf(db, 'bob')).toMatchObject({
      blocked: null,
      liftedStopFacts: [first.id],
    });
    // Told once more, by a node that was away.
    await keepStopFacts(db, [first]);
    const later = factAbout(bob, { reason: 'again' });
    await keepStopFacts(db, [later]);
    await untilSettled(db);
    expect((await documentOf(db, 'bob')).blocked).toMatchObject({
      reason: 'again',
      stopFacts: [later.id],
    });
    expect(commands).toEqual([first.id, later.id]);
    expect(await countPendingStopFacts(db)).toBe(0);
  });

  it('that were never made changes are lifted too', async () => {
    const db = await test.openDatabase();
    await initApplied(db, await test.beginIncarnation(test.connect()));
    const carol = await addUser(db, 'carol');
    const fact = factAbout(carol);
    await keepStopFacts(db, [fact]);
    await execute(db, 'user.unblock', { username: 'carol' });
    expect((await documentOf(db, 'carol')).liftedStopFacts).toEqual([fact.id]);
    expect(await execute(db, 'stop-fact.apply', { id: fact.id })).toMatchObject({
      kind: 'unchanged',
    });
  });

  it('give way to a block by command, which then says how long', async () => {
    const db = await test.openDatabase();
    await initApplied(db, await test.beginIncarnation(test.connect()));
    const dave = await addUser(db, 'dave');
    const fact = factAbout(dave);
    await keepStopFacts(db, [fact]);
    await execute(db, 'stop-fact.apply', { id: fact.id });
    await execute(db, 'user.block', { username: 'dave', reason: 'one day', days: 1 });
    const document = await documentOf(db, 'dave');
    expect(document).toMatchObject({
      blocked: { reason: 'one day' },
      liftedStopFacts: [fact.id],
    });
    expect(document.blocked).not.toHaveProperty('stopFacts');
  });
});

describe('revoking a key by command', () => {
  it('keeps the last key with every right unless it is meant', async () => {
    const db = await test.openDatabase();
    await initApplied(db, await test.beginIncarnation(test.connect()));
    const first = await addKey(db, 'cs_first');
    const second = await addKey(db, 'cs_second');
    await keepStopFacts(db, [factAbout(second, { kind: 'api-key', expiresAt: null })]);
    // The second does not count any more: a stop fact has revoked it.
    const wish = { id: first, evenLast: false };
    expect(await execute(db, 'api-key.revoke', wish)).toMatchObject({
      kind: 'refused',
      code: 'last_full_api_key',
    });
    expect(await execute(db, 'api-key.revoke', { ...wish, id: second })).toMatchObject({
      kind: 'change',
    });
    await execute(db, 'api-key.revoke', { ...wish, evenLast: true });
    expect(await findApiKeys(db, [hashApiKey('cs_first')])).toEqual([null]);
    expect(await execute(db, 'api-key.revoke', wish)).toMatchObject({ code: 'unknown_api_key' });
  });
});
