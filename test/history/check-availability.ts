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
    const wrong = whatIsWrong(attempt);
    if (wrong === null || isExcused(attempt, faults)) continue;
    const says = `${attempt.node} ${wrong}, and nothing was done to its verification`;
    found.push({ rule: 5, says, records: [attempt] });
  }
  return found;
}

function whatIsWrong({ verdict, reason, from, to }: Attempt): string | null {
  if (verdict === 'abandoned') return null;
  const isAskedWrongly = verdict === 'refused' && reason?.startsWith('4');
  if (verdict === 'unknown' || (verdict === 'refused' && !isAskedWrongly)) {
    return `gave no verdict (${reason})`;
  }
  return to - from > SLOWEST_MS ? `took ${Math.round(to - from)} ms for a verdict` : null;
}

function isExcused(attempt: Attempt, faults: readonly Fault[]): boolean {
  return faults.some(
    (fault) =>
      fault.cannotVerify.includes(attempt.node) &&
      attempt.to >= fault.from &&
      attempt.from <= (fault.to ?? Infinity),
  );
}
