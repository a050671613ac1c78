import {
  ChangeFormatError,
  decodeChange,
  decodeEpochMark,
  followStream,
  namesOf,
  readStreamState,
  type FollowedMessage,
  type Incarnation,
  type Log,
  type NatsLink,
  type Sealer,
} from '@countersign/cluster';
import {
  applyChanges,
  initApplied,
  readApplied,
  type Applied,
  type Database,
  type ReceivedChange,
} from '@countersign/database';
import { checkDocument, type DocumentKind } from '@countersign/verification';

type ReplicaOptions = {
  db: Database;
  link: NatsLink;
  incarnation: Incarnation;
  sealer: Sealer;
  onApplied(applied: Applied): void;
  log: Log;
};

/** Follows the change log into this node's PostgreSQL, one transaction a batch, and knows how far it is. */
export class Replica {
  readonly #options: ReplicaOptions;
  readonly #stream: string;
  readonly #base: number;
  readonly #waiting = new Set<() => void>();
  #applied: Applied;
  #horizon: number;
  /** What lasts until something is applied again. */
  #problem: string | null = null;
  /** The log's end as last heard lies before what is applied here. */
  #endProblem: string | null = null;

  static async open(options: ReplicaOptions): Promise<Replica> {
    const applied =
      (await readApplied(options.db)) ?? (await initApplied(options.db, options.incarnation));
    return new Replica(options, applied);
  }

  private constructor(options: ReplicaOptions, applied: Applied) {
    this.#options = options;
    this.#applied = applied;
    this.#horizon = applied.horizon;
    this.#stream = namesOf(options.incarnation.number).changes;
    this.#base = options.incarnation.baseRevision;
    if (applied.incarnationId !== options.incarnation.id) {
      this.#problem =
        `this node's data belong to incarnation ${applied.incarnationNumber} (${applied.incarnationId}), ` +
        `the cluster lives in ${options.incarnation.number} (${options.incarnation.id}): it does not follow`;
    }
  }

  get applied(): Applied {
    return this.#applied;
  }

  /** While a compacted log is caught up with, the replica is not yet what its revision says. */
  get isComparable(): boolean {
    return this.#applied.revision >= this.#horizon;
  }

  /** Why nothing is applied any more, in one line. */
  get problem(): string | null {
    return this.#problem ?? this.#endProblem;
  }

  async follow(signal: AbortSignal): Promise<void> {
    if (this.#applied.incarnationId !== this.#options.incarnation.id) {
      this.#options.log.warn({}, this.#problem ?? 'another incarnation');
      return;
    }
    await followStream({
      link: this.#options.link,
      stream: this.#stream,
      nextSequence: () => this.#applied.revision - this.#base + 1,
      maxBatch: 500,
      signal,
      log: this.#options.log,
      onStart: () => this.#findPosition(),
      onBatch: (messages) => this.#apply(messages),
    });
  }

  /** True once this node's PostgreSQL has committed `revision`. */
  async waitFor(revision: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#applied.revision >= revision) return true;
    if (timeoutMs <= 0 || signal?.aborted) return false;
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        signal?.removeEventListener('abort', finish);
        resolve(this.#applied.revision >= revision);
      };
      const check = () => {
        if (this.#applied.revision >= revision) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      signal?.addEventListener('abort', finish, { once: true });
      this.#waiting.add(check);
    });
  }

  // A commit whose answer was lost is in the tables and not in memory.
  async #findPosition(): Promise<void> {
    const applied = await readApplied(this.#options.db);
    if (applied && applied.revision !== this.#applied.revision) this.#noteApplied(applied);
    await this.#learnHorizon();
  }

  #noteApplied(applied: Applied): void {
    this.#applied = applied;
    this.#options.onApplied(applied);
    for (const wake of [...this.#waiting]) wake();
  }

  // Everything up to the log's end at this moment may already be compacted.
  async #learnHorizon(): Promise<void> {
    const state = await readStreamState(this.#options.link, this.#stream, 2000);
    if (!state) throw new Error('the log does not answer');
    const end = state.lastSequence + this.#base;
    if (end < this.#applied.revision) {
      this.#endProblem = `the log ends at ${end}, before this node's revision ${this.#applied.revision}`;
      throw new Error(this.#endProblem);
    }
    this.#endProblem = null;
    if (end > this.#applied.revision) this.#horizon = end;
  }

  async #apply(messages: FollowedMessage[]): Promise<void> {
    const { changes, unreadable } = this.#readAll(messages);
    if (changes.length > 0) {
      if (this.#hasGap(changes)) await this.#learnHorizon();
      const applied = await applyChanges(this.#options.db, changes, { horizon: this.#horizon });
      this.#problem = null;
      this.#noteApplied(applied);
    }
    if (unreadable) {
      this.#problem = unreadable.message;
      throw unreadable;
    }
  }

  /** The changes up to the first that cannot be read, and why it cannot. */
  #readAll(messages: FollowedMessage[]): { changes: ReceivedChange[]; unreadable: Error | null } {
    const changes: ReceivedChange[] = [];
    for (const message of messages) {
      try {
        changes.push(this.#decode(message));
      } catch (error) {
        return { changes, unreadable: this.#explain(message, error) };
      }
    }
    return { changes, unreadable: null };
  }

  #explain(message: FollowedMessage, cause: unknown): Error {
    const why = cause instanceof Error ? cause.message : String(cause);
    if (cause instanceof ChangeFormatError) return new Error(why, { cause });
    const revision = message.sequence + this.#base;
    const text = `change ${revision} cannot be read (${why}): nothing is applied from there on`;
    return new Error(text, { cause });
  }

  // A position that was compacted away before it came here: what replaced it stands further on.
  #hasGap(changes: ReceivedChange[]): boolean {
    let expected = this.#applied.revision + 1;
    for (const { revision } of changes) {
      if (revision !== expected) return true;
      expected += 1;
    }
    return false;
  }

  #decode(message: FollowedMessage): ReceivedChange {
    const revision = message.sequence + this.#base;
    const bytes = Buffer.from(message.data);
    const [, , kind = ''] = message.subject.split('.');
    if (kind === 'epoch') {
      const mark = decodeEpochMark(bytes);
      return {
        revision,
        epoch: mark.epoch,
        kind: 'epoch',
        id: String(mark.epoch),
        at: mark.at,
        removed: false,
        bytes,
        document: null,
        commands: [],
        ...(mark.index === mark.of && { epochFirstRevision: revision - mark.of + 1 }),
      };
    }
    const change = decodeChange(bytes, this.#options.sealer);
    if (change.revision !== revision || change.kind !== kind) {
      throw new Error(`it says it is ${change.kind} at ${change.revision}`);
    }
    const isTyped = kind !== 'probe' && !change.removed;
    return {
      revision,
      epoch: change.epoch,
      kind: kind as ReceivedChange['kind'],
      id: change.id,
      at: change.at,
      removed: change.removed,
      bytes,
      document: isTyped ? checkDocument(kind as DocumentKind, change.document) : null,
      commands: change.commands,
    };
  }
}
