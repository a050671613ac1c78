import type { ClusterView } from '@countersign/api';
import type { Finding } from '@countersign/doctor/finding';
import { checkDigests } from './check-digests.ts';
import { checkMembers } from './check-members.ts';
import { checkQuorum } from './check-quorum.ts';
import { checkVersions } from './check-versions.ts';
import { checkWitnesses } from './check-witnesses.ts';

/** What is only seen by looking at all nodes together. Pure. */
export function examineCluster(view: ClusterView, nowMs: number): Finding[] {
  return [
    ...checkQuorum(view),
    ...checkMembers(view, nowMs),
    ...checkWitnesses(view, nowMs),
    ...checkDigests(view),
    ...checkVersions(view),
  ];
}
