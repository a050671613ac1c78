import { randomUUID } from 'node:crypto';
import type { Claim } from '@countersign/verification';
import { beforeAll, describe, expect, it } from 'vitest';
import { grantAsk, settleForeign } from './foreign-reservations.ts';
import type { Database } from './open-database.ts';
import { outboxSize, takeFinalOutbox } from './outbox.ts';
import { beginAttempts, failureItem, finishAttempts, markPhase } from './reservations.ts';
import type { Beginning, Phase } from './reservations.ts';
import { exampleEvent } from './testing/example-documents.ts';
import { useTestPostgres } from './testing/use-test-postgres.ts';
import { claimsOf, markMerged, sweepReservations, unmergedClaims } from './unmerged-claims.ts';

const postgres = useTestPostgres();
let db: Database;
beforeAll(async () => {
  db = postgres.open(await postgres.migratedDatabase(), { max: 20 });
});

const item = 'totp:a:100';

function beginning(
  userId: string,
  attemptId: string,
  more: { item?: string; holder?: string; phase?: Phase; claim?: Claim; degraded?: boolean } = {},
): Beginning {
  const reservation = {
    userId,
    item,
    attemptId,
    holder: 'node-1',
    phase: 'cas' as const,
    degraded: false,
    claim: null,
    ...more,
  };
  return { reservation, event: exampleEvent({ userId }), isFinal: false };
}

async function begin(...attempts: Beginning[]) {
  return beginAttempts(db, attempts);
}

function approvalClaim(id: string): Claim {
  const authenticatorId = randomUUID();
  return { id, at: 1, authenticatorId, last: 100, item: `totp:${authenticatorId}:100` };
}

async function rowsOf(userId: string) {
  return db.sql`select attempt_id, holder, phase, degraded, claim, merged from reservations
    where user_id = ${userId} order by item`;
}

describe('beginning an attempt', () => {
  it('grants one code to exactly one of 20 connections at once', async () => {
    for (let round = 0; round < 20; round++) {
      const userId = randomUUID();
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, index) => begin(beginning(userId, `attempt ${index}`))),
      );
      expect(outcomes.flat().filter((one) => one.kind === 'granted')).toHaveLength(1);
    }
  });

  it('refuses with who holds the code, and leaves the event in the outbox either way', async () => {
    const userId = randomUUID();
    const before = await outboxSize(db);
    await begin(beginning(userId, 'a', { phase: 'asking', degraded: true, holder: 'node-2' }));
    expect(await begin(beginning(userId, 'b'))).toEqual([
      {
        kind: 'refused',
        by: { attemptId: 'a', holder: 'node-2', phase: 'asking', degraded: true },
      },
    ]);
    expect(await outboxSize(db)).toBe(before + 2);
  });

  it('never refuses an attempt because of its own row', async () => {
    const userId = randomUUID();
    await begin(beginning(userId, 'a', { holder: 'node-2', phase: 'approved' }));
    expect(await begin(beginning(userId, 'a'))).toEqual([{ kind: 'granted' }]);
    expect(await rowsOf(userId)).toMatchObject([{ holder: 'node-2', phase: 'approved' }]);
  });

  it('judges many attempts in one call, each on its own', async () => {
    const [one, two] = [randomUUID(), randomUUID()];
    await begin(beginning(one, 'earlier'));
    const noItem = { reservation: null, event: exampleEvent(), isFinal: true };
    const outcomes = await begin(
      beginning(one, 'a'),
      beginning(two, 'b'),
      beginning(two, 'c'),
      noItem,
      beginning(two, 'd', { item: 'totp:a:101' }),
    );
    expect(outcomes.map((outcome) => outcome.kind)).toEqual([
      'refused',
      'granted',
      'refused',
      'granted',
      'granted',
    ]);
    expect(outcomes[2]).toMatchObject({ by: { attemptId: 'b' } });
  });

  it('does not deadlock when many calls want the same codes in different orders', async () => {
    const users = Array.from({ length: 30 }, () => randomUUID());
    const calls = Array.from({ length: 20 }, async (_, call) => {
      const order = call % 2 ? users : users.toReversed();
      const outcomes = await begin(...order.map((userId) => beginning(userId, `call ${call}`)));
      const granted = order.filter((_user, index) => outcomes[index]?.kind === 'granted');
      const finished = await finishAttempts(
        db,
        granted.map((userId) => ({
          event: exampleEvent(),
          reservation: {
            userId,
            item,
            attemptId: `call ${call}`,
            holder: 'node-1',
            outcome: 'approved' as const,
          },
        })),
      );
      expect(finished.every((one) => one === 'finished')).toBe(true);
      return granted.length;
    });
    const counts = await Promise.all(calls);
    expect(counts.reduce((sum, count) => sum + count, 0)).toBe(users.length);
  });
});

