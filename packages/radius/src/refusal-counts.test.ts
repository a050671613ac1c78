import { expect, it } from 'vitest';

import { mostStrangers, type Refusal, RefusalCounts } from './refusal-counts.ts';

type Reason = 'forged' | 'unknown';

function make() {
  const reports: Refusal<Reason>[] = [];
  return { reports, counts: new RefusalCounts<Reason>((refusal) => reports.push(refusal)) };
}

it('each source and reason is told at once, then at most once a minute with its count', () => {
  const { reports, counts } = make();
  const vpn = { source: 'vpn', isKnown: true };
  for (const now of [0, 1, 59_999]) counts.add({ ...vpn, reason: 'forged' }, now);
  counts.add({ ...vpn, reason: 'unknown' }, 5);
  counts.flush(59_999);
  expect(reports.map(({ reason, count }) => [reason, count])).toEqual([
    ['forged', 1],
    ['unknown', 1],
  ]);
  counts.flush(60_000);
  counts.flush(120_001);
  expect(reports.slice(2)).toEqual([{ ...vpn, reason: 'forged', count: 2 }]);
  expect(counts.totals()).toEqual([
    { source: 'vpn', reason: 'forged', count: 3 },
    { source: 'vpn', reason: 'unknown', count: 1 },
  ]);
});

it('a flood from ever new addresses is told in a bounded number of lines', () => {
  const { reports, counts } = make();
  for (let index = 0; index < 10_000; index += 1) {
    const source = `10.0.${index >> 8}.${index & 255}`;
    counts.add({ source, isKnown: false, reason: 'unknown' }, index);
  }
  expect(reports).toHaveLength(mostStrangers + 1);
  counts.flush(70_000);
  const [last] = reports.slice(-1);
  expect(last).toMatchObject({ source: 'others', count: 10_000 - mostStrangers - 1 });
  counts.flush(200_000);
  counts.add({ source: '192.0.2.1', isKnown: false, reason: 'unknown' }, 200_001);
  expect(reports.at(-1)).toMatchObject({ source: '192.0.2.1', count: 1 });
});
