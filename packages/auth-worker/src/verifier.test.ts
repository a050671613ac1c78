import { randomBytes, randomUUID } from 'node:crypto';
import type { VerificationAttempt } from '@countersign/api';
import { Asks } from '@countersign/cluster';
import {
  closeCircuit,
  keepStopFacts,
  openCircuit,
  storeUserStates,
  takeFinalOutbox,
} from '@countersign/database';
import { waitFor } from '@countersign/testing';
import {
  defaultSettings,
  emptyState,
  encodeState,
  generateSecret,
  hotp,
  mergeClaims,
  parseState,
  type UserDocument,
  type UserState,
} from '@countersign/verification';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { attemptIdsOf } from './attempt-ids.ts';
import { Circuit } from './circuit.ts';
import { DatabaseGate } from './database-gate.ts';
import { WorkerEvents } from './events.ts';
import { WorkerMetrics } from './metrics.ts';
import { useTestStates } from './testing/use-test-states.ts';
import { Verifier, type TextToSend } from './verifier.ts';

const test = useTestStates();
const secret = generateSecret();
const key = () => ({ keyId: '00000000', key: randomBytes(32) });
const keys = {
  seed: key(),
  'wrong-code': key(),
  'attempt-id': key(),
  challenge: key(),
  pin: key(),
  'spare-code': key(),
};
const sent: TextToSend[] = [];

/** A node's line to the others; it answers with what it knows of any user. */
function startAsks(node: string, known: () => UserState | null): Asks {
  const plain = { seal: (bytes: Uint8Array) => bytes, open: (bytes: Uint8Array) => bytes };
  const asks = new Asks({
    links: [test.link()],
    node,
    sealer: plain,
    answer: async () => {
      const state = known();
      return { isGranted: true, state: state && Buffer.from(encodeState(state)).toString() };
    },
    onSettled: async () => undefined,
  });
  test.atEnd(() => asks[Symbol.asyncDispose]());
  return asks;
}

function startVerifier(asks = startAsks('node-1', () => null)): Verifier {
  const db = test.db();
  const log = pino({ level: 'silent' });
  const gauges = async () => {
    throw new Error('nobody looks');
  };
  const gate = new DatabaseGate(() => db.sql`select 1`);
  return new Verifier({
    node: 'node-1',
    db,
    gate,
    states: test.states(),
    asks,
    circuit: new Circuit({ db, gate, events: new WorkerEvents(db, 'node-1'), log }),
    keys,
    incarnation: { number: 0, id: 'one' },
    sendText: async (text) => {
      sent.push(text);
      return { sent: true, details: {} };
    },
    changePin: null,
    metrics: new WorkerMetrics({ node: 'node-1', worker: '0' }, gauges),
    log,
  });
}

function attempt(username: string, counter: number, idempotencyKey?: string): VerificationAttempt {
  return {
    caller: {
      id: 'caller',
      name: 'caller',
      scopes: new Set(),
      applications: null,
      proof: { kind: 'api-key', secret: '' },
    },
    username,
    door: 'http',
    code: hotp(secret, counter, { algorithm: 'SHA1', digits: 6 }),
    pin: null,
    newPin: null,
    method: null,
    challenge: null,
    application: null,
    clientIp: null,
    remoteAddress: '127.0.0.1',
    idempotencyKey: idempotencyKey ?? null,
  };
}

/** What a user's state becomes when another node's approval of this attempt without the quorum is merged into it. */
function approvedElsewhere(user: UserDocument, approved: VerificationAttempt): UserState {
  const { attemptId } = attemptIdsOf(keys['attempt-id'], approved);
  const authenticatorId = user.authenticators[0]!.id;
  const item = `hotp:${authenticatorId}:0`;
  const claim = { id: attemptId, at: Date.now(), authenticatorId, last: 0, item };
  return mergeClaims(emptyState(), [claim], defaultSettings, Date.now());
}

async function storedState(userId: string) {
  const read = await test.states().readThroughLeader(userId, 1000);
  if (read.kind !== 'found') throw new Error(read.kind);
  return { userId, revision: read.revision, state: parseState(read.bytes) };
}

