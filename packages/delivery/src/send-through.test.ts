import { expect, it } from 'vitest';

import { ProviderCircuit } from './provider-circuit.ts';
import { createSendThrough, type SendAttempt } from './send-through.ts';
import type { Sender, SendOptions, SendResult, TextMessage } from './sender.ts';

const message = { id: 'text-1', to: '+31612345678', text: 'code 123456' };

type Answer = 'sent' | 'refused' | 'failed' | 'unknown' | 'throws' | 'hangs';

/** A provider that answers what it is told to, the last answer for ever. */
function provider(name: string, ...answers: Answer[]) {
  const asked: SendOptions[] = [];
  const sender: Sender<TextMessage> = {
    name,
    send: async (_message, options): Promise<SendResult> => {
      asked.push(options);
      const answer = answers.length > 1 ? answers.shift() : answers[0];
      if (answer === 'throws') throw new TypeError('code 123456 is undefined');
      if (answer === 'hangs') await new Promise(() => {});
      if (answer === 'sent') return { sent: true, provider: name };
      const outcome = answer as 'failed';
      return { sent: false, provider: name, outcome, reason: `${name} ${answer}` };
    },
  };
  return { sender, asked };
}

function chain(
  senders: Sender<TextMessage>[],
  changes: { perProviderMs?: number; afterUnknown?: 'next' | 'stop'; now?: () => number } = {},
) {
  const attempts: SendAttempt[] = [];
  const through = createSendThrough<TextMessage>({
    senders,
    perProviderMs: 1_000,
    afterUnknown: 'next',
    onAttempt: (attempt) => attempts.push(attempt),
    ...changes,
  });
  return { through, attempts, send: () => through.send(message, { timeoutMs: 5_000 }) };
}

const outcomes = (attempts: SendAttempt[]) =>
  attempts.map(({ provider, attempt, result }) => {
    return `${provider} ${attempt} ${result.sent ? 'sent' : result.outcome}`;
  });

it('the first provider that sends it is the last that is asked', async () => {
  const [a, b] = [provider('a', 'sent'), provider('b', 'sent')];
  const { send, attempts } = chain([a.sender, b.sender]);
  expect(await send()).toEqual({ sent: true, provider: 'a' });
  expect(outcomes(attempts)).toEqual(['a 1 sent']);
  expect(attempts[0]).toMatchObject({ messageId: 'text-1', ms: expect.any(Number) });
});

it('a refusal, a failure and silence lead to the next; only what failed is tried again', async () => {
  const senders = [
    provider('a', 'refused'),
    provider('b', 'failed', 'sent'),
    provider('c', 'unknown'),
  ].map(({ sender }) => sender);
  const { send, attempts } = chain(senders);
  expect(await send()).toEqual({ sent: true, provider: 'b' });
  expect(outcomes(attempts)).toEqual(['a 1 refused', 'b 1 failed', 'c 1 unknown', 'b 2 sent']);
});

it('the result is the worst that may be true', async () => {
  const senders = (...answers: Answer[]) =>
    answers.map((answer, index) => provider(`p${index}`, answer).sender);
  const last = async (...answers: Answer[]) => {
    const result = await chain(senders(...answers)).send();
    return result.sent || result.outcome;
  };
  expect(await last('unknown', 'refused', 'failed')).toBe('unknown');
  expect(await last('refused', 'failed')).toBe('failed');
  expect(await last('refused', 'refused')).toBe('refused');
  expect(await last()).toBe('failed');
});

it('a mail that may have arrived is sent by nobody else', async () => {
  const [a, b] = [provider('a', 'unknown'), provider('b', 'sent')];
  const { send, attempts } = chain([a.sender, b.sender], { afterUnknown: 'stop' });
  expect(await send()).toMatchObject({ sent: false, outcome: 'unknown', provider: 'a' });
  expect(outcomes(attempts)).toEqual(['a 1 unknown']);
});

it('a provider that hangs is left at its deadline, one that breaks is no more than unknown', async () => {
  const [a, b, c] = [provider('a', 'hangs'), provider('b', 'throws'), provider('c', 'sent')];
  const { send, attempts } = chain([a.sender, b.sender, c.sender], { perProviderMs: 100 });
  const startedAt = performance.now();
  expect(await send()).toEqual({ sent: true, provider: 'c' });
  expect(performance.now() - startedAt).toBeLessThan(8_000);
  expect(outcomes(attempts)).toEqual(['a 1 unknown', 'b 1 unknown', 'c 1 sent']);
  expect(JSON.stringify(attempts)).not.toContain('123456');
  expect(a.asked[0]?.timeoutMs).toBe(100);
});

