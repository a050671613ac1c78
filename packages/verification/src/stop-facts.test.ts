import { randomUUID } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { ApiKeyDocument, UserDocument } from './documents.ts';
import { API_SCOPES, checkDocument } from './documents.ts';
import { isLastFullKey } from './last-full-key.ts';
import {
  absorbStopFact,
  liftStopFacts,
  parseStopFact,
  stopFactsInForce,
  takeStopFact,
  StopFactError,
  withStopFacts,
  type StopFact,
} from './stop-facts.ts';

const NOW = Date.parse('2026-05-01T12:00:00.000Z');
const DAY_MS = 86_400_000;
const iso = (ms: number) => new Date(ms).toISOString();

const user: UserDocument = {
  id: randomUUID(),
  username: 'alice',
  enabled: true,
  blocked: null,
  unlockedAt: null,
  authenticators: [],
  createdAt: iso(0),
  updatedAt: iso(0),
};

function fact(more: Partial<StopFact> = {}): StopFact {
  return {
    id: randomUUID(),
    kind: 'user',
    subject: user.id,
    reason: 'lost phone',
    by: 'help desk',
    node: 'node-2',
    at: iso(NOW),
    expiresAt: iso(NOW + 90 * DAY_MS),
    ...more,
  };
}

describe('a stop fact', () => {
  it('blocks its user until it expires', () => {
    const one = fact();
    expect(withStopFacts(user, [one], NOW).blocked).toEqual({
      reason: 'lost phone',
      at: one.at,
      by: 'help desk',
      expiresAt: one.expiresAt,
    });
    expect(withStopFacts(user, [one], NOW + 91 * DAY_MS)).toBe(user);
  });

  it('never shortens a block, and lengthens a shorter one', () => {
    const until = (ms: number) => ({ reason: 'x', at: iso(NOW), by: 'y', expiresAt: iso(ms) });
    const longer = { ...user, blocked: until(NOW + 100 * DAY_MS) };
    expect(withStopFacts(longer, [fact()], NOW)).toBe(longer);
    const shorter = { ...user, blocked: until(NOW + DAY_MS) };
    expect(withStopFacts(shorter, [fact()], NOW).blocked?.reason).toBe('lost phone');
    const forGood = fact({ expiresAt: null });
    expect(withStopFacts(longer, [fact(), forGood], NOW).blocked?.expiresAt).toMatch(/^9999/);
  });

  it('becomes a change once, goes on counting, and does not come back once lifted', () => {
    const one = fact();
    const changed = absorbStopFact(user, one);
    expect(checkDocument('user', changed).blocked).toMatchObject({
      reason: 'lost phone',
      stopFacts: [one.id],
    });
    expect(absorbStopFact(changed, one)).toBe(changed);
    expect(stopFactsInForce(changed, [one], NOW)).toEqual([one]);

    const lifted = { ...liftStopFacts(changed, [one.id]), blocked: null };
    expect(checkDocument('user', lifted).liftedStopFacts).toEqual([one.id]);
    expect(absorbStopFact(lifted, one)).toBe(lifted);
    expect(withStopFacts(lifted, [one], NOW)).toBe(lifted);
    const later = fact();
    expect(stopFactsInForce(lifted, [one, later], NOW)).toEqual([later]);
  });

  it('keeps the longer of two facts of one user, and remembers both', () => {
    const short = fact({ expiresAt: iso(NOW + DAY_MS), reason: 'short' });
    const long = fact({ reason: 'long' });
    const both = absorbStopFact(absorbStopFact(user, long), short);
    expect(both.blocked).toMatchObject({ reason: 'long', stopFacts: [long.id, short.id] });
    // Unblocking lifts what the block was made of, also where the facts themselves are not known.
    expect(liftStopFacts(both, []).liftedStopFacts).toEqual([long.id, short.id]);
  });

  it('lifts a block that was made of an expired one with one that is not', () => {
    const old = fact({ at: iso(NOW - 100 * DAY_MS), expiresAt: iso(NOW - 10 * DAY_MS) });
    const next = fact({ reason: 'again' });
    const user2 = absorbStopFact(absorbStopFact(user, old), next);
    expect(user2.blocked).toMatchObject({ reason: 'again', expiresAt: next.expiresAt });
  });

  it('dated from the future stops from now on, and nothing that begins later', () => {
    const future = iso(NOW + 1000 * DAY_MS);
    const stopped = takeStopFact(fact({ at: future }), NOW);
    expect(stopped.at).toBe(iso(NOW));
    expect(withStopFacts(user, [stopped], NOW).blocked?.reason).toBe('lost phone');
    // A clock may be off by a little.
    const soon = fact({ at: iso(NOW + 59_000) });
    expect(takeStopFact(soon, NOW)).toEqual(soon);

    const hours = (ms: number) => ms * 3_600_000;
    const session = { kind: 'session', subject: user.id } as const;
    for (const expiresAt of [null, future]) {
      expect(takeStopFact(fact({ ...session, at: future, expiresAt }), NOW)).toMatchObject({
        at: iso(NOW),
        expiresAt: iso(NOW + hours(9)),
      });
    }
    const short = fact({ ...session, expiresAt: iso(NOW + hours(1)) });
    expect(takeStopFact(short, NOW)).toEqual(short);
    expect(() => takeStopFact(null, NOW)).toThrow(StopFactError);
  });

  it('carries what a later version adds, and is refused with words when it is none', () => {
    const newer = { ...fact(), weight: 3 };
    expect(parseStopFact(newer)).toEqual(newer);
    expect(parseStopFact(fact({ kind: 'session', subject: 'any text' })).kind).toBe('session');
    const wrong: [object, RegExp][] = [
      [{ reason: 'x'.repeat(501) }, /reason: has more than 500 bytes/],
      [{ reason: '\u001b[31mred' }, /reason: has control/],
      [{ kind: 'planet' }, /kind/],
      [{ subject: 'alice' }, /the subject is no id/],
      [{ id: '../../x' }, /id/],
      [{ at: 'yesterday' }, /at/],
      [{ expiresAt: undefined }, /expiresAt/],
    ];
    for (const [more, message] of wrong) {
      expect(() => parseStopFact({ ...fact(), ...more })).toThrow(StopFactError);
      expect(() => parseStopFact({ ...fact(), ...more })).toThrow(message);
    }
    expect(() => parseStopFact(null)).toThrow(StopFactError);
  });
});

describe('the last full key', () => {
  const key = (more: Partial<ApiKeyDocument> = {}): ApiKeyDocument => ({
    id: randomUUID(),
    name: 'key',
    secretHash: 'a'.repeat(64),
    scopes: [...API_SCOPES],
    applications: null,
    networks: null,
    expiresAt: null,
    createdAt: iso(NOW),
    ...more,
  });

  it('is the one beside which no other has every right, for everything, from anywhere, now', () => {
    const full = key();
    const lesser = [
      key({ scopes: ['verify'] }),
      key({ applications: ['vpn'] }),
      key({ networks: ['10.0.0.0/8'] }),
      key({ expiresAt: iso(NOW - 1) }),
    ];
    expect(isLastFullKey([full, ...lesser], full.id, NOW)).toBe(true);
    for (const { id } of lesser) expect(isLastFullKey([full, ...lesser], id, NOW)).toBe(false);
    expect(isLastFullKey([full, key()], full.id, NOW)).toBe(false);
  });
});
