import { checkAvailability } from './check-availability.ts';
import { checkCodes } from './check-codes.ts';
import { checkReplicas } from './check-replicas.ts';
import { checkWrites } from './check-writes.ts';
import type { Contradiction } from './contradiction.ts';
import type { HistoryRecord, ReplicaDump } from './records.ts';

/**
 * What in this history and these replicas cannot be true together if the cluster keeps its promises 1 to 6 within one
 * incarnation; the shortest first. The replicas are those of all nodes, read when no writer was at work any more.
 */
export function findContradictions(
  history: readonly HistoryRecord[],
  replicas: readonly ReplicaDump[],
): Contradiction[] {
  const attempts = history.filter((record) => record.kind === 'attempt');
  const writes = history.filter((record) => record.kind === 'write');
  const faults = history.filter((record) => record.kind === 'fault');
  const found = [
    ...checkReplicas(replicas),
    ...checkWrites(writes, replicas),
    ...checkCodes(attempts, faults, replicas),
    ...checkAvailability(attempts, faults),
  ];
  return found.toSorted((a, b) => a.records.length - b.records.length || a.rule - b.rule);
}

/** The shortest in full, of the others how many there are of each rule. */
export function describeContradictions(found: readonly Contradiction[]): string {
  const [shortest] = found;
  if (!shortest) return 'no contradiction';
  const counts = [1, 2, 3, 4, 5, 6].flatMap((rule) => {
    const count = found.filter((one) => one.rule === rule).length;
    return count > 0 ? [`promise ${rule}: ${count}`] : [];
  });
  return [
    `promise ${shortest.rule} is broken: ${shortest.says}`,
    ...shortest.records.map((record) => `  ${JSON.stringify(record)}`),
    `contradictions: ${counts.join(', ')}`,
  ].join('\n');
}
