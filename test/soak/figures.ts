import type { Attempt, Fault, HistoryRecord } from '../history/records.ts';

export type SoakFigures = {
  approved: number;
  degradedPercent: number;
  /** Longest time without an approval while some were asked for, on a node that could verify, and anywhere. */
  longestGapMs: number;
  longestGapAnywhereMs: number;
  writes: number;
  /** Acknowledged, of all that were asked for. */
  writeAvailabilityPercent: number;
  longestWritePauseMs: number;
};

export function soakFigures(history: readonly HistoryRecord[]): SoakFigures {
  const approved = history.filter(
    (record) => record.kind === 'attempt' && record.verdict === 'approved',
  ) as Attempt[];
  const writes = history.filter((record) => record.kind === 'write');
  const done = writes.filter(({ outcome }) => outcome === 'acknowledged');
  const faults = history.filter((record) => record.kind === 'fault');
  // Who is rightly denied waits for nothing more.
  const attempts = history.filter(
    (record) => record.kind === 'attempt' && record.verdict !== 'denied',
  ) as Attempt[];
  const perNode = [...Map.groupBy(approved, ({ node }) => node)].map(([node, ofNode]) =>
    longestGap({
      ended: ofNode,
      asked: attempts.filter((attempt) => attempt.node === node),
      faults: faults.filter(({ cannotVerify }) => cannotVerify.includes(node)),
    }),
  );
  return {
    approved: approved.length,
    degradedPercent: percent(approved.filter(({ degraded }) => degraded).length, approved.length),
    longestGapMs: Math.max(0, ...perNode),
    longestGapAnywhereMs: longestGap({ ended: approved, asked: attempts, faults: [] }),
    writes: writes.length,
    writeAvailabilityPercent: percent(done.length, writes.length),
    longestWritePauseMs: longestGap({ ended: done, asked: writes, faults: [] }),
  };
}

/** A pause begins with the first request after the last good answer. Those that touch one of these faults do not count. */
function longestGap(about: {
  ended: readonly { to: number }[];
  asked: readonly { from: number }[];
  faults: readonly Fault[];
}): number {
  const { faults } = about;
  const ended = about.ended.map(({ to }) => to).toSorted((a, b) => a - b);
  const asked = about.asked.map(({ from }) => from).toSorted((a, b) => a - b);
  let next = 0;
  const gaps = ended
    .slice(1)
    .map((to, i) => {
      while (next < asked.length && asked[next]! < ended[i]!) next += 1;
      return { from: Math.min(asked[next] ?? to, to), to };
    })
    .filter(
      ({ from, to }) => !faults.some((fault) => to >= fault.from && from <= (fault.to ?? to)),
    );
  return Math.round(gaps.reduce((longest, { from, to }) => Math.max(longest, to - from), 0));
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 1000) / 10;
}