/** What the agent's follower does. */
async function copyState(userId: string): Promise<void> {
  const row = await storedState(userId);
  await storeUserStates(test.db(), [row], row.revision);
}

describe('verifying', () => {
  it('keeps what was used up when the log servers have forgotten every state', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    for (const counter of [0, 1]) {
      const outcome = await verifier.verify(attempt(user.username, counter));
      expect(outcome).toMatchObject({ approved: true, degraded: false });
    }
    await copyState(user.id);
    await test.loseAllStates();
    const wrong = await verifier.verify(attempt(user.username, 500));
    expect(wrong).toMatchObject({ approved: false, reason: 'wrong_code', degraded: false });
    const stored = await storedState(user.id);
    expect(stored.state.accepted[user.authenticators[0]!.id]?.[0]).toBe(1);
    expect(stored.state.methods.code.failures).toBe(1);
  });

  it('denies whom a stop fact blocks from the next step on, and counts nothing', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    expect(await verifier.verify(attempt(user.username, 0))).toMatchObject({ approved: true });
    const nowMs = Date.now();
    await keepStopFacts(test.db(), [
      {
        id: randomUUID(),
        kind: 'user',
        subject: user.id,
        reason: 'lost phone',
        by: 'help desk',
        node: 'node-2',
        at: new Date(nowMs).toISOString(),
        expiresAt: new Date(nowMs + 60_000).toISOString(),
      },
    ]);
    for (const counter of [1, 500]) {
      const denied = await verifier.verify(attempt(user.username, counter));
      expect(denied).toMatchObject({ approved: false, reason: 'blocked', degraded: false });
    }
    const { state } = await storedState(user.id);
    expect(state.accepted[user.authenticators[0]!.id]?.[0]).toBe(0);
    expect(state.methods.code.failures).toBe(0);
  });

  it('tells an attempt its verdict again where another node approved it without the quorum', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const repeated = attempt(user.username, 0, randomUUID());
    const merged = approvedElsewhere(user, repeated);
    await test.states().write(user.id, encodeState(merged), 0, 1000);
    expect(await verifier.verify(repeated)).toMatchObject({ approved: true });
    expect(await verifier.verify(attempt(user.username, 0, randomUUID()))).toMatchObject({
      approved: false,
      reason: 'replayed',
    });
  });

  it('does so too when only that node knows of it yet', async () => {
    const user = await test.addUser(keys.seed, secret);
    const repeated = attempt(user.username, 0, randomUUID());
    const merged = approvedElsewhere(user, repeated);
    const asks = startAsks('node-1', () => null);
    startAsks('node-2', () => merged);
    await waitFor('node-2', () => asks.liveNodes().includes('node-2'), { timeoutMs: 5000 });
    const verifier = startVerifier(asks);
    await openCircuit(test.db(), 'test');
    try {
      const stranger = await verifier.verify(attempt(user.username, 0, randomUUID()));
      expect(stranger).toMatchObject({ approved: false, reason: 'replayed', degraded: true });
      expect(await verifier.verify(repeated)).toMatchObject({ approved: true, degraded: true });
    } finally {
      await closeCircuit(test.db());
    }
  });

  it('leaves a final event of a key that came with other content', async () => {
    const user = await test.addUser(keys.seed, secret);
    const verifier = startVerifier();
    const idempotencyKey = randomUUID();
    await verifier.verify(attempt(user.username, 0, idempotencyKey));
    await copyState(user.id);
    const other = await verifier.verify(attempt(user.username, 1, idempotencyKey));
    expect(other).toEqual({ kind: 'conflict' });
    const events = (await takeFinalOutbox(test.db(), 1000))
      .map(({ event }) => event)
      .filter(({ userId }) => userId === user.id);
    expect(events.map(({ result, reason }) => ({ result, reason }))).toEqual([
      { result: 'approved', reason: null },
      { result: 'denied', reason: 'idempotency_conflict' },
    ]);
  });
});
