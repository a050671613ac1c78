import type { ClusterView } from '@countersign/api';
import { fine, warning, type Finding } from '@countersign/doctor/finding';
import { findWitnessProblems } from '../describe-status.ts';

/** Whether machines that run a log server only are there and well; nothing where there is none. */
export function checkWitnesses(view: ClusterView, nowMs: number): Finding[] {
  const { witnesses = [] } = view;
  if (witnesses.length === 0) return [];
  const found = findWitnessProblems(view, nowMs).map(({ problem, advice = 'countersign status' }) =>
    warning('witness', problem, advice),
  );
  if (found.length > 0) return found;
  const names = witnesses.map(({ name, runsLogServer }) =>
    runsLogServer ? `${name} runs a log server` : `${name} is there, and the log is not`,
  );
  return [fine('witness', names.join('; '))];
}