it('everything together ends at the deadline', async () => {
  const hanging = ['a', 'b', 'c', 'd'].map((name) => provider(name, 'hangs').sender);
  const { through } = chain(hanging, { perProviderMs: 10_000 });
  const startedAt = performance.now();
  expect(await through.send(message, { timeoutMs: 200 })).toMatchObject({ outcome: 'unknown' });
  expect(performance.now() - startedAt).toBeLessThan(8_000);
});

it('a caller that gives up is heard between attempts', async () => {
  const abort = new AbortController();
  const a = provider('a', 'failed');
  const { through } = chain([a.sender]);
  const sending = through.send(message, { timeoutMs: 60_000, signal: abort.signal });
  abort.abort();
  expect(await sending).toMatchObject({ sent: false, outcome: 'failed' });
  expect(a.asked).toHaveLength(1);
});

it('a dead provider is passed over for a while, then tried by one', async () => {
  let nowMs = 0;
  const [a, b] = [provider('a', 'unknown'), provider('b', 'sent')];
  const { send, attempts } = chain([a.sender, b.sender], { now: () => nowMs });
  for (let call = 0; call < 5; call += 1) await send();
  expect(outcomes(attempts).filter((line) => line.startsWith('a'))).toHaveLength(3);
  nowMs += 15_000;
  await Promise.all([send(), send(), send()]);
  expect(a.asked).toHaveLength(4);
  // The trial failed: twice as long.
  nowMs += 15_000;
  await send();
  expect(a.asked).toHaveLength(4);
  nowMs += 15_000;
  await send();
  expect(a.asked).toHaveLength(5);
});

it('when all are passed over, the one whose pause ends first is tried', async () => {
  const [a, b] = [provider('a', 'unknown'), provider('b', 'unknown', 'unknown', 'unknown', 'sent')];
  const { send } = chain([a.sender, b.sender], { now: () => 0 });
  for (let call = 0; call < 3; call += 1) await send();
  expect([a.asked.length, b.asked.length]).toEqual([3, 3]);
  await send();
  expect([a.asked.length, b.asked.length]).toEqual([4, 3]);
});

it('256 messages may be on their way; one more is told at once', async () => {
  const release = Promise.withResolvers<SendResult>();
  const { through } = chain([{ name: 'a', send: () => release.promise }], {
    perProviderMs: 15_000,
  });
  const options = { timeoutMs: 15_000 };
  const sending = Array.from({ length: 256 }, () => through.send(message, options));
  const result = await through.send(message, options);
  expect(result).toMatchObject({ outcome: 'failed', reason: expect.stringContaining('256') });
  release.resolve({ sent: true, provider: 'a' });
  expect((await Promise.all(sending)).every(({ sent }) => sent)).toBe(true);
  expect(await through.send(message, options)).toMatchObject({ sent: true });
});

it('a circuit closes at the first success and never pauses longer than five minutes', () => {
  const circuit = new ProviderCircuit();
  let nowMs = 0;
  for (let failure = 0; failure < 3; failure += 1) circuit.fail(nowMs);
  const pauses = [];
  for (let trial = 0; trial < 7; trial += 1) {
    expect(circuit.mayTry(circuit.pausedUntil - 1)).toBe(false);
    pauses.push(circuit.pausedUntil - nowMs);
    nowMs = circuit.pausedUntil;
    expect(circuit.mayTry(nowMs)).toBe(true);
    circuit.begin(nowMs);
    expect(circuit.mayTry(nowMs)).toBe(false);
    circuit.fail(nowMs);
  }
  expect(pauses).toEqual([15_000, 30_000, 60_000, 120_000, 240_000, 300_000, 300_000]);
  circuit.succeed();
  expect(circuit.mayTry(nowMs)).toBe(true);
});

it('every provider is given whole milliseconds: timers take nothing else', async () => {
  const [a, b] = [provider('a', 'unknown'), provider('b', 'sent')];
  let nowMs = 0;
  const { send } = chain([a.sender, b.sender], {
    perProviderMs: 4_000,
    now: () => (nowMs += 300.3),
  });
  await send();
  const given = [...a.asked, ...b.asked].map(({ timeoutMs }) => timeoutMs);
  expect(given).toHaveLength(2);
  expect(given.every((ms) => Number.isInteger(ms))).toBe(true);
});
