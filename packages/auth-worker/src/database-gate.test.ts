import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { expect, it } from 'vitest';
import { DatabaseGate, DatabaseSilentError } from './database-gate.ts';

it('a statement that is not answered is given up at the deadline, and others are refused at once', async () => {
  const gate = new DatabaseGate(50);
  const hung = Promise.withResolvers<string>();
  const startedAt = performance.now();
  await expect(gate.pass(() => hung.promise)).rejects.toThrow(DatabaseSilentError);
  expect(performance.now() - startedAt).toBeLessThan(1000);
  expect(gate.isShut).toBe(true);

  let ran = 0;
  const next = gate.pass(async () => (ran += 1));
  await expect(next).rejects.toThrow('does not answer');
  expect(ran).toBe(0);

  hung.resolve('late');
  await waitFor('the gate to open', () => !gate.isShut, { timeoutMs: 1000 });
  expect(await gate.pass(async () => 'works')).toBe('works');
});

it('while one is overdue, one at a time is let through to see whether others work', async () => {
  const gate = new DatabaseGate(20);
  const hung = Promise.withResolvers<string>();
  await expect(gate.pass(() => hung.promise)).rejects.toThrow(DatabaseSilentError);
  const answer = await waitFor('a trial', () => gate.pass(async () => 'works').catch(() => null), {
    timeoutMs: 2000,
  });
  expect(answer).toBe('works');
  // Only one waits for a lock: the rest is fine.
  expect(gate.isShut).toBe(false);
  expect(await gate.pass(async () => 'more')).toBe('more');
  hung.resolve('late');
});

it('what a statement throws comes through, and does not shut the gate', async () => {
  const gate = new DatabaseGate(20);
  await expect(gate.pass(() => Promise.reject(new Error('no such table')))).rejects.toThrow(
    'no such table',
  );
  await lasting(40);
  expect(gate.isShut).toBe(false);
});