describe('finishing an attempt', () => {
  it('approves its own row and completes the event', async () => {
    const userId = randomUUID();
    const attempt = beginning(userId, 'a');
    await begin(attempt);
    const claim = approvalClaim('a');
    const event = { ...attempt.event, result: 'approved' };
    const reservation = { ...attempt.reservation!, outcome: 'approved' as const, degraded: true };
    expect(await finishAttempts(db, [{ event, reservation, claim }])).toEqual(['finished']);
    expect(await rowsOf(userId)).toEqual([
      {
        attempt_id: 'a',
        holder: 'node-1',
        phase: 'approved',
        degraded: true,
        claim,
        merged: false,
      },
    ]);
    const rows = await takeFinalOutbox(db, 1000);
    expect(rows.find((row) => row.id === event.id)?.event).toEqual(event);
  });

  it('yields, with its event still open, when the row became another attempt', async () => {
    const userId = randomUUID();
    const attempt = beginning(userId, 'b', { phase: 'asking' });
    await begin(attempt);
    await grantAsk(db, { userId, item, attemptId: 'a', holder: 'node-2' });
    const approval = {
      event: { ...attempt.event, result: 'approved' },
      reservation: { ...attempt.reservation!, outcome: 'approved' as const },
    };
    expect(await finishAttempts(db, [approval])).toEqual(['yielded']);
    const open = await db.sql`select final, event from outbox where id = ${attempt.event.id}`;
    expect(open).toEqual([{ final: false, event: attempt.event }]);
    expect(await rowsOf(userId)).toMatchObject([{ attempt_id: 'a', phase: 'asking' }]);
    const denial = { event: { ...attempt.event, result: 'denied' } };
    expect(await finishAttempts(db, [denial])).toEqual(['finished']);
  });

  it('withdraws a row without finishing the event when that is to come', async () => {
    const userId = randomUUID();
    const attempt = beginning(userId, 'a');
    await begin(attempt);
    const reservation = { ...attempt.reservation!, outcome: 'withdrawn' as const };
    await finishAttempts(db, [{ event: attempt.event, isFinal: false, reservation }]);
    expect(await rowsOf(userId)).toEqual([]);
    const final = async () => (await takeFinalOutbox(db, 1000)).map((row) => row.id);
    expect(await final()).not.toContain(attempt.event.id);
    await finishAttempts(db, [{ event: { ...attempt.event, result: 'denied' } }]);
    expect(await final()).toContain(attempt.event.id);
  });

  it('withdraws its own row, but never an approved one or that of another node', async () => {
    const attempts = [
      beginning(randomUUID(), 'a'),
      beginning(randomUUID(), 'a', { phase: 'approved' }),
      beginning(randomUUID(), 'a', { holder: 'node-2' }),
    ];
    await begin(...attempts);
    const outcomes = await finishAttempts(
      db,
      attempts.map(({ event, reservation }) => ({
        event,
        reservation: { ...reservation!, holder: 'node-1', outcome: 'withdrawn' as const },
      })),
    );
    expect(outcomes).toEqual(['finished', 'finished', 'finished']);
    const left = await Promise.all(attempts.map((one) => rowsOf(one.reservation!.userId)));
    expect(left.map((rows) => rows.length)).toEqual([0, 1, 1]);
  });

  it('stores the event even where its first row is gone', async () => {
    const event = exampleEvent({ result: 'denied' });
    expect(await finishAttempts(db, [{ event }])).toEqual(['finished']);
    const rows = await takeFinalOutbox(db, 1000);
    expect(rows.map((row) => row.event)).toContainEqual(event);
  });

  it('decides against an ask at the same instant one way only', async () => {
    for (let round = 0; round < 40; round++) {
      const userId = randomUUID();
      const attempt = beginning(userId, 'b', { phase: 'asking' });
      await begin(attempt);
      const reservation = { ...attempt.reservation!, outcome: 'approved' as const };
      const [[finished], ask] = await Promise.all([
        finishAttempts(db, [{ event: attempt.event, reservation }]),
        grantAsk(db, { userId, item, attemptId: 'a', holder: 'node-2' }),
      ]);
      expect(finished === 'finished').toBe(ask.kind === 'denied');
    }
  });
});

describe('marking a phase', () => {
  it('succeeds only from an expected phase of its own row', async () => {
    const key = { userId: randomUUID(), item, attemptId: 'a' };
    await begin(beginning(key.userId, 'a'));
    const mark = { ...key, from: ['cas'] as const, to: 'asking' as const, degraded: true };
    expect(await markPhase(db, { ...mark, attemptId: 'b' })).toBe(false);
    expect(await markPhase(db, mark)).toBe(true);
    expect(await markPhase(db, mark)).toBe(false);
    expect(await rowsOf(key.userId)).toMatchObject([{ phase: 'asking', degraded: true }]);
  });
});

