import { randomUUID } from 'node:crypto';
import { STOP_FACTS_PER_MINUTE_MAX, STOP_FACTS_PER_USER_MAX } from '@countersign/verification';
import type { StopFact } from '@countersign/verification';
import { describe, expect, it } from 'vitest';
import { findApiKeys, listApiKeys } from './api-keys.ts';
import { applyChanges } from './apply-changes.ts';
import { takeFinalOutbox } from './outbox.ts';
import { readPosition } from './positions.ts';
import { initApplied } from './read-applied.ts';
import { readForVerification } from './read-for-verification.ts';
import {
  addStopFact,
  countPendingStopFacts,
  findStopFact,
  keepStopFacts,
  listStopFactsOfUser,
  listUnpublishedStopFacts,
  listUnsettledStopFacts,
  markStopFactsPublished,
  readStopFacts,
  reopenStopFacts,
  settleStopFacts,
  storeStopFacts,
} from './stop-facts.ts';
import {
  exampleApiKey,
  exampleEvent,
  exampleUser,
  firstIncarnation,
  removeChange,
  setChange,
} from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { findUser } from './users.ts';

const postgres = useTestPostgres();

async function replica() {
  const db = await postgres.cleanDatabase();
  await initApplied(db, firstIncarnation);
  const user = exampleUser('alice');
  const key = exampleApiKey('secret');
  await applyChanges(db, [
    setChange(1, { kind: 'user', document: user }),
    setChange(2, { kind: 'api-key', document: key }),
  ]);
  return { db, user, key };
}

function factAbout(subject: string, more: Partial<StopFact> = {}): StopFact {
  const atMs = Date.now();
  return {
    id: randomUUID(),
    kind: 'user',
    subject,
    reason: 'lost phone',
    by: 'help desk',
    node: 'node-1',
    at: new Date(atMs).toISOString(),
    expiresAt: new Date(atMs + 86_400_000).toISOString(),
    ...more,
  };
}

const sorted = (facts: StopFact[]) => facts.toSorted((a, b) => a.id.localeCompare(b.id));

describe('a stop fact on a node', () => {
  it('is told by the read of the next verification, and leaves its event', async () => {
    const { db, user } = await replica();
    const fact = factAbout(user.id);
    const event = exampleEvent({ type: 'user.block', userId: user.id });
    expect(await addStopFact(db, fact, event)).toBe('stopped');
    const [read] = await readForVerification(db, ['alice']);
    expect(read!.users[0]!.stopFacts).toEqual([fact]);
    expect((await findUser(db, 'alice')) as object).toMatchObject({ stopFacts: [fact] });
    expect((await takeFinalOutbox(db, 10)).map((row) => row.event)).toEqual([event]);
    expect(await findStopFact(db, fact.id)).toEqual(fact);
    expect(await countPendingStopFacts(db)).toBe(1);
  });

  it('refuses a revoked key from then on, also where the key was remembered', async () => {
    const { db, key } = await replica();
    const [before] = await findApiKeys(db, [key.secretHash]);
    expect(before!.document).toEqual(key);
    const [readBefore] = await readForVerification(db, ['alice']);
    expect(readBefore!.keysRevision).toBe(before!.revision);
    const fact = factAbout(key.id, { kind: 'api-key', expiresAt: null });
    await addStopFact(db, fact, exampleEvent());
    expect(await findApiKeys(db, [key.secretHash])).toEqual([null]);
    const [readAfter] = await readForVerification(db, ['alice']);
    expect(readAfter!.keysRevision).toBeGreaterThan(before!.revision);
    expect(await listApiKeys(db)).toMatchObject([{ document: key, isRevoked: true }]);
  });

  it('is one however often the same is asked or told', async () => {
    const { db, user } = await replica();
    const fact = factAbout(user.id);
    await Promise.all([
      addStopFact(db, fact, exampleEvent()),
      addStopFact(db, fact, exampleEvent()),
      keepStopFacts(db, [fact, fact]),
      storeStopFacts(db, [fact], 7),
    ]);
    expect(await readStopFacts(db)).toEqual([fact]);
    expect(await readPosition(db, 'stops')).toBe(7);
    expect(await listUnpublishedStopFacts(db, 10)).toEqual([]);
    expect(await listUnsettledStopFacts(db)).toEqual([fact]);
  });

  it('has bounds: so many of a user, so many a minute; what others accepted is always kept', async () => {
    const { db, user } = await replica();
    const outcomes: string[] = [];
    for (let i = 0; i <= STOP_FACTS_PER_USER_MAX; i += 1) {
      outcomes.push(await addStopFact(db, factAbout(user.id), exampleEvent()));
    }
    expect(outcomes.at(-2)).toBe('stopped');
    expect(outcomes.at(-1)).toBe('too_many_of_subject');
    const last = [];
    for (let i = STOP_FACTS_PER_USER_MAX; i <= STOP_FACTS_PER_MINUTE_MAX; i += 1) {
      last.push(await addStopFact(db, factAbout(randomUUID()), exampleEvent()));
    }
    expect(last.at(-2)).toBe('stopped');
    expect(last.at(-1)).toBe('too_many_of_node');
    expect(await takeFinalOutbox(db, 1000)).toHaveLength(STOP_FACTS_PER_MINUTE_MAX);
    const foreign = factAbout(user.id, { node: 'node-2' });
    await keepStopFacts(db, [foreign]);
    expect(await findStopFact(db, foreign.id)).toEqual(foreign);
  });

  it('no longer counts towards the bound of its user once lifted', async () => {
    const { db, user } = await replica();
    const facts = Array.from({ length: STOP_FACTS_PER_USER_MAX }, () => factAbout(user.id));
    await keepStopFacts(db, facts);
    const another = factAbout(user.id);
    expect(await addStopFact(db, another, exampleEvent())).toBe('too_many_of_subject');
    const document = { ...user, liftedStopFacts: facts.map(({ id }) => id) };
    await applyChanges(db, [setChange(3, { kind: 'user', document })]);
    expect(await addStopFact(db, another, exampleEvent())).toBe('stopped');
    expect(await countPendingStopFacts(db)).toBe(1);
  });
});

