import { expect, it } from 'vitest';

import { seededRandom } from './seeded-trial.ts';
import {
  NodeTextBudget,
  spendUserText,
  type TextAlarm,
  type UserTextBudget,
} from './text-budgets.ts';

const start = Date.parse('2026-11-22T12:00:00Z');
const minute = 60_000;
const hour = 60 * minute;

it('the sixth text within an hour is refused until the first is an hour old', () => {
  let budget: UserTextBudget = [];
  for (let text = 0; text < 5; text += 1) {
    const verdict = spendUserText(budget, start + text * minute);
    expect(verdict.allowed).toBe(true);
    ({ budget } = verdict);
  }
  const refused = spendUserText(budget, start + 10 * minute);
  expect(refused).toMatchObject({ allowed: false, reason: 'hour', retryAfterSeconds: 50 * 60 });
  expect(spendUserText(refused.budget, start + hour - 1_000).allowed).toBe(false);
  expect(spendUserText(refused.budget, start + hour).allowed).toBe(true);
});

it('the twenty-first text within a day is refused', () => {
  let budget: UserTextBudget = [];
  for (let text = 0; text < 20; text += 1) {
    ({ budget } = spendUserText(budget, start + text * 15 * minute));
  }
  expect(budget).toHaveLength(20);
  expect(JSON.stringify(budget).length).toBeLessThan(256);
  const refused = spendUserText(budget, start + 20 * hour);
  expect(refused).toMatchObject({ allowed: false, reason: 'day', retryAfterSeconds: 4 * 3_600 });
  expect(spendUserText(budget, start + 24 * hour).allowed).toBe(true);
});

it('no window of an hour or a day ever holds more, at any times', () => {
  const random = seededRandom(18);
  const sent: number[] = [];
  let budget: UserTextBudget = [];
  let nowMs = start;
  for (let attempt = 0; attempt < 5_000; attempt += 1) {
    nowMs += random(20 * minute);
    const verdict = spendUserText(budget, nowMs);
    ({ budget } = verdict);
    if (verdict.allowed) sent.push(nowMs);
  }
  const most = (windowMs: number) =>
    Math.max(
      ...sent.map(
        (from, i) => sent.slice(i, i + 30).filter((at) => at < from + windowMs - 1_000).length,
      ),
    );
  expect([most(hour), most(24 * hour)]).toEqual([5, 20]);
});

it('a clock behind, times out of order and a state too large do not open the budget', () => {
  const ahead = Array.from({ length: 5 }, () => start / 1_000 + 15);
  expect(spendUserText(ahead, start)).toMatchObject({ allowed: false, retryAfterSeconds: 3_600 });
  const shuffled = [3, 1, 4, 0, 2].map((minutes) => start / 1_000 - minutes * 60);
  expect(spendUserText(shuffled, start).allowed).toBe(false);
  const merged = Array.from({ length: 10_000 }, (_, index) => start / 1_000 - index);
  expect(spendUserText(merged, start).budget.length).toBeLessThanOrEqual(40);
});

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
