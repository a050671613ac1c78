import { setTimeout as lasting } from 'node:timers/promises';
import { waitFor } from '@countersign/testing';
import { expect, it, vi } from 'vitest';
import { DatabaseGate, DatabaseSilentError } from './database-gate.ts';

const answering = () => Promise.resolve();
const silent = () => new Promise<never>(() => {});

it('a statement that is not answered is given up at the deadline, and all others are refused at once', async () => {
  const gate = new DatabaseGate(silent, 50);
  const hung = Promise.withResolvers<string>();
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const given = expect(gate.pass(() => hung.promise)).rejects.toThrow(DatabaseSilentError);
    await vi.advanceTimersByTimeAsync(50);
    await given;
  } finally {
    vi.useRealTimers();
  }
  expect(gate.isShut).toBe(true);

  let ran = 0;
  const until = performance.now() + 700;
  while (performance.now() < until) {
    await expect(gate.pass(async () => (ran += 1))).rejects.toThrow('does not answer');
    await lasting(20);
  }
  expect(ran).toBe(0);

  hung.resolve('late');
  await waitFor('the gate to open', () => !gate.isShut, { timeoutMs: 10_000 });
  expect(await gate.pass(async () => 'works')).toBe('works');
});

it('while it is shut, one ping at a time tries, and its answer opens it', async () => {
  let underWay = 0;
  let most = 0;
  let sent = 0;
  const answer = Promise.withResolvers<void>();
  const ping = async () => {
    sent += 1;
    underWay += 1;
    most = Math.max(most, underWay);
    // The first is refused, as by a server that is starting.
    if (sent > 1) await answer.promise;
    underWay -= 1;
    if (sent === 1) throw new Error('starting up');
  };
  const gate = new DatabaseGate(ping, 20);
  await expect(gate.pass(silent)).rejects.toThrow(DatabaseSilentError);
  await waitFor('a second ping', () => sent === 2, { timeoutMs: 10_000 });
  expect(await gate.isAnswering(400)).toBe(false);
  expect(gate.isShut).toBe(true);
  answer.resolve();
  await waitFor('the gate to open', () => !gate.isShut, { timeoutMs: 10_000 });
  expect(most).toBe(1);
  expect(sent).toBe(2);
  expect(await gate.pass(async () => 'works')).toBe('works');
});

it('one statement that waits for a lock does not keep others out', async () => {
  const gate = new DatabaseGate(answering, 20);
  await expect(gate.pass(silent)).rejects.toThrow(DatabaseSilentError);
  await waitFor('the gate to open', () => !gate.isShut, { timeoutMs: 10_000 });
  expect(await gate.pass(async () => 'works')).toBe('works');
});

it('what a statement throws comes through, and does not shut the gate', async () => {
  const gate = new DatabaseGate(silent, 20);
  await expect(gate.pass(() => Promise.reject(new Error('no such table')))).rejects.toThrow(
    'no such table',
  );
  await lasting(40);
  expect(gate.isShut).toBe(false);
});
