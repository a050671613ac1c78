import { expect, it } from 'vitest';

import { NodeTextBudget, type TextAlarm } from './text-budgets.ts';

const start = Date.parse('2026-11-22T12:00:00Z');
const hour = 3_600_000;

it('numbers beside each other share a budget, with one alarm before and one at its end', () => {
  const limits = { perPrefixPerHour: 10, perHour: 1_000 };
  const budget = new NodeTextBudget();
  const alarms: TextAlarm[] = [];
  const send = (number: string, nowMs = start) => {
    const verdict = budget.spend(number, nowMs, limits);
    if (verdict.allowed) alarms.push(...verdict.alarms);
    return verdict.allowed || verdict.reason;
  };
  for (let text = 0; text < 10; text += 1) expect(send(`+3161234000${text}`)).toBe(true);
  expect(send('+31612349999')).toBe('prefix');
  expect(send('+31612359999')).toBe(true);
  expect(alarms).toEqual([
    { limit: 'prefix', level: 'nearly', prefix: '+3161234' },
    { limit: 'prefix', level: 'reached', prefix: '+3161234' },
  ]);
  for (let text = 0; text < 9; text += 1) send('+31612349999', start + hour);
  // A clock set back does not give the hour before, or a fresh one.
  expect(send('+31612349999', start)).toBe(true);
  expect(send('+31612349999', start)).toBe('prefix');
  expect(send('+31612349999', start + 2 * hour)).toBe(true);
});

it('a node has a budget over all prefixes, and remembers a bounded number of them', () => {
  const limits = { perPrefixPerHour: 3, perHour: 5_002 };
  const budget = new NodeTextBudget();
  const verdicts = Array.from({ length: 7_000 }, (_, text) =>
    budget.spend(`+${10_000 + text}1234`, start, limits),
  );
  // The 5,001st prefix and all after it share one.
  expect(verdicts.slice(0, 5_002).every(({ allowed }) => allowed)).toBe(true);
  expect(verdicts[5_002]).toEqual({ allowed: false, reason: 'node' });
  expect(budget.spend('+999991234', start, { ...limits, perHour: 9_000 }).allowed).toBe(true);
  expect(budget.spend('+999981234', start, { ...limits, perHour: 9_000 })).toEqual({
    allowed: false,
    reason: 'prefix',
  });
  const alarms = verdicts.flatMap((verdict) => (verdict.allowed ? verdict.alarms : []));
  expect(alarms.filter(({ limit }) => limit === 'node')).toEqual([
    { limit: 'node', level: 'nearly' },
    { limit: 'node', level: 'reached' },
  ]);
});
