import type { ClusterView } from '@countersign/api';
import { critical, fine, warning, type Finding } from '@countersign/doctor/finding';
import { findNodeProblems } from '../describe-status.ts';

/** Whether every node is there and well, by what the others see of it. */
export function checkMembers(view: ClusterView, nowMs: number): Finding[] {
  const found = view.nodes.flatMap((node) => {
    // Tables and clocks are looked at on each node itself.
    const seen = { ...node, damage: null, clockOffsetMs: 0 };
    return findNodeProblems(view, seen, undefined, nowMs).map(({ problem, advice }) => {
      const fix = advice ?? `countersign status; on ${node.name}: systemctl status countersign`;
      if (node.online && !node.verifies) return critical('members', problem, fix);
      return warning('members', problem, fix);
    });
  });
  if (found.length > 0) return found;
  const { length } = view.nodes;
  return [
    fine('members', length === 1 ? 'one node, and it is there' : `all ${length} nodes are there`),
  ];
}
