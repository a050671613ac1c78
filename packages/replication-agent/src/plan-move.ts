import { randomBytes } from 'node:crypto';
import {
  FIRST_LAYOUT_TAG,
  type LogLayout,
  type LogServerAddress,
  type SeenNode,
} from '@countersign/cluster';
import type { SeenWitness } from './members/witnesses.ts';

/** More behind than this, and a node is not ready to carry the log. */
const CLOSE_BEHIND = 20;
const LOG_SERVERS = 3;

/**
 * The better set of log servers that those online make possible; null while the present one is good. A lone server
 * becomes three; a server whose store is gone gets a place again, with three online. Of three at most one is a
 * witness, and only where there is no third node. Without a witness that was removed two nodes go back to a lone
 * server: a set with a server that never comes back is less safe than it looks.
 */
export function planMove(options: {
  layout: LogLayout;
  /** Nodes heard now. */
  online: readonly SeenNode[];
  /** Heard now too. */
  witnesses?: readonly Pick<SeenWitness, 'name' | 'logServer' | 'tag' | 'runsLogServer'>[];
  /** Whether no member has that name any more. */
  isGone?(name: string): boolean;
  self: string;
}): LogServerAddress[] | null {
  const { layout, online, self, witnesses = [], isGone = () => false } = options;
  const newest = Math.max(...online.map((node) => node.revision));
  const able = online.filter(
    (node) =>
      node.logServer !== null &&
      node.filling === null &&
      node.isDigestComparable &&
      newest - node.revision <= CLOSE_BEHIND,
  );
  const own = able.find(({ node }) => node === self);
  if (!own) return null;
  const isWhole = layout.servers.length >= LOG_SERVERS;
  const hasGone = layout.servers.some(({ name, isWitness }) => isWitness && isGone(name));
  if (isWhole && !hasGone && !hasLostServer(layout, able, witnesses)) return null;
  const inLayout = new Set(layout.servers.map(({ name }) => name));
  const nodes = able
    .toSorted(
      (a, b) =>
        Number(b.node === self) - Number(a.node === self) ||
        Number(inLayout.has(b.node)) - Number(inLayout.has(a.node)) ||
        a.node.localeCompare(b.node),
    )
    .slice(0, LOG_SERVERS)
    .map(({ logServer }) => logServer as LogServerAddress);
  if (nodes.length === LOG_SERVERS) return nodes;
  const witness = witnesses.toSorted(
    (a, b) =>
      Number(inLayout.has(b.name)) - Number(inLayout.has(a.name)) || a.name.localeCompare(b.name),
  )[0];
  if (nodes.length === LOG_SERVERS - 1 && witness) {
    return [...nodes, { ...witness.logServer, isWitness: true }];
  }
  return hasGone ? [own.logServer!] : null;
}

/** A node or witness that is there and able while the server it had in this layout is not: its store was lost. */
function hasLostServer(
  layout: LogLayout,
  able: readonly SeenNode[],
  witnesses: readonly Pick<SeenWitness, 'name' | 'tag' | 'runsLogServer'>[],
): boolean {
  const lost = new Set([
    ...able.filter(({ logServerTag }) => logServerTag !== layout.tag).map(({ node }) => node),
    ...witnesses
      .filter(({ tag, runsLogServer }) => tag !== layout.tag || !runsLogServer)
      .map(({ name }) => name),
  ]);
  return layout.servers.some(({ name }) => lost.has(name));
}

/** A set of log servers that begins with empty stores; `by` fills it. */
export function nextLayout(options: {
  servers: LogServerAddress[];
  by: string;
  disasterAt: string | null;
  after?: string;
}): LogLayout {
  return { tag: newTag(), ...options };
}

function newTag(): string {
  const tag = randomBytes(4).toString('hex');
  return tag === FIRST_LAYOUT_TAG ? newTag() : tag;
}