describe('an ask of another node', () => {
  const askOf = (userId: string, attemptId: string) => ({
    userId,
    item,
    attemptId,
    holder: 'node-2',
  });

  it('is granted a free code, and again when it is repeated', async () => {
    const ask = askOf(randomUUID(), 'm');
    expect(await grantAsk(db, ask)).toEqual({ kind: 'granted' });
    expect(await grantAsk(db, ask)).toEqual({ kind: 'granted' });
    expect(await rowsOf(ask.userId)).toMatchObject([{ holder: 'node-2', phase: 'asking' }]);
    expect(await begin(beginning(ask.userId, 'z'))).toMatchObject([{ kind: 'refused' }]);
  });

  it('takes the code from a higher attempt id that is still asking', async () => {
    const userId = randomUUID();
    await begin(beginning(userId, 'n', { phase: 'asking', claim: approvalClaim('n') }));
    expect(await grantAsk(db, askOf(userId, 'm'))).toEqual({ kind: 'granted' });
    expect(await rowsOf(userId)).toMatchObject([
      { attempt_id: 'm', holder: 'node-2', phase: 'asking', claim: null },
    ]);
  });

  it('is denied by a lower attempt id', async () => {
    const userId = randomUUID();
    await begin(beginning(userId, 'l', { phase: 'asking' }));
    const denied = { kind: 'denied', phase: 'asking', attemptId: 'l', holder: 'node-1' };
    expect(await grantAsk(db, askOf(userId, 'm'))).toEqual(denied);
  });

  it.each(['cas', 'approved'] as const)('is denied by any attempt in %s', async (phase) => {
    const userId = randomUUID();
    await begin(beginning(userId, 'z', { phase }));
    const denied = { kind: 'denied', phase, attemptId: 'z', holder: 'node-1' };
    expect(await grantAsk(db, askOf(userId, 'a'))).toEqual(denied);
  });

  it('has the same winner on both of two nodes that ask each other at once', async () => {
    const other = postgres.open(await postgres.migratedDatabase());
    for (let round = 0; round < 30; round++) {
      const userId = randomUUID();
      const mine = beginning(userId, `${round % 2} mine`, { phase: 'asking' });
      const theirs = beginning(userId, '0 theirs', { phase: 'asking', holder: 'node-2' });
      await Promise.all([beginAttempts(db, [mine]), beginAttempts(other, [theirs])]);
      const [here, there] = await Promise.all([
        grantAsk(db, theirs.reservation!),
        grantAsk(other, mine.reservation!),
      ]);
      const [[iApproved], [theyApproved]] = await Promise.all([
        finishAttempts(db, [
          { event: mine.event, reservation: { ...mine.reservation!, outcome: 'approved' } },
        ]),
        finishAttempts(other, [
          { event: theirs.event, reservation: { ...theirs.reservation!, outcome: 'approved' } },
        ]),
      ]);
      const mineWins = there.kind === 'granted' && iApproved === 'finished';
      const theirsWins = here.kind === 'granted' && theyApproved === 'finished';
      expect([mineWins, theirsWins]).toEqual(round % 2 ? [false, true] : [true, false]);
    }
  });

  it('settled as approved denies the code here, also where the ask never came', async () => {
    const userId = randomUUID();
    const claim = approvalClaim('m');
    await settleForeign(db, { ...askOf(userId, 'm'), outcome: 'approved', claim });
    expect(await begin(beginning(userId, 'a'))).toMatchObject([
      { kind: 'refused', by: { attemptId: 'm', phase: 'approved', degraded: true } },
    ]);
    expect(await unmergedClaimsOf(db, userId)).toEqual([claim]);
  });

  it('settled as approved wins over one still asking, and changes no other', async () => {
    const claim = approvalClaim('m');
    for (const phase of ['asking', 'cas', 'approved'] as const) {
      const userId = randomUUID();
      await begin(beginning(userId, 'a', { phase }));
      await settleForeign(db, { ...askOf(userId, 'm'), outcome: 'approved', claim });
      const expected = phase === 'asking' ? 'm' : 'a';
      expect(await rowsOf(userId)).toMatchObject([{ attempt_id: expected }]);
    }
  });

  it('settled as approved is learned by one that waited for its compare-and-set', async () => {
    const key = { userId: randomUUID(), item, attemptId: 'a' };
    await begin(beginning(key.userId, 'a'));
    const claim = approvalClaim('m');
    await settleForeign(db, { ...askOf(key.userId, 'm'), outcome: 'approved', claim });
    const mark = { ...key, from: ['cas'] as const, to: 'asking' as const, degraded: true };
    expect(await markPhase(db, mark)).toBe(false);
    const next = await begin(beginning(key.userId, 'n'));
    expect(next).toMatchObject([{ kind: 'refused', by: { phase: 'cas' } }]);
  });

  it('settled as approved twice is not merged twice', async () => {
    const settled = { ...askOf(randomUUID(), 'm'), outcome: 'approved' as const };
    const claim = approvalClaim('m');
    await settleForeign(db, { ...settled, claim });
    await markMerged(db, [settled]);
    await settleForeign(db, { ...settled, claim });
    expect(await unmergedClaimsOf(db, settled.userId)).toEqual([]);
  });

  it('settled as withdrawn frees the code, unless it was approved or is held here', async () => {
    const settled = { ...askOf(randomUUID(), 'm'), outcome: 'withdrawn' as const, claim: null };
    await grantAsk(db, settled);
    await settleForeign(db, { ...settled, holder: 'node-3' });
    expect(await rowsOf(settled.userId)).toHaveLength(1);
    await settleForeign(db, settled);
    expect(await rowsOf(settled.userId)).toHaveLength(0);
    await settleForeign(db, { ...settled, outcome: 'approved', claim: approvalClaim('m') });
    await settleForeign(db, settled);
    expect(await rowsOf(settled.userId)).toHaveLength(1);
  });
});

