import type { ClusterView } from '@countersign/api';
import { critical, fine, type Finding } from '@countersign/doctor/finding';
import { compareDigests } from '../compare-digests.ts';

/** Whether nodes at the same revision hold the same. */
export function checkDigests(view: ClusterView): Finding[] {
  const digests = compareDigests(view.nodes);
  const others = view.nodes.filter(({ name }) => digests.get(name) === 'DIFFERS');
  if (others.length > 0) {
    return others.map(({ name, role, revision }) =>
      critical(
        'digests',
        `${name} holds other data than the rest at revision ${revision}`,
        `${role === 'master' ? 'countersign demote; ' : ''}take ${name} out of the load balancer and refill it: docs/failover.md, "A node's data differ"`,
      ),
    );
  }
  const equal = view.nodes.filter(({ name }) => digests.get(name) === 'ok').length;
  if (equal === 0) return [fine('digests', 'no two nodes are at one revision to be compared now')];
  return [fine('digests', `${equal} nodes hold the same at the revision that they share`)];
}
