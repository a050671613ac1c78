import type { LogServerAddress } from './log-layout.ts';
import type { NodeDisks } from './disk-states.ts';
import type { NatsLink } from './nats-link.ts';
import { ALL_HEARTBEATS, heartbeatSubject, NODE_NAME } from './names.ts';

/** What every agent says about its node once a second, and at once when its role changes. */
export type Heartbeat = {
  node: string;
  instance: string;
  /** `master` from the moment it takes commands. */
  role: 'master' | 'subordinate';
  /** It takes no writes for a moment: another node is about to, or itself under a new epoch. */
  isHandingOver: boolean;
  masterSince: string | null;
  /** Who holds the lease, or held it last, as this node has read it. */
  leaseHolder: string | null;
  epoch: number;
  /** The incarnation its tables belong to, where `revision` counts. */
  incarnation: { number: number; id: string };
  /** How far it is with tables for the next incarnation, while it fills those. */
  filling: { number: number; revision: number } | null;
  /** Its own log server's address, in use or not; null where it has none. */
  logServer: LogServerAddress | null;
  /** Tag of the layout whose log server it runs; null when it runs none. */
  logServerTag: string | null;
  /** How far the mark beside that server's store has counted; null when it runs none. */
  storeMark: number | null;
  revision: number;
  digest: string;
  isDigestComparable: boolean;
  isPromotable: boolean;
  version: string;
  format: number;
  url: string | null;
  /** Writes to the change log and the user states were answered lately. */
  isLogWritable: boolean;
  /** Its PostgreSQL answers; missing in a version that does not tell. */
  verifies?: boolean;
  /** How its tables differ from what was applied to them. */
  damage?: string | null;
  problems: string[];
  /** Missing from versions that do not tell. */
  disks?: NodeDisks;
  /** None on a node that speaks no TLS. */
  certificates?: { name: string; expiresAt: string }[];
  /** Missing from versions that know one key only. */
  keyRing?: NodeKeyRing;
  /** Of a master while it changes the cluster's key. */
  keyRotation?: KeyRotationProgress | null;
  /** As this node has heard them; missing in a cluster that has none. */
  witnesses?: WitnessReport[];
  wallMs: number;
};

/** A witness of the cluster, heard or not. */
export type WitnessReport = {
  name: string;
  online: boolean;
  lastSeen: string | null;
  version: string | null;
  /** Its log server is one of the log's. */
  runsLogServer: boolean;
  certificateExpiresAt: string;
  problems: string[];
};

/** Which generations of the cluster's key a node has on its disk; those that are retired are left out. */
export type NodeKeyRing = { active: string; generations: { id: string; madeAt: string }[] };

/** How far a change of the cluster's key is. */
export type KeyRotationProgress = {
  from: string;
  to: string;
  reason: string;
  by: string;
  startedAt: string;
  activatedAt: string | null;
  /** Nodes that have not said that they are as far. */
  waitsFor: string[];
  /** Documents looked at in this pass, of so many. */
  seen: number;
  of: number;
  /** Nothing was left under the old generation when they were last looked at. */
  isClean: boolean;
  /** The old generation goes then at the earliest. */
  retiresAt: string | null;
};

export type SeenNode = Heartbeat & {
  /** Monotonic ms. */
  seenAt: number;
  seenAtWall: string;
  /** Its wall clock minus ours when the heartbeat came in. */
  offsetMs: number;
};

/** `seenAt` is when it was last heard as master. */
export type LastMaster = { node: string; epoch?: number; seenAt: string | null };

export const HEARTBEAT_MS = 1000;
export const ONLINE_WITHIN_MS = 3000;
/** More nodes than this are not remembered: a bound, not a size anybody runs. */
const MAX_NODES = 64;

/** Who is there, learned from heartbeats alone; nothing here decides who may write. */
export class Membership {
  readonly #link: NatsLink;
  readonly #nodes = new Map<string, SeenNode>();
  readonly #listeners = new Set<() => void>();
  #lastMaster: LastMaster | null = null;

