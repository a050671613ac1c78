import { randomBytes, randomUUID } from 'node:crypto';
import type { Caller, CommandName, CommandRequest } from '@countersign/api';
import {
  Membership,
  serveCommands,
  StopFacts,
  type Heartbeat,
  type MasterReply,
} from '@countersign/cluster';
import { listStopFactsOfUser, takeFinalOutbox } from '@countersign/database';
import { runCommand, sealerOf } from '@countersign/operations';
import { waitFor } from '@countersign/testing';
import { parseStopFact, STOP_FACTS_PER_USER_MAX } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { useTestStates } from './testing/use-test-states.ts';

const test = useTestStates();
const key = () => ({ keyId: '00000000', key: randomBytes(32) });
const seedKey = key();
const sealer = sealerOf(key());
const attemptKey = key();
const caller: Caller = {
  id: 'help-desk',
  name: 'help desk',
  scopes: new Set(),
  applications: null,
  proof: { kind: 'api-key', secret: '' },
};

function startPath() {
  const link = test.link();
  const incarnationNumber = 1;
  const stopFacts = new StopFacts({ link, incarnationNumber, sealer, parse: parseStopFact });
  const membership = new Membership(link);
  const db = test.db();
  return {
    db,
    node: 'node-1',
    stopFacts,
    link,
    membership,
    sealer,
    attemptKey,
    commandIdKey: attemptKey,
  };
}

function request(
  name: CommandName,
  args: Record<string, unknown>,
  idempotencyKey: string | null = null,
): CommandRequest {
  return { name, args, caller, idempotencyKey, timeoutMs: 5000 };
}

const block = (username: string, idempotencyKey?: string) =>
  request('user.block', { username, reason: 'lost phone', days: 2 }, idempotencyKey);

describe('without a master', () => {
  it('a block is a stop fact that says who, why, where and until when, and leaves its event', async () => {
    const path = startPath();
    const user = await test.addUser(seedKey, randomBytes(20));
    const reply = await runCommand(path, block(user.username), () => ({}));
    if (reply.kind !== 'stopped') throw new Error(reply.kind);
    const { fact } = reply;
    expect(fact).toMatchObject({
      kind: 'user',
      subject: user.id,
      reason: 'lost phone',
      by: 'help desk',
      node: 'node-1',
    });
    expect(Date.parse(fact.expiresAt!) - Date.parse(fact.at)).toBe(2 * 86_400_000);
    expect(await listStopFactsOfUser(path.db, user.id)).toEqual([fact]);
    const events = (await takeFinalOutbox(path.db, 100)).map(({ event }) => event);
    expect(events.filter(({ userId }) => userId === user.id)).toMatchObject([
      {
        type: 'user.block',
        actor: 'help desk',
        result: 'done',
        degraded: true,
        details: { reason: 'lost phone', days: 2, stopFact: fact.id },
      },
    ]);
  });

  it('the same request again is the same fact, and a flood about one user is refused', async () => {
    const path = startPath();
    const user = await test.addUser(seedKey, randomBytes(20));
    const once = await runCommand(path, block(user.username, 'one'), () => ({}));
    expect(once.kind).toBe('stopped');
    const again = await runCommand(path, block(user.username, 'one'), () => ({}));
    expect(again).toMatchObject({ fact: { id: once.kind === 'stopped' && once.fact.id } });
    expect(await listStopFactsOfUser(path.db, user.id)).toHaveLength(1);
    for (let i = 1; i < STOP_FACTS_PER_USER_MAX; i += 1) {
      await runCommand(path, block(user.username), () => ({}));
    }
    expect(await runCommand(path, block(user.username), () => ({}))).toMatchObject({
      kind: 'refused',
      status: 429,
      code: 'too_many_stop_facts',
    });
    expect(await listStopFactsOfUser(path.db, user.id)).toHaveLength(STOP_FACTS_PER_USER_MAX);
  });

  it('a fraud report blocks where the settings want it, and is told of in any case', async () => {
    const path = startPath();
    const user = await test.addUser(seedKey, randomBytes(20));
    const args = { username: user.username, reason: 'not me' };
    const reply = await runCommand(path, request('user.report-fraud', args), () => ({}));
    expect(reply).toMatchObject({
      kind: 'stopped',
      fact: { kind: 'user', subject: user.id, reason: 'fraud reported: not me' },
    });
    const other = await test.addUser(seedKey, randomBytes(20));
    await path.db.sql`
      insert into settings_groups (id, document, revision)
      values ('blocks', ${'{"id":"blocks","days":90,"onFraud":false}'}::text::jsonb, 1)`;
    try {
      const told = request('user.report-fraud', { username: other.username });
      expect(await runCommand(path, told, () => ({}))).toMatchObject({
        kind: 'done',
        result: { blocked: false },
      });
    } finally {
      await path.db.sql`delete from settings_groups`;
    }
    expect(await listStopFactsOfUser(path.db, other.id)).toEqual([]);
    const events = (await takeFinalOutbox(path.db, 100)).map(({ event }) => event);
    const fraud = events.filter(({ type }) => type === 'fraud');
    expect(fraud).toMatchObject([
      { userId: user.id, details: { reason: 'not me', blocks: true }, degraded: true },
      { userId: other.id, details: { blocks: false }, degraded: true },
    ]);
  });

  it('whom this node does not know it does not stop, and nothing else becomes a fact', async () => {
    const path = startPath();
    const user = await test.addUser(seedKey, randomBytes(20));
    expect(await runCommand(path, block('nobody'), () => ({}))).toMatchObject({ status: 404 });
    const revoke = request('api-key.revoke', { id: randomUUID(), evenLast: true });
    expect(await runCommand(path, revoke, () => ({}))).toMatchObject({ status: 404 });
    for (const name of ['user.unblock', 'user.remove', 'user.set'] as const) {
      const reply = await runCommand(path, request(name, { username: user.username }), () => ({}));
      expect(reply.kind).toBe('master_offline');
    }
    expect(await listStopFactsOfUser(path.db, user.id)).toEqual([]);
  });
});