describe('open stop facts', () => {
  it('are settled by the change that knows them, a tombstone, or their end, and by nothing else', async () => {
    const { db, user, key } = await replica();
    const other = exampleUser('bob');
    const blocking = factAbout(user.id);
    const lifted = factAbout(user.id);
    const open = factAbout(user.id);
    const ofKey = factAbout(key.id, { kind: 'api-key', expiresAt: null });
    const expired = factAbout(user.id, { expiresAt: new Date(Date.now() - 1000).toISOString() });
    const ofNobody = factAbout(other.id);
    const foreignKind = factAbout('any text', { kind: 'session' });
    await keepStopFacts(db, [blocking, lifted, open, ofKey, expired, ofNobody, foreignKind]);
    await settleStopFacts(db);
    expect(sorted(await listUnsettledStopFacts(db))).toEqual(
      sorted([blocking, lifted, open, ofKey]),
    );
    const blocked = {
      reason: 'x',
      at: blocking.at,
      by: 'y',
      expiresAt: blocking.expiresAt!,
      stopFacts: [blocking.id],
    };
    await applyChanges(db, [
      setChange(3, {
        kind: 'user',
        document: { ...user, blocked, liftedStopFacts: [lifted.id] },
      }),
      removeChange(4, 'api-key', key.id),
    ]);
    await settleStopFacts(db);
    const [marked] = await db.sql<{ ids: string[] }[]>`
      select jsonb_agg(id) as ids from stop_facts where settled`;
    expect(new Set(marked!.ids)).toEqual(
      new Set([blocking, lifted, ofKey, expired].map(({ id }) => id)),
    );
    expect(await listUnsettledStopFacts(db)).toEqual([open]);
    expect(await countPendingStopFacts(db)).toBe(1);
    expect(await listStopFactsOfUser(db, user.id)).toHaveLength(4);
  });

  it('are none once stored and settled, and all again in a new life of the log', async () => {
    const { db, user } = await replica();
    const fact = factAbout(user.id);
    await storeStopFacts(db, [fact], 3);
    const later = factAbout(user.id);
    await keepStopFacts(db, [later]);
    await markStopFactsPublished(db, [later.id]);
    await applyChanges(db, [
      setChange(3, {
        kind: 'user',
        document: { ...user, liftedStopFacts: [fact.id, later.id] },
      }),
    ]);
    await settleStopFacts(db);
    expect(await listUnpublishedStopFacts(db, 10)).toEqual([]);
    expect(await listUnsettledStopFacts(db)).toEqual([]);

    const other = factAbout(randomUUID());
    const foreignKind = factAbout('any text', { kind: 'device' });
    const endedSession = factAbout('gone', { kind: 'session', expiresAt: '2026-01-01T00:00:00Z' });
    await storeStopFacts(db, [other, foreignKind, endedSession], 5);
    await applyChanges(db, [setChange(4, { kind: 'user', document: user })]);
    await db.transaction((tx) => reopenStopFacts(tx));
    expect(await readPosition(db, 'stops')).toBe(0);
    // What the new life's documents lack is about nobody.
    const carried = sorted([fact, later, foreignKind]);
    expect(sorted(await readStopFacts(db))).toEqual(carried);
    expect(sorted(await listUnpublishedStopFacts(db, 10))).toEqual(carried);
    expect(sorted(await listUnsettledStopFacts(db))).toEqual(sorted([fact, later]));
  });
});
