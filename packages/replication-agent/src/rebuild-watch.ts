import {
  findIncarnation,
  FIRST_LAYOUT_TAG,
  hasSeal,
  isOperators,
  isOnline,
  namesOf,
  readStreamState,
  replicasOf,
  type Incarnation,
  type LogLayout,
  type Membership,
  type NatsLink,
} from '@countersign/cluster';
import type { Replica } from './replica.ts';

export type NextStep = 'wait' | 'begin-again' | 'rebuild';

/** A node that has to fill a log is replaced after this silence. */
const SILENT_AFTER_MS = 15_000;
/** A replica heard within this counts when the log turns out to have lost something. */
const COUNTS_FOR_MS = 60_000;
/** The log must be found behind this often in a row. */
const BEHIND_LOOKS = 3;
const FAILED_PAUSE_MS = 3000;
/** Every node that is there was heard this long after the connection came up. */
const HEARD_WITHIN_MS = 3000;
const TIMEOUT_MS = 2000;

/** Looks whether the log has to be filled anew, and by whom. Decides nothing itself: the compare-and-set does. */
export class RebuildWatch {
  readonly #options: {
    node: string;
    layout: LogLayout;
    link: NatsLink;
    incarnation: Incarnation;
    replica: Replica;
    membership: Membership;
    knownNodes: string[];
  };
  readonly #beganAt = performance.now();
  #isSealed = false;
  #looksBehind = 0;
  #failedAt = -Infinity;
  #problem: string | null = null;
  #firstUpAt: number | null = null;

  constructor(options: {
    node: string;
    layout: LogLayout;
    link: NatsLink;
    incarnation: Incarnation;
    replica: Replica;
    membership: Membership;
    /** Names of the cluster's nodes as this replica has them. */
    knownNodes: string[];
  }) {
    this.#options = options;
    // Tables in use were filled to a seal.
    this.#isSealed = options.incarnation.by === null || options.replica.mode === 'live';
  }

  get problem(): string | null {
    return this.#problem;
  }

  noteFailure(error: unknown): void {
    this.#failedAt = performance.now();
    this.#problem = error instanceof Error ? error.message : String(error);
  }

  /** The highest revision of this incarnation that any replica heard lately has applied. */
  newestRevision(): number {
    return this.#newest().revision;
  }

  /**
   * Whether every node that may have more than the log does was heard, or had time to be: before that nobody should
   * begin to write.
   */
  hasHeardOthers(): boolean {
    const { link, knownNodes, membership } = this.#options;
    if (link.isUp) this.#firstUpAt ??= performance.now();
    if (knownNodes.every((name) => membership.find(name) !== null)) return true;
    return this.#firstUpAt !== null && performance.now() - this.#firstUpAt > HEARD_WITHIN_MS;
  }

  async look(): Promise<NextStep> {
    const { link, layout, incarnation, replica } = this.#options;
    if (performance.now() - this.#failedAt < FAILED_PAUSE_MS) return 'wait';
    const found = await findIncarnation(link, { logReplicas: replicasOf(layout) });
    if (!found) {
      if (isOperators(layout)) return this.#mayBeginThere();
      if (layout.tag === FIRST_LAYOUT_TAG) return this.#hasLostLoneStore() ? 'rebuild' : 'wait';
      this.#problem = `its log servers are new, ${layout.by} fills them`;
      return this.#isMyTurn(layout.by, replica.applied.revision) ? 'rebuild' : 'wait';
    }
    if (found.incarnation.id !== incarnation.id) return 'begin-again';
    this.#problem = null;
    if (!this.#isSealed && !(await hasSeal(link, incarnation))) {
      this.#problem = `the rebuild by ${incarnation.by} is not finished`;
      const left = incarnation.ancestors.at(-1)?.revision ?? 0;
      return this.#isMyTurn(incarnation.by, left) ? 'rebuild' : 'wait';
    }
    this.#isSealed = true;
    return this.#lookForLoss();
  }

  /** What is gone from the operator's NATS may be there still, and nats.urls name another one: people decide. */
  #mayBeginThere(): NextStep {
    const { node, layout, incarnation } = this.#options;
    if (layout.by === node && wasNeverInALog(incarnation)) return 'rebuild';
    this.#problem =
      'nats.urls: the log of this cluster is not there; are they the right servers and account?';
    return 'wait';
  }

  /** The only log server is this node's and empty: what its PostgreSQL holds is all there is. */
  #hasLostLoneStore(): boolean {
    const { node, layout, replica } = this.#options;
    const [server, ...others] = layout.servers;
    if (server?.name !== node || others.length > 0 || !replica.applied.isFilled) return false;
    this.#problem = 'the store of its log server is gone: it is made again from its PostgreSQL';
    return true;
  }

  /** What a replica has applied and the log does not have is only in replicas: the newest of them is what counts. */
  async #lookForLoss(): Promise<NextStep> {
    const { node, link, incarnation, replica } = this.#options;
    if (replica.mode !== 'live') return 'wait';
    const state = await readStreamState(link, namesOf(incarnation.number).changes, TIMEOUT_MS);
    if (!state?.hasLeader) return 'wait';
    const end = state.lastSequence + incarnation.baseRevision;
    const newest = this.#newest();
    if (end >= newest.revision) {
      this.#looksBehind = 0;
      return 'wait';
    }
    this.#looksBehind += 1;
    this.#problem =
      `the log ends at ${end} and ${newest.node} has revision ${newest.revision}: ` +
      `the log lost changes, ${newest.node} rebuilds it`;
    // A stream of three copies is only made where three servers are there.
    const missing = state.servers.filter(({ isCurrent }) => !isCurrent).map(({ name }) => name);
    if (missing.length > 0) {
      this.#problem += ` as soon as the log servers of ${missing.join(', ')} are back`;
      return 'wait';
    }
    const isMine = newest.node === node && this.#looksBehind >= BEHIND_LOOKS;
    return isMine ? 'rebuild' : 'wait';
  }

  #newest(): { node: string; revision: number } {
    const { node, membership, incarnation, replica } = this.#options;
    const since = performance.now() - COUNTS_FOR_MS;
    const others = membership
      .nodes()
      .filter((seen) => seen.node !== node && seen.seenAt >= since)
      .filter((seen) => seen.incarnation.id === incarnation.id);
    const own = replica.applied.incarnation.id === incarnation.id ? replica.applied.revision : 0;
    const all = [
      { node, revision: own, isHere: true },
      ...others.map((seen) => ({ ...seen, isHere: isOnline(seen) })),
    ];
    const [first] = all.toSorted(
      (a, b) =>
        b.revision - a.revision ||
        Number(b.isHere) - Number(a.isHere) ||
        a.node.localeCompare(b.node),
    );
    return first!;
  }

  #isMyTurn(by: string | null, left: number): boolean {
    const { node, membership, layout, replica } = this.#options;
    const heardAt = by === null ? undefined : membership.find(by)?.seenAt;
    return isTurnOf(node, {
      by,
      isAfterDisaster: layout.disasterAt !== null,
      silentForMs: performance.now() - (heardAt ?? this.#beganAt),
      left,
      own: {
        isFilled: replica.applied.isFilled,
        incarnationId: replica.applied.incarnation.id,
        revision: replica.applied.revision,
      },
      others: membership
        .online()
        .filter((seen) => seen.node !== node)
        .map((seen) => ({
          node: seen.node,
          incarnationId: seen.incarnation.id,
          revision: seen.revision,
        })),
    });
  }
}

/** Made by a restore: a first incarnation has no disaster behind it, and every other is filled by somebody. */
export function wasNeverInALog({
  by,
  disasterAt,
}: Pick<Incarnation, 'by' | 'disasterAt'>): boolean {
  return by === null && disasterAt !== null;
}

/** `by` fills the log; when it is gone, the most caught-up node that has all of revision `left`. */
export function isTurnOf(
  node: string,
  about: {
    by: string | null;
    /** Only the survivor knows what is to be kept then. */
    isAfterDisaster: boolean;
    /** Since `by` was heard. */
    silentForMs: number;
    left: number;
    own: { isFilled: boolean; incarnationId: string; revision: number };
    /** Nodes online. */
    others: readonly { node: string; incarnationId: string; revision: number }[];
  },
): boolean {
  const { by, own, others } = about;
  if (by === node) return true;
  if (about.isAfterDisaster || about.silentForMs < SILENT_AFTER_MS) return false;
  if (!own.isFilled || own.revision < about.left) return false;
  return !others.some(
    (other) =>
      other.incarnationId === own.incarnationId &&
      (other.revision > own.revision || (other.revision === own.revision && other.node < node)),
  );
}
