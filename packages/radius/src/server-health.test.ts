import { expect, it } from 'vitest';

import { ServerHealth } from './server-health.ts';

const bounds = { deadAfter: 2, windowMs: 1_000, deadMs: 5_000 };

it('dies of so many unanswered requests within the window, not of older ones', () => {
  const health = new ServerHealth(bounds);
  expect(health.wentUnanswered({ sentAt: 0, now: 100 })).toBe(false);
  expect(health.wentUnanswered({ sentAt: 1_000, now: 1_100 })).toBe(false);
  expect(health.wentUnanswered({ sentAt: 1_100, now: 1_200 })).toBe(true);
  expect(health.isDead).toBe(true);
});

it('lives while it answers others', () => {
  const health = new ServerHealth(bounds);
  health.answered(50);
  for (const sentAt of [0, 10, 20, 50]) {
    expect(health.wentUnanswered({ sentAt, now: 100 })).toBe(false);
  }
  expect(health.isDead).toBe(false);
});

it('dead, it is tried by one request after its time, and an answer revives it', () => {
  const health = new ServerHealth({ ...bounds, deadAfter: 1 });
  health.wentUnanswered({ sentAt: 0, now: 100 });
  expect(health.mayTry(5_099)).toBe(false);
  expect([health.mayTry(5_100), health.mayTry(5_101)]).toEqual([true, false]);
  expect(health.answered(5_200)).toBe(true);
  expect([health.mayTry(5_201), health.mayTry(5_201)]).toEqual([true, true]);
});
