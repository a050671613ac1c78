import { randomBytes, randomUUID } from 'node:crypto';
import {
  claimsOf,
  markMerged,
  openCircuit,
  readCircuit,
  settleForeign,
  type Database,
} from '@countersign/database';
import { parseState, type Claim } from '@countersign/verification';
import { pino } from 'pino';
import { describe, expect, it } from 'vitest';
import { waitFor } from '@countersign/testing';
import { noteSettled } from './answer-asks.ts';
import { WorkerEvents } from './events.ts';
import { mergeDegradedClaims } from './merge-degraded-claims.ts';
import { readMostKnown } from './most-known.ts';
import { useTestStates } from './testing/use-test-states.ts';

const test = useTestStates();
const seedKey = { keyId: '00000000', key: randomBytes(32) };

async function approveDegraded(userId: string, authenticatorId: string, last: number) {
  const attemptId = randomUUID();
  const item = `hotp:${authenticatorId}:${last}`;
  await settleForeign(test.db(), {
    userId,
    item,
    attemptId,
    holder: 'node-2',
    outcome: 'approved',
    claim: { id: attemptId, at: Date.now(), authenticatorId, last, item },
  });
  return { userId, item, attemptId };
}

describe('merging degraded claims', () => {
  it('does not let one damaged state keep the others and the circuit waiting', async () => {
    const db = test.db();
    const states = test.states();
    const damaged = await test.addUser(seedKey, randomBytes(20));
    const sound = await test.addUser(seedKey, randomBytes(20));
    await states.write(damaged.id, Buffer.from('no state'), 0, 1000);
    const authenticatorId = sound.authenticators[0]!.id;
    await approveDegraded(damaged.id, randomUUID(), 7);
    await approveDegraded(sound.id, authenticatorId, 7);
    await openCircuit(db, 'test');
    const stop = new AbortController();
    const merging = mergeDegradedClaims({
      node: 'node-1',
      db,
      states,
      worker: 'test',
      events: new WorkerEvents(db, 'node-1'),
      log: pino({ level: 'silent' }),
      signal: stop.signal,
    });
    test.atEnd(() => {
      stop.abort();
      return merging;
    });
    await waitFor('the circuit', async () => !(await readCircuit(db)).open, { timeoutMs: 8000 });
    const read = await states.readThroughLeader(sound.id, 1000);
    if (read.kind !== 'found') throw new Error(read.kind);
    expect(parseState(read.bytes).accepted[authenticatorId]?.[0]).toBe(7);
    expect(await unmergedClaimsOf(db, sound.id)).toEqual([]);
    expect(await unmergedClaimsOf(db, damaged.id)).toHaveLength(1);
  });

  it('leaves them known here while no copy of the state has them yet', async () => {
    const db = test.db();
    const user = await test.addUser(seedKey, randomBytes(20));
    const authenticatorId = user.authenticators[0]!.id;
    const claim = await approveDegraded(user.id, authenticatorId, 7);
    await markMerged(db, [claim]);
    expect(await unmergedClaimsOf(db, user.id)).toEqual([]);
    const { state } = await readMostKnown({ db, states: test.states() }, user.id, 500);
    expect(state?.accepted[authenticatorId]?.[0]).toBe(7);
  });

  it('never gets to see a settlement whose claim is none', async () => {
    const db = test.db();
    const userId = randomUUID();
    const settled = {
      userId,
      item: 'totp:x:1',
      attemptId: 'a',
      node: 'node-2',
      outcome: 'approved' as const,
      claim: 'none',
    };
    await expect(noteSettled({ db }, settled)).rejects.toThrow('not a claim');
    expect(await unmergedClaimsOf(db, userId)).toEqual([]);
  });
});

async function unmergedClaimsOf(some: Database, userId: string): Promise<Claim[]> {
  const claims = await claimsOf(some, userId);
  return claims.flatMap(({ claim, merged }) => (merged ? [] : [claim]));
}
