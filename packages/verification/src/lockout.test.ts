import { expect, it } from 'vitest';
import { addFailures, beginsLockout } from './lockout.ts';
import { defaultSettings } from './settings.ts';
import { emptyState, noFailures, type UserState } from './user-state.ts';

const lockout = { ...defaultSettings.lockout, failures: 3 };
const fail = (state: UserState, factor: 'code' | 'pin', nowMs: number): UserState => {
  const failures = addFailures(state.methods[factor] ?? noFailures, { count: 1, lockout, nowMs });
  return { ...state, methods: { ...state.methods, [factor]: failures } };
};

it.each(['code', 'pin'] as const)(
  'a lockout by %s begins once, at the failure that locks',
  (factor) => {
    let state = emptyState();
    const begins: boolean[] = [];
    for (let i = 0; i < 7; i += 1) {
      const next = fail(state, factor, 1_000 + i);
      begins.push(beginsLockout(state, next));
      state = next;
    }
    expect(begins).toEqual([false, false, true, false, false, true, false]);
  },
);

it('one that only an administrator ends begins once too', () => {
  let state = emptyState();
  let begins = 0;
  // 97 failures that lock nobody by themselves, then the hundredth in a row.
  const many = { ...noFailures, consecutive: 97 };
  state = { ...state, methods: { code: many } };
  for (let i = 0; i < 6; i += 1) {
    const next = fail(state, 'code', 1_000 + i * 3_600_000);
    if (beginsLockout(state, next)) begins += 1;
    state = next;
  }
  expect(begins).toBe(1);
});
