import { randomBytes } from 'node:crypto';
import {
  FIRST_LAYOUT_TAG,
  type LogLayout,
  type LogServerAddress,
  type SeenNode,
} from '@countersign/cluster';

/** More behind than this, and a node is not ready to carry the log. */
const CLOSE_BEHIND = 20;
const LOG_SERVERS = 3;

/**
 * The better set of log servers that the nodes online make possible; null while the present one is good. A lone
 * server becomes three; a server whose store is gone gets a place again, with three online.
 */
export function planMove(options: {
  layout: LogLayout;
  /** Nodes heard now. */
  online: readonly SeenNode[];
  self: string;
}): LogServerAddress[] | null {
  const { layout, online, self } = options;
  const newest = Math.max(...online.map((node) => node.revision));
  const able = online.filter(
    (node) =>
      node.logServer !== null &&
      node.filling === null &&
      node.isDigestComparable &&
      newest - node.revision <= CLOSE_BEHIND,
  );
  if (able.length < LOG_SERVERS) return null;
  if (!able.some(({ node }) => node === self)) return null;
  if (layout.servers.length >= LOG_SERVERS && !hasLostServer(layout, able)) return null;
  const inLayout = new Set(layout.servers.map(({ name }) => name));
  return able
    .toSorted(
      (a, b) =>
        Number(b.node === self) - Number(a.node === self) ||
        Number(inLayout.has(b.node)) - Number(inLayout.has(a.node)) ||
        a.node.localeCompare(b.node),
    )
    .slice(0, LOG_SERVERS)
    .map(({ logServer }) => logServer as LogServerAddress);
}

/** A node that is there and able while the server it had in this layout is not: its store was lost. */
function hasLostServer(layout: LogLayout, able: readonly SeenNode[]): boolean {
  return layout.servers.some(({ name }) =>
    able.some((node) => node.node === name && node.logServerTag !== layout.tag),
  );
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
