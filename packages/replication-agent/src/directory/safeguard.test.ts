import { describe, expect, it } from 'vitest';
import { hashOfSteps, judgeSteps, limitOf, withTaken, type RiskyStep } from './safeguard.ts';

const now = new Date('2026-03-02T12:03:00.000Z');
const limits = { approvalUsers: 5, approvalPercent: 10 };
const hoursAgo = (hours: number) => new Date(now.getTime() - hours * 3_600_000).toISOString();

const stepsOf = (count: number): RiskyStep[] =>
  Array.from({ length: count }, (_, index) => ({
    userId: `user-${index}`,
    username: `u${index}`,
    what: 'disable',
  }));

function judge(count: number, more: Partial<Parameters<typeof judgeSteps>[0]> = {}) {
  return judgeSteps({
    steps: stepsOf(count),
    taken: [],
    users: 40,
    held: null,
    limits,
    now,
    ...more,
  });
}

const heldOf = (count: number, what: 'approved' | 'rejected' | null) => ({
  hash: hashOfSteps(stepsOf(count)),
  at: hoursAgo(1),
  count,
  of: 40,
  first: [],
  decision: what && { what, at: hoursAgo(0), by: 'admin' },
});

describe('what waits for an administrator', () => {
  it('is another plan with another number, whoever asked for the first', () => {
    const phone = (number: string) =>
      hashOfSteps([{ userId: 'user-1', username: 'u1', what: 'phone', numbers: [number] }]);
    expect(phone('+31612345678')).toBe(phone('+31612345678'));
    expect(phone('+31612345678')).not.toBe(phone('+31687654321'));
  });

  it('does not count what a clock noted that ran ahead', () => {
    const taken = [{ at: hoursAgo(-24 * 365), count: 5 }];
    expect(judge(5, { taken }).kind).toBe('go');
    expect(judge(5, { taken: [{ at: hoursAgo(-1), count: 1 }] }).kind).toBe('hold');
  });

  it('is more than the number of users, all of it', () => {
    expect(judge(0).kind).toBe('go');
    expect(judge(5).kind).toBe('go');
    expect(judge(6)).toEqual({ kind: 'hold', hash: hashOfSteps(stepsOf(6)), isNew: true });
  });

  it('is more than the part of users, but not in a small directory', () => {
    expect(limitOf(50, { approvalUsers: 999, approvalPercent: 10 })).toBe(999);
    expect(limitOf(60, { approvalUsers: 999, approvalPercent: 10 })).toBe(6);
    expect(limitOf(60, limits)).toBe(5);
  });

  it('counts what was done in the last 24 hours', () => {
    expect(judge(3, { taken: [{ at: hoursAgo(23), count: 3 }] }).kind).toBe('hold');
    expect(judge(3, { taken: [{ at: hoursAgo(25), count: 3 }] }).kind).toBe('go');
  });

  it('goes on by an approval of just that, in whatever order it was found', () => {
    expect(judge(8, { held: heldOf(8, 'approved') }).kind).toBe('go');
    const turned = stepsOf(8).toReversed();
    expect(judge(8, { steps: turned, held: heldOf(8, 'approved') }).kind).toBe('go');
    expect(judge(9, { held: heldOf(8, 'approved') })).toMatchObject({ kind: 'hold', isNew: true });
    const other = stepsOf(8).map((step) => ({ ...step, what: 'remove' as const }));
    expect(judge(8, { steps: other, held: heldOf(8, 'approved') }).kind).toBe('hold');
  });

  it('is not asked again once rejected, or while nobody has decided', () => {
    expect(judge(8, { held: heldOf(8, 'rejected') })).toMatchObject({ isNew: false });
    expect(judge(8, { held: heldOf(8, null) })).toMatchObject({ isNew: false });
    expect(judge(3, { held: heldOf(3, 'rejected') }).kind).toBe('hold');
  });
});

describe('what was done', () => {
  it('is kept by periods of five minutes for a day', () => {
    const once = withTaken([{ at: hoursAgo(25), count: 9 }], 2, now);
    expect(once).toEqual([{ at: '2026-03-02T12:00:00.000Z', count: 2 }]);
    expect(withTaken(once, 3, now)).toEqual([{ at: '2026-03-02T12:00:00.000Z', count: 5 }]);
    expect(withTaken(once, 0, now)).toEqual(once);
  });
});
