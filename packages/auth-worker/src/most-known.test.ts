import { randomUUID } from 'node:crypto';
import { beginAttempts, failureItem } from '@countersign/database';
import type { Claim } from '@countersign/verification';
import { expect, it } from 'vitest';
import { readMostKnown } from './most-known.ts';
import { useTestStates } from './testing/use-test-states.ts';

const test = useTestStates();
const wrong = (): Claim => ({ id: randomUUID(), at: Date.now(), failure: true, unlockedAt: 0 });

it('counts failures after a success of another node, also where that one’s clock is ahead', async () => {
  const userId = randomUUID();
  const authenticatorId = randomUUID();
  const at = Date.now() + 20_000;
  await keep(userId, wrong());
  await keep(userId, { id: 'b', at, authenticatorId, last: 7, item: `totp:${authenticatorId}:7` });
  expect(await failuresOf(userId)).toBe(0);
  await keep(userId, wrong());
  expect(await failuresOf(userId)).toBe(1);
});

it('goes on counting after a bypass, or a right code with a wrong PIN', async () => {
  const userId = randomUUID();
  await keep(userId, wrong());
  const spent = { at: Date.now(), spent: 'x'.repeat(16), until: Math.ceil(Date.now() / 1000) + 9 };
  await keep(userId, { id: 'bypass', item: 'bypass:1', ...spent });
  await keep(userId, { id: 'pin', item: 'challenge:1', denied: true, ...spent });
  expect(await failuresOf(userId)).toBe(1);
});

async function keep(userId: string, claim: Claim): Promise<void> {
  const attemptId = claim.id;
  const reservation = {
    userId,
    item: 'item' in claim ? claim.item : failureItem(attemptId),
    attemptId,
    holder: 'node-2',
    phase: 'approved' as const,
    degraded: true,
    claim,
  };
  const event = {
    id: randomUUID(),
    at: new Date().toISOString(),
    type: 'verification',
    node: 'node-2',
    userId,
    username: null,
    actor: null,
    application: null,
    clientAddress: null,
    result: 'unknown',
    reason: null,
    degraded: true,
    durationMs: null,
    details: {},
  };
  await beginAttempts(test.db(), [{ reservation, event, isFinal: false }]);
}

async function failuresOf(userId: string): Promise<number> {
  const options = { db: test.db(), states: test.states() };
  return (await readMostKnown(options, userId, 100)).failures.length;
}
