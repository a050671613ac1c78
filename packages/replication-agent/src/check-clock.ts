import { fine, warning, type Finding } from '@countersign/doctor/finding';
import { isOnline, medianOf, type Membership } from '@countersign/cluster';

const CLOCK_WARN_MS = 5000;

/** This node's clock against the median of all that are heard. */
export function checkClock(node: string, membership: Membership): Finding {
  const online = membership.nodes().filter(isOnline);
  const own = online.find((seen) => seen.node === node);
  if (!own || online.length < 2) {
    return fine('clock', 'no other node is heard to compare it with');
  }
  const offsetMs = Math.round(own.offsetMs - medianOf(online.map((seen) => seen.offsetMs)));
  const detail = `${Math.abs(offsetMs)} ms ${offsetMs < 0 ? 'behind' : 'ahead of'} the median of ${online.length} nodes`;
  if (Math.abs(offsetMs) < CLOCK_WARN_MS) return fine('clock', detail);
  const fix = `on ${node}: timedatectl set-ntp true; chronyc makestep; more than 20 s off it verifies nobody`;
  return warning('clock', detail, fix);
}
