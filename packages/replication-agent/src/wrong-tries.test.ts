import { expect, it } from 'vitest';
import { WrongTries } from './wrong-tries.ts';

const MINUTE_MS = 60_000;

it('lets a subject be tried 5 times within any 10 minutes', () => {
  const tries = new WrongTries();
  for (let i = 0; i < 5; i += 1) {
    expect(tries.isSpent('alice', i * MINUTE_MS)).toBe(false);
    tries.add('alice', i * MINUTE_MS);
  }
  expect(tries.isSpent('alice', 5 * MINUTE_MS)).toBe(true);
  expect(tries.isSpent('bob', 5 * MINUTE_MS)).toBe(false);
  expect(tries.isSpent('alice', 10 * MINUTE_MS - 1)).toBe(true);
  expect(tries.isSpent('alice', 10 * MINUTE_MS)).toBe(false);
  tries.clear('alice');
  expect(tries.isSpent('alice', 5 * MINUTE_MS)).toBe(false);
});

it('forgets strangers before anybody who exists', () => {
  const tries = new WrongTries();
  for (let i = 0; i < 5; i += 1) {
    tries.add('alice', 0);
    tries.add('first', 0, { isStranger: true });
  }
  expect(tries.isSpent('first', 1, { isStranger: true })).toBe(true);
  for (let i = 0; i < 1000; i += 1) tries.add(`stranger ${i}`, 1, { isStranger: true });
  expect(tries.isSpent('first', 2, { isStranger: true })).toBe(false);
  expect(tries.isSpent('alice', 2)).toBe(true);
});

it('judges nobody new while it remembers as many as it can, and goes on when they are forgotten', () => {
  const tries = new WrongTries();
  for (let i = 0; i < 50_000; i += 1) tries.add(`user ${i}`, 0);
  expect(tries.isSpent('late', 1)).toBe(true);
  expect(tries.isSpent('user 7', 1)).toBe(false);
  expect(tries.isSpent('late', 10 * MINUTE_MS)).toBe(false);
});
