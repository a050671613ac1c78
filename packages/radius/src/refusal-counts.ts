/** What was refused, of whom and how often since the last report. */
export interface Refusal<Reason extends string> {
  /** A client's or server's name, or the address of a stranger; `others` beyond the bound. */
  readonly source: string;
  readonly isKnown: boolean;
  readonly reason: Reason;
  readonly count: number;
}

export const mostStrangers = 64;
const reportEveryMs = 60_000;

interface Count {
  total: number;
  unreported: number;
  reportedAt: number;
}

/**
 * Counts refusals by source and reason, and reports each pair at most once a minute: the first at
 * once, what follows by `flush`. At most 64 strangers' addresses are kept apart in a minute.
 */
export class RefusalCounts<Reason extends string> {
  readonly #known = new Map<string, Map<Reason, Count>>();
  readonly #strangers = new Map<string, Map<Reason, Count>>();
  readonly #report: (refusal: Refusal<Reason>) => void;

  constructor(report: (refusal: Refusal<Reason>) => void) {
    this.#report = report;
  }

  /** `now`: milliseconds of a clock that never goes back. */
  add(entry: { source: string; isKnown: boolean; reason: Reason }, now: number): void {
    const table = entry.isKnown ? this.#known : this.#strangers;
    const isFull = !entry.isKnown && table.size >= mostStrangers && !table.has(entry.source);
    const source = isFull ? 'others' : entry.source;
    const counts = table.get(source) ?? new Map<Reason, Count>();
    table.set(source, counts);
    const count = counts.get(entry.reason) ?? { total: 0, unreported: 0, reportedAt: -Infinity };
    counts.set(entry.reason, count);
    count.total += 1;
    count.unreported += 1;
    this.#reportIfDue({ ...entry, source }, count, now);
  }

  /** Reports what was counted since, where a minute has passed; forgets strangers who are quiet. */
  flush(now: number): void {
    for (const isKnown of [true, false]) {
      const table = isKnown ? this.#known : this.#strangers;
      for (const [source, counts] of table) {
        for (const [reason, count] of counts) {
          const wasQuiet = count.unreported === 0 && now - count.reportedAt >= reportEveryMs;
          if (wasQuiet && !isKnown) counts.delete(reason);
          else this.#reportIfDue({ source, isKnown, reason }, count, now);
        }
        if (counts.size === 0) table.delete(source);
      }
    }
  }

  /** How often each reason was met for the sources that are known, since the start. */
  totals(): { source: string; reason: Reason; count: number }[] {
    return [...this.#known].flatMap(([source, counts]) => {
      return [...counts].map(([reason, { total }]) => ({ source, reason, count: total }));
    });
  }

  #reportIfDue(
    entry: { source: string; isKnown: boolean; reason: Reason },
    count: Count,
    now: number,
  ): void {
    if (count.unreported === 0 || now - count.reportedAt < reportEveryMs) return;
    const { unreported } = count;
    count.unreported = 0;
    count.reportedAt = now;
    this.#report({ ...entry, count: unreported });
  }
}
