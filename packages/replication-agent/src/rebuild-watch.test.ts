import { describe, expect, it } from 'vitest';
import { isTurnOf, wasNeverInALog } from './rebuild-watch.ts';

const LONG = 60_000;

function isTurn(
  node: string,
  revision: number,
  differs: Partial<Parameters<typeof isTurnOf>[1]> = {},
): boolean {
  return isTurnOf(node, {
    by: 'a',
    isAfterDisaster: false,
    silentForMs: LONG,
    left: 100,
    own: { isFilled: true, incarnationId: 'one', revision },
    others: [],
    ...differs,
  });
}

const other = (node: string, revision: number, incarnationId = 'one') => ({
  node,
  incarnationId,
  revision,
});

describe('whose turn it is to fill the log', () => {
  it('is the node that made it, whatever others have', () => {
    const others = [other('b', 500)];
    expect(isTurn('a', 100, { others, silentForMs: 0 })).toBe(true);
    expect(isTurn('b', 500, { silentForMs: 0 })).toBe(false);
  });

  it('is another only after that one was silent for 15 s', () => {
    expect(isTurn('b', 100, { silentForMs: 14_999 })).toBe(false);
    expect(isTurn('b', 100, { silentForMs: 15_000 })).toBe(true);
  });

  it('is nobody else after a forced promotion, however long the survivor is silent', () => {
    expect(isTurn('b', 500, { isAfterDisaster: true })).toBe(false);
  });

  it('is the most caught-up node of those left, and exactly one of equals', () => {
    expect(isTurn('b', 120, { others: [other('c', 121)] })).toBe(false);
    expect(isTurn('c', 121, { others: [other('b', 120)] })).toBe(true);
    expect(isTurn('b', 120, { others: [other('c', 120)] })).toBe(true);
    expect(isTurn('c', 120, { others: [other('b', 120)] })).toBe(false);
    expect(isTurn('b', 120, { others: [other('c', 900, 'another')] })).toBe(true);
  });

  it('is no node that lacks something of what was left behind', () => {
    expect(isTurn('b', 99)).toBe(false);
    const own = { isFilled: false, incarnationId: 'one', revision: 500 };
    expect(isTurn('b', 500, { own })).toBe(false);
  });
});

it('a restored incarnation alone was never in a log: neither a first one nor one that somebody filled', () => {
  const at = '2026-01-01T00:00:00.000Z';
  expect(wasNeverInALog({ by: null, disasterAt: at })).toBe(true);
  expect(wasNeverInALog({ by: null, disasterAt: null })).toBe(false);
  expect(wasNeverInALog({ by: 'node-1', disasterAt: at })).toBe(false);
});
