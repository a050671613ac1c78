import type { ClusterNode } from '@countersign/api';

export type DigestFinding = 'ok' | 'DIFFERS' | 'catching up' | '-';

/**
 * What can be said of each online node's data by comparing it with the others at the same revision.
 * Where they differ, most nodes are right; the master where there is no most.
 */
export function compareDigests(nodes: readonly ClusterNode[]): Map<string, DigestFinding> {
  const findings = new Map<string, DigestFinding>();
  for (const node of nodes) {
    if (!node.online) findings.set(node.name, '-');
    else if (!node.digestComparable) findings.set(node.name, 'catching up');
  }
  const comparable = nodes.filter((node) => !findings.has(node.name));
  for (const peers of Map.groupBy(comparable, (node) => node.revision).values()) {
    const right = rightDigest(peers);
    for (const node of peers) findings.set(node.name, judge(node, peers, right));
  }
  return findings;
}

function judge(node: ClusterNode, peers: ClusterNode[], right: string | null): DigestFinding {
  if (peers.length === 1) return '-';
  return node.digest === right ? 'ok' : 'DIFFERS';
}

function rightDigest(peers: ClusterNode[]): string | null {
  const groups = [...Map.groupBy(peers, (node) => node.digest)].sort(
    ([, a], [, b]) => b.length - a.length,
  );
  const [most, second] = groups;
  if (most !== undefined && most[1].length > (second?.[1].length ?? 0)) return most[0];
  return peers.find((node) => node.role === 'master')?.digest ?? null;
}
