import type { Contradiction } from './contradiction.ts';
import type { Attempt, Fault } from './records.ts';

/** 700 ms for the quorum, the asks, and what a busy machine takes. */
export const SLOWEST_MS = 2500;

/** Promise 5: a node whose PostgreSQL and worker run gives every attempt a verdict, and soon. */
export function checkAvailability(
  attempts: readonly Attempt[],
  faults: readonly Fault[],
): Contradiction[] {
  const found: Contradiction[] = [];
  for (const attempt of attempts) {
    const { node, verdict, reason } = attempt;
    if (verdict === 'abandoned' || isExcused(attempt, faults)) continue;
    const tookMs = Math.round(attempt.to - attempt.from);
    const hasFailed = verdict === 'unknown' || (verdict === 'refused' && !reason?.startsWith('4'));
    if (hasFailed) {
      const says = `${node} gave no verdict, and nothing was done to its verification: ${reason}`;
      found.push({ rule: 5, says, records: [attempt] });
    } else if (tookMs > SLOWEST_MS) {
      const says = `${node} took ${tookMs} ms for a verdict, and nothing was done to its verification`;
      found.push({ rule: 5, says, records: [attempt] });
    }
  }
  return found;
}

function isExcused(attempt: Attempt, faults: readonly Fault[]): boolean {
  return faults.some(
    (fault) =>
      fault.cannotVerify.includes(attempt.node) &&
      attempt.to >= fault.from &&
      attempt.from <= (fault.to ?? Infinity),
  );
}