describe('claims that wait to be merged', () => {
  it('are degraded approvals and failures, whole users, until they are marked', async () => {
    const own = postgres.open(await postgres.migratedDatabase());
    const [one, two, three] = [randomUUID(), randomUUID(), randomUUID()];
    const failure: Claim = { id: 'f', at: 1, failure: true, unlockedAt: 0 };
    const degraded = { phase: 'approved', degraded: true } as const;
    await beginAttempts(own, [
      beginning(one, 'a', { ...degraded, claim: approvalClaim('a') }),
      beginning(one, 'f', { ...degraded, item: failureItem('f'), claim: failure }),
      beginning(two, 'b', { phase: 'approved' }),
      beginning(two, 'c', { item: 'totp:a:7', phase: 'asking', degraded: true }),
      beginning(two, 'g', { ...degraded, item: failureItem('g'), claim: failure }),
    ]);
    await settleForeign(own, {
      ...{ userId: three, item, attemptId: 'e', holder: 'node-9', outcome: 'approved' },
      claim: approvalClaim('e'),
    });
    expect((await unmergedClaims(own, 'node-9', 1))[0]).toMatchObject({ userId: three });
    const waiting = await unmergedClaims(own, 'node-1', 10);
    const items = waiting.map(({ userId, claims }) => [userId, claims.map((claim) => claim.item)]);
    expect(new Map(items as [string, string[]][])).toEqual(
      new Map([
        [one, ['failure:f', item]],
        [two, ['failure:g']],
        [three, [item]],
      ]),
    );
    expect(await unmergedClaims(own, 'node-1', 1)).toHaveLength(1);
    expect(await unmergedClaimsOf(own, two)).toEqual([failure]);
    await markMerged(own, [
      { userId: one, item: failureItem('f'), attemptId: 'f' },
      { userId: one, item, attemptId: 'another' },
      { userId: two, item: failureItem('g'), attemptId: 'g' },
    ]);
    expect(await unmergedClaims(own, 'node-1', 10)).toMatchObject([
      { userId: one, claims: [{ item }] },
      { userId: three },
    ]);
  });

  it('survive the sweep that takes everything else that is old', async () => {
    const own = postgres.open(await postgres.migratedDatabase());
    const [unmerged, merged] = [randomUUID(), randomUUID()];
    const degraded = { phase: 'approved', degraded: true, claim: approvalClaim('x') } as const;
    await beginAttempts(own, [
      beginning(unmerged, 'a', degraded),
      beginning(merged, 'b', degraded),
      beginning(randomUUID(), 'c'),
      beginning(randomUUID(), 'd', { phase: 'asking', degraded: true }),
      beginning(randomUUID(), 'e', { phase: 'approved' }),
    ]);
    await markMerged(own, [{ userId: merged, item, attemptId: 'b' }]);
    expect(await sweepReservations(own)).toBe(0);
    await own.sql`update reservations set created_at = created_at - interval '3 minutes'`;
    await beginAttempts(own, [beginning(randomUUID(), 'young')]);
    expect(await sweepReservations(own)).toBe(4);
    const left = await own.sql`select attempt_id from reservations order by 1`;
    expect(left).toEqual([{ attempt_id: 'a' }, { attempt_id: 'young' }]);
  });
});

async function unmergedClaimsOf(some: Database, userId: string): Promise<Claim[]> {
  const claims = await claimsOf(some, userId);
  return claims.flatMap(({ claim, merged }) => (merged ? [] : [claim]));
}
