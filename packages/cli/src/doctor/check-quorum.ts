import type { ClusterView } from '@countersign/api';
import { critical, fine, warning, type Finding } from '@countersign/doctor/finding';
import { compareDigests } from '../compare-digests.ts';
import { describeVerificationMargin, describeWriteMargin } from '../describe-log.ts';
import { findLogProblems, findMasterProblems, findPendingStops } from '../describe-status.ts';

/** Whether anything can be changed, and what may fail before that ends. */
export function checkQuorum(view: ClusterView): Finding[] {
  const problems = [
    ...findMasterProblems(view, compareDigests(view.nodes)),
    ...findLogProblems(view),
    ...findPendingStops(view),
  ];
  const isDown = view.master === null || !view.quorum;
  const found = problems.map(({ problem, advice = 'countersign status' }) =>
    isDown ? critical('quorum', problem, advice) : warning('quorum', problem, advice),
  );
  if (found.length > 0) return found;
  const margins = `writes: ${describeWriteMargin(view)}; verification: ${describeVerificationMargin(view)}`;
  return [fine('quorum', `${view.master} is the master; ${margins}`)];
}
