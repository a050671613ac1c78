import type { SeenNode } from './membership.ts';

/** `low`: people should look; `full`: what is left is kept for removals, blocks and coming back. */
export type DiskState = 'ok' | 'low' | 'full';

/** Under what a node keeps; `log` null where it runs no log server. */
export type NodeDisks = { log: DiskState | null; database: DiskState };

type DiskHolder = Pick<SeenNode, 'node' | 'isPromotable' | 'disks'>;

/** The nodes whose disks leave the log no majority to write with; empty while there is one. */
export function whoFillsTheLog(online: readonly DiskHolder[]): string[] {
  const servers = online.filter(({ disks }) => disks !== undefined && disks.log !== null);
  const full = servers.filter(({ disks }) => disks?.log === 'full');
  return full.length * 2 > servers.length ? full.map(({ node }) => node) : [];
}

/** Why nothing can be changed now for want of disk space, for people; null if that is not why. */
export function explainFullDisks(online: readonly DiskHolder[]): string | null {
  const log = whoFillsTheLog(online);
  if (log.length > 0) return `The disk under the log is full on ${log.join(', ')}.`;
  const promotable = online.filter(({ isPromotable }) => isPromotable);
  const full = promotable.filter(({ disks }) => disks?.database === 'full');
  if (full.length === 0 || full.length < promotable.length) return null;
  const names = full.map(({ node }) => node).join(', ');
  return `The disk under PostgreSQL is full on every node that may be master: ${names}.`;
}
