import { setTimeout as sleep } from 'node:timers/promises';
import {
  explainFullDisks,
  namesOf,
  readStreamState,
  type DiskState,
  type Membership,
  type NatsLink,
  type NodeDisks,
  type StreamState,
} from '@countersign/cluster';
import { refuse, type Refusal } from './commands/plan.ts';
import type { DiskReport, LogServerHealth } from './config.ts';

const EVERY_MS = 1000;
const READ_TIMEOUT_MS = 1000;
/** Of a stream's limit: people should raise it. */
const ALARM_AT = 0.8;
/** What is left then is for what makes room or stops somebody, and for a new master's barrier. */
const REFUSE_AT = 0.9;
/** Commands that stop a user; removals are told by what they plan. */
const ALWAYS_ALLOWED = new Set([
  'user.block',
  'user.report-fraud',
  'user.end-bypass',
  'user.end-exemption',
  'authenticator.remove',
  'stop-fact.apply',
  'api-key.revoke',
]);

type StorageOptions = {
  node: string;
  link: NatsLink;
  membership: Membership;
  incarnationNumber: number;
  limits: { changesBytes: number; statesBytes: number; eventsBytes: number };
  /** What the supervisor has measured last. */
  disks(): DiskReport[];
  /** Whether the user states took a write lately. */
  isLogWritable(): boolean;
  tellSupervisor(message: { type: 'log-server-health'; health: LogServerHealth }): void;
};

type Fill = { what: string; limit: string; sizeBytes: number; maxBytes: number };

/** How much room is left for this node and the log, what that forbids, and whether its log server really works. */
export class Storage {
  readonly #options: StorageOptions;
  #fills: Fill[] = [];
  #behind: number | null = null;

  constructor(options: StorageOptions) {
    this.#options = options;
  }

  /** For the heartbeat. */
  get disks(): NodeDisks {
    return { log: this.#stateUnder('log'), database: this.#stateUnder('database') ?? 'ok' };
  }

  /** What keeps this node from being master: its PostgreSQL would fail in the middle of it. */
  get defect(): string | null {
    if (this.disks.database !== 'full') return null;
    return 'the disk under its PostgreSQL is full';
  }

  /** Somebody else could be master, and would not be short of room. */
  get isBetterElsewhere(): boolean {
    const { membership, node } = this.#options;
    return membership
      .online()
      .some((other) => other.node !== node && other.isPromotable && other.disks?.database === 'ok');
  }

  problems(): string[] {
    const found = this.#options
      .disks()
      .filter(({ state }) => state !== 'ok')
      .map(describeDisk);
    for (const { what, limit, sizeBytes, maxBytes } of this.#fills) {
      if (sizeBytes < maxBytes * ALARM_AT) continue;
      const percent = Math.floor((100 * sizeBytes) / maxBytes);
      const kept = sizeBytes < maxBytes * REFUSE_AT ? '' : '; only removals and blocks are taken';
      found.push(`${what} is ${percent} % full${kept}: raise limits.${limit}`);
    }
    const log = this.#options.disks().find(({ parts }) => parts.includes('log'));
    const { changesBytes, statesBytes, eventsBytes } = this.#options.limits;
    const allowedBytes = changesBytes + statesBytes + eventsBytes;
    if (log && log.totalBytes < allowedBytes) {
      const [allowed, total] = [inMebibytes(allowedBytes), inMebibytes(log.totalBytes)];
      found.push(`the limits allow the log ${allowed}, its disk has ${total}: lower them`);
    }
    return found;
  }

  /** Why a change is not taken now, or null. Nothing has happened when it is told. */
  refusalOf(commandName: string, { document }: { document: { removed: boolean } }): Refusal | null {
    if (document.removed || ALWAYS_ALLOWED.has(commandName)) return null;
    const full = this.#fills.find(({ sizeBytes, maxBytes }) => sizeBytes >= maxBytes * REFUSE_AT);
    if (full) {
      const detail =
        `${full.what} is almost full: only removals and blocks are taken. ` +
        `Raise limits.${full.limit} on every node and restart them one by one.`;
      return refuse(507, 'log_full', detail);
    }
    const why =
      explainFullDisks(this.#options.membership.online()) ??
      (this.defect === null ? null : `On the master ${this.defect}.`);
    if (why === null) return null;
    return refuse(507, 'disk_full', `${why} Nothing was changed; verification goes on.`);
  }

  /** Looks once a second, until stopped. */
  async run(signal: AbortSignal): Promise<void> {
    const names = namesOf(this.#options.incarnationNumber);
    while (!signal.aborted) {
      const [changes, states] = await Promise.all([
        readStreamState(this.#options.link, names.changes, READ_TIMEOUT_MS),
        readStreamState(this.#options.link, names.states, READ_TIMEOUT_MS),
      ]);
      // What was last known stands while the log does not answer.
      if (changes && states) {
        this.#fills = [
          fillOf('the change log', 'changesBytes', changes),
          fillOf('the store of user states', 'statesBytes', states),
        ];
      }
      const health = this.#judgeLogServer(changes, states);
      this.#options.tellSupervisor({ type: 'log-server-health', health });
      await sleep(EVERY_MS);
    }
  }

  #judgeLogServer(...streams: (StreamState | null)[]): LogServerHealth {
    const { node, isLogWritable } = this.#options;
    if (!isLogWritable()) return 'silent';
    let behind = 0;
    for (const stream of streams) {
      if (!stream) return 'silent';
      if (stream.replicas === 1) continue;
      const own = stream.servers.find(({ name }) => name === node);
      if (!own) return 'silent';
      if (!own.isCurrent) behind += Math.max(1, own.behind);
    }
    const before = this.#behind;
    this.#behind = behind;
    if (behind === 0) return 'working';
    return before !== null && behind < before ? 'catching-up' : 'behind';
  }

  #stateUnder(part: 'log' | 'database'): DiskState | null {
    return this.#options.disks().find(({ parts }) => parts.includes(part))?.state ?? null;
  }
}

function fillOf(what: string, limit: string, { sizeBytes, maxBytes }: StreamState): Fill {
  return { what, limit, sizeBytes, maxBytes: maxBytes > 0 ? maxBytes : Infinity };
}

function describeDisk({ parts, state, freeBytes, totalBytes }: DiskReport): string {
  const under = parts.map((part) => (part === 'log' ? 'its log' : 'its PostgreSQL')).join(' and ');
  const how = state === 'full' ? 'full' : 'nearly full';
  return `the disk under ${under} is ${how}: ${inMebibytes(freeBytes)} of ${inMebibytes(totalBytes)} free`;
}

function inMebibytes(bytes: number): string {
  return `${Math.floor(bytes / (1024 * 1024)).toLocaleString('en')} MiB`;
}