describe('with a master', () => {
  it.each<{
    how: string;
    answer: () => Promise<MasterReply>;
    becomes: string;
    timeoutMs?: number;
  }>([
    {
      how: 'does it',
      answer: async () => ({ kind: 'done', revision: 0, result: {} }),
      becomes: 'done',
    },
    {
      how: 'refuses it for good',
      answer: async () => ({ kind: 'refused', status: 403, code: 'forbidden', detail: 'no' }),
      becomes: 'refused',
    },
    {
      how: 'is too busy',
      answer: async () => ({ kind: 'refused', status: 503, code: 'busy', detail: 'later' }),
      becomes: 'stopped',
    },
    { how: 'hangs', answer: () => new Promise(() => {}), becomes: 'stopped', timeoutMs: 300 },
  ])('that $how, a block is $becomes', async ({ answer, becomes, timeoutMs = 5000 }) => {
    const path = startPath();
    const instance = randomUUID();
    const master = test.agentLink();
    serveCommands({ link: master, sealer, instance, handle: answer });
    const heartbeats = new Membership(master);
    const heartbeat: Heartbeat = {
      node: 'node-1',
      instance,
      role: 'master',
      isHandingOver: false,
      masterSince: null,
      leaseHolder: 'node-1',
      epoch: 1,
      incarnation: { number: 1, id: 'a' },
      filling: null,
      logServer: null,
      logServerTag: null,
      storeMark: null,
      revision: 0,
      digest: '',
      isDigestComparable: true,
      isPromotable: true,
      version: '1',
      format: 1,
      url: null,
      isLogWritable: true,
      problems: [],
      wallMs: Date.now(),
    };
    const isHeard = () => {
      heartbeats.send(heartbeat);
      return path.membership.master() !== null;
    };
    const user = await test.addUser(seedKey, randomBytes(20));
    await waitFor('the master', isHeard, { timeoutMs: 5000 });
    const reply = await runCommand(path, { ...block(user.username), timeoutMs }, () => ({}));
    expect(reply.kind).toBe(becomes);
    const facts = await listStopFactsOfUser(path.db, user.id);
    expect(facts).toHaveLength(becomes === 'stopped' ? 1 : 0);
  });
});
