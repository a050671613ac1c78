import type { ClusterView } from '@countersign/api';

/** Which servers the change log has, in one line. */
export function describeLog(view: ClusterView): string {
  const { total, up } = countServers(view);
  if (!view.quorum && view.logServers.length === 0) return 'does not answer';
  const copies = Math.min(view.logReplicas, total);
  const few = copies < 3 ? `, ${copies === 1 ? '1 copy' : `${copies} copies`} of each change` : '';
  const whose = view.operatorsNats ? ' of your own NATS' : '';
  return `${up} of ${total} server${total === 1 ? '' : 's'}${whose} up${few}`;
}

/** How many log servers may fail now before writes stop, in one line. */
export function describeWriteMargin(view: ClusterView): string {
  if (!view.quorum) return 'refused until the log has its quorum again';
  const { total, up } = countServers(view);
  const copies = Math.min(view.logReplicas, total);
  const majority = Math.floor(copies / 2) + 1;
  const mayFail = Math.max(0, copies - (total - up) - majority);
  const margin = `${mayFail} of ${total} log server${total === 1 ? '' : 's'} may fail`;
  if (up < total) return `${margin}, ${total - up} ${total - up === 1 ? 'is' : 'are'} down`;
  if (total > 1) return margin;
  if (view.operatorsNats) {
    return `${margin}: nothing protects acknowledged changes but its disk (NATS on one server)`;
  }
  if (view.nodes.length <= 1) {
    return `${margin}: nothing protects acknowledged changes but its disk (join two more nodes)`;
  }
  const nodes = view.nodes.filter((node) => node.online).length;
  const witnesses = view.witnesses?.filter((witness) => witness.online).length ?? 0;
  if (nodes >= 3) {
    return `${margin} (the log moves to three nodes that have a log server and all changes)`;
  }
  if (nodes === 2 && witnesses > 0) {
    return `${margin} (the log moves to both nodes and the witness once both have all changes)`;
  }
  return `${margin} (add a third node or a witness)`;
}

/** Witnesses in one line; none where there is none. */
export function describeWitnesses({ witnesses = [] }: ClusterView): string[] {
  if (witnesses.length === 0) return [];
  const each = witnesses.map(({ name, online, runsLogServer, certificateExpiresAt }) => {
    const what = runsLogServer ? 'runs a log server' : 'waits for the log to move there';
    const until = certificateExpiresAt.slice(0, 10);
    return `${name} ${online ? what : 'is OFFLINE'}, certificate until ${until}`;
  });
  return [`witness: ${each.join('; ')}`];
}

/** How many nodes may fail now before nobody verifies, in one line. */
export function describeVerificationMargin(view: ClusterView): string {
  const total = view.nodes.length;
  const able = view.nodes.filter((node) => node.online && node.verifies).length;
  const margin = `${Math.max(0, able - 1)} of ${total} node${total === 1 ? '' : 's'} may fail`;
  const rest = total - able;
  const unable = rest === 0 ? '' : `, ${rest} ${rest === 1 ? 'does' : 'do'} not verify now`;
  const lone = view.quorum ? '' : ' (degraded: each by what it knows)';
  return `${margin}${unable}${lone}`;
}

// A single server doesn't list itself.
function countServers(view: ClusterView): { total: number; up: number } {
  if (view.logServers.length === 0) return { total: 1, up: view.quorum ? 1 : 0 };
  const up = view.logServers.filter((server) => server.online).length;
  return { total: view.logServers.length, up };
}
