import type { Attempt, Fault, HistoryRecord } from '../history/records.ts';

export type SoakFigures = {
  approved: number;
  degradedPercent: number;
  /** Longest time without an approval on a node that could verify, and anywhere. */
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
  const perNode = [...Map.groupBy(approved, ({ node }) => node)].map(([node, ofNode]) =>
    longestGap(
      ofNode.map(({ to }) => to),
      faults.filter(({ cannotVerify }) => cannotVerify.includes(node)),
    ),
  );
  return {
    approved: approved.length,
    degradedPercent: percent(approved.filter(({ degraded }) => degraded).length, approved.length),
    longestGapMs: Math.max(0, ...perNode),
    longestGapAnywhereMs: longestGap(
      approved.map(({ to }) => to),
      [],
    ),
    writes: writes.length,
    writeAvailabilityPercent: percent(done.length, writes.length),
    longestWritePauseMs: longestGap(
      done.map(({ to }) => to),
      [],
    ),
  };
}

/** Pauses that touch one of these faults do not count. */
function longestGap(times: number[], faults: Fault[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  const gaps = sorted
    .slice(1)
    .map((to, i) => ({ from: sorted[i]!, to }))
    .filter(
      ({ from, to }) => !faults.some((fault) => to >= fault.from && from <= (fault.to ?? to)),
    );
  return Math.round(gaps.reduce((longest, { from, to }) => Math.max(longest, to - from), 0));
}

function percent(part: number, whole: number): number {
  return whole === 0 ? 0 : Math.round((part / whole) * 1000) / 10;
}