  constructor(link: NatsLink) {
    this.#link = link;
    link.whenFirstConnected((connection) => {
      connection.subscribe(ALL_HEARTBEATS, {
        callback: (error, message) => {
          if (!error) this.#onHeartbeat(message.data);
        },
      });
    });
  }

  send(heartbeat: Heartbeat): void {
    this.#remember(heartbeat);
    this.#link.publish(heartbeatSubject(heartbeat.node), JSON.stringify(heartbeat));
  }

  nodes(): SeenNode[] {
    return [...this.#nodes.values()].toSorted((a, b) => a.node.localeCompare(b.node));
  }

  find(node: string): SeenNode | null {
    return this.#nodes.get(node) ?? null;
  }

  online(): SeenNode[] {
    return this.nodes().filter(isOnline);
  }

  /** The node that says it is master under the newest epoch, if it was heard lately. */
  master(): SeenNode | null {
    const masters = this.online().filter((node) => node.role === 'master');
    return masters.toSorted((a, b) => b.epoch - a.epoch)[0] ?? null;
  }

  /** Who was last heard as master, or is said to hold or have held the lease; null = nobody knows. */
  lastMaster(): LastMaster | null {
    if (this.#lastMaster) return this.#lastMaster;
    const holder = this.nodes().find((node) => node.leaseHolder !== null)?.leaseHolder ?? null;
    return holder === null ? null : { node: holder, seenAt: null };
  }

  isHandOverUnderWay(): boolean {
    return this.online().some((node) => node.isHandingOver);
  }

  /** Resolves true as soon as `condition` holds after a heartbeat, false after `timeoutMs`. */
  async waitUntil(condition: () => boolean, timeoutMs: number): Promise<boolean> {
    if (condition()) return true;
    if (timeoutMs <= 0) return false;
    return new Promise((resolve) => {
      const finish = (holds: boolean) => {
        clearTimeout(timer);
        this.#listeners.delete(check);
        resolve(holds);
      };
      const check = () => {
        if (condition()) finish(true);
      };
      const timer = setTimeout(() => finish(condition()), timeoutMs);
      this.#listeners.add(check);
    });
  }

  #onHeartbeat(data: Uint8Array): void {
    const heartbeat = readHeartbeat(data);
    if (heartbeat) this.#remember(heartbeat);
  }

  #remember(heartbeat: Heartbeat): void {
    if (!this.#nodes.has(heartbeat.node) && this.#nodes.size >= MAX_NODES) return;
    this.#nodes.set(heartbeat.node, {
      ...heartbeat,
      seenAt: performance.now(),
      seenAtWall: new Date().toISOString(),
      offsetMs: heartbeat.wallMs - Date.now(),
    });
    const isNewest = heartbeat.epoch >= (this.#lastMaster?.epoch ?? 0);
    if (heartbeat.role === 'master' && isNewest) {
      this.#lastMaster = {
        node: heartbeat.node,
        epoch: heartbeat.epoch,
        seenAt: new Date().toISOString(),
      };
    }
    for (const listener of [...this.#listeners]) listener();
  }
}

/** Null for anything else: what throws in a subscription makes the whole connection deaf. */
function readHeartbeat(data: Uint8Array): Heartbeat | null {
  try {
    const heartbeat = JSON.parse(Buffer.from(data).toString()) as Heartbeat;
    const isOurs = NODE_NAME.test(heartbeat.node) && Number.isFinite(heartbeat.wallMs);
    return isOurs && Array.isArray(heartbeat.problems) ? heartbeat : null;
  } catch {
    return null;
  }
}

export function isOnline(node: SeenNode): boolean {
  return performance.now() - node.seenAt < ONLINE_WITHIN_MS;
}

export function medianOf(values: number[]): number {
  if (values.length === 0) return 0;
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
