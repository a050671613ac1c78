import { STANDSTILL_MS } from '../harness/standstill.ts';
import type { Contradiction } from './contradiction.ts';
import type { Attempt, Fault } from './records.ts';

/** 700 ms for the quorum, the asks, some work, and a process that stands still meanwhile. */
const SLOWEST_MS = 2500 + STANDSTILL_MS;
/** A verdict passes through so many processes: each waits as a verdict without any fault does here. */
const HOPS = 5;
const SAMPLE = 2000;

/** Promise 5: a node whose PostgreSQL and worker run gives every attempt a verdict, and soon. */
export function checkAvailability(
  attempts: readonly Attempt[],
  faults: readonly Fault[],
): Contradiction[] {
  const found: Contradiction[] = [];
  const slowestMs = SLOWEST_MS + HOPS * calmLatencyMs(attempts, faults);
  for (const attempt of attempts) {
    const wrong = whatIsWrong(attempt, slowestMs);
    if (wrong === null || isExcused(attempt, faults)) continue;
    const says = `${attempt.node} ${wrong}, and nothing was done to its verification`;
    found.push({ rule: 5, says, records: [attempt] });
  }
  return found;
}

/** 95 % of the verdicts that no fault touches come faster: a shared machine may be slow by itself. */
function calmLatencyMs(attempts: readonly Attempt[], faults: readonly Fault[]): number {
  const every = Math.ceil(attempts.length / SAMPLE);
  const calm = attempts
    .filter((attempt, i) => i % every === 0 && !faults.some((fault) => overlaps(attempt, fault)))
    .map(({ from, to }) => to - from)
    .filter((ms) => ms <= SLOWEST_MS)
    .toSorted((a, b) => a - b);
  return calm[Math.floor(calm.length * 0.95)] ?? 0;
}

function whatIsWrong({ verdict, reason, from, to }: Attempt, slowestMs: number): string | null {
  if (verdict === 'abandoned') return null;
  const isAskedWrongly = verdict === 'refused' && reason?.startsWith('4');
  if (verdict === 'unknown' || (verdict === 'refused' && !isAskedWrongly)) {
    return `gave no verdict (${reason})`;
  }
  if (to - from <= slowestMs) return null;
  const [tookMs, allowedMs] = [to - from, slowestMs].map(Math.round);
  return `took ${tookMs} ms for a verdict (${allowedMs} allowed)`;
}

function isExcused(attempt: Attempt, faults: readonly Fault[]): boolean {
  return faults.some(
    (fault) => fault.cannotVerify.includes(attempt.node) && overlaps(attempt, fault),
  );
}

function overlaps(attempt: Attempt, fault: Fault): boolean {
  return attempt.to >= fault.from && attempt.from <= (fault.to ?? Infinity);
}
