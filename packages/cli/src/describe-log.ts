import type { ClusterView } from '@countersign/api';

/** What the change log can still bear, in one line. */
export function describeLog(view: ClusterView): string {
  const total = Math.max(view.logServers.length, 1);
  // A single server doesn't list itself.
  const isAlone = view.quorum && view.logServers.length === 0;
  const up = isAlone ? 1 : view.logServers.filter((server) => server.online).length;
  const servers = `${up} of ${total} server${total === 1 ? '' : 's'} up`;
  if (!view.quorum && view.logServers.length === 0) {
    return 'does not answer: writes are refused, verification goes on (degraded)';
  }
  if (!view.quorum) {
    return `${servers}, quorum lost: writes are refused, verification goes on (degraded)`;
  }
  if (total === 1 && view.nodes.length <= 1) {
    return '0 servers may fail: nothing protects acknowledged changes but this disk';
  }
  if (total === 1)
    return `${servers}: 0 servers may fail for writes (add a third node or a witness)`;

  const copies = Math.min(view.logReplicas, total);
  const majority = Math.floor(copies / 2) + 1;
  const mayFail = Math.max(0, copies - (total - up) - majority);
  const few = copies < 3 ? ` (${copies === 1 ? '1 copy' : `${copies} copies`} of each change)` : '';
  return `${servers}: ${mayFail} may fail${few}`;
}
