import { setImmediate as nextTurnOfLoop, setTimeout as sleep } from 'node:timers/promises';
import {
  ChangeFormatError,
  decodeChange,
  decodeEpochMark,
  followStream,
  isCurrentIncarnation,
  isInHistoryOf,
  isVoid,
  namesOf,
  readStreamState,
  type FollowedMessage,
  type Incarnation,
  type Log,
  type NatsLink,
  type Seal,
  type Sealer,
} from '@countersign/cluster';
import {
  applyChanges,
  beginNextTables,
  countNextDocuments,
  dropNextTables,
  hasNextSeal,
  initApplied,
  listEpochMarks,
  readApplied,
  readNextApplied,
  swapInNextTables,
  type Applied,
  type Database,
  type ReceivedChange,
} from '@countersign/database';
import { checkDocument, type DocumentKind } from '@countersign/verification';
import { findDivergence } from './log-history.ts';

type ReplicaOptions = {
  db: Database;
  link: NatsLink;
  incarnation: Incarnation;
  sealer: Sealer;
  onApplied(applied: Applied): void;
  /** Its tables hold changes that are not in the log's history, from this revision on; they are about to go. */
  onDiverged(fromRevision: number, applied: Applied): Promise<void>;
  /** An operator has given up what these tables hold and the log does not know. */
  mayDrop?: boolean;
  log: Log;
};

/**
 * `live`: applies to the tables in use. `next`: fills tables for another incarnation (or its own anew) beside
 * those, which go on serving. `stranded`: its tables hold what the log does not know, and nobody gave that up.
 */
export type ReplicaMode = 'live' | 'next' | 'stranded';

const SWAP_RETRY_MS = 200;
/** Opening and checking a change takes about 0.05 ms. */
const READ_AT_ONCE = 100;

/** Follows the change log into this node's PostgreSQL, one transaction a batch, and knows how far it is. */
export class Replica {
  readonly #options: ReplicaOptions;
  readonly #stream: string;
  readonly #base: number;
  readonly #waiting = new Set<() => void>();
  #mode: ReplicaMode;
  /** The tables in use. */
  #applied: Applied;
  /** The tables being filled. */
  #next: Applied | null = null;
  #seal: Seal | null = null;
  #isUnbroken = true;
  #horizon: number;
  /** What lasts until something is applied again. */
  #problem: string | null = null;
  /** The log's end as last heard lies before what is applied here. */
  #end: { revision: number; isBehind: boolean } | null = null;
  #stopping: AbortSignal | null = null;

  static async open(options: ReplicaOptions): Promise<Replica> {
    const { db, incarnation } = options;
    const applied = await readApplied(db);
    if (!applied && incarnation.parent === null) {
      return new Replica(options, await initApplied(db, incarnation), 'live');
    }
    if (applied?.incarnation.id === incarnation.id) return new Replica(options, applied, 'live');
    const isAncestor =
      !applied || isInHistoryOf(incarnation, { incarnationId: applied.incarnation.id, ...applied });
    const mode = isAncestor || options.mayDrop ? 'next' : 'stranded';
    return new Replica(options, applied ?? emptyReplica(incarnation), mode);
  }

  private constructor(options: ReplicaOptions, applied: Applied, mode: ReplicaMode) {
    this.#options = options;
    this.#applied = applied;
    this.#mode = mode;
    this.#horizon = applied.horizon;
    this.#stream = namesOf(options.incarnation.number).changes;
    this.#base = options.incarnation.baseRevision;
    if (mode === 'stranded') {
      const { number, id } = applied.incarnation;
      this.#problem =
        `its data are incarnation ${number} (${id.slice(0, 8)}) at revision ${applied.revision}, the cluster's ` +
        `incarnation ${options.incarnation.number} does not know all of them: it verifies and does not follow ` +
        `until "countersign rejoin" there gives up what is its own`;
    }
  }

  get mode(): ReplicaMode {
    return this.#mode;
  }

  /** Of the tables in use. */
  get applied(): Applied {
    return this.#applied;
  }

  /** Of the tables that are being filled; null when none are. */
  get filling(): Applied | null {
    return this.#mode === 'next' ? this.#next : null;
  }

  /** While a compacted log is caught up with, the replica is not yet what its revision says. */
  get isComparable(): boolean {
    return this.#mode === 'live' && this.#applied.revision >= this.#horizon;
  }

  /** The log has lost what this replica has applied; `revision` is where the log ends. */
  get logBehind(): { revision: number } | null {
    return this.#end?.isBehind ? this.#end : null;
  }

  /** Why nothing is applied any more, in one line. */
  get problem(): string | null {
    if (this.#problem) return this.#problem;
    if (!this.#end?.isBehind) return null;
    return `the log ends at ${this.#end.revision}, before this node's revision ${this.#applied.revision}`;
  }

  async follow(signal: AbortSignal): Promise<void> {
    this.#stopping = signal;
    const { db, incarnation, link, log } = this.#options;
    if (this.#mode === 'stranded') {
      log.warn({}, this.#problem ?? 'stranded');
      return;
    }
    if (this.#mode === 'next') await this.#beginNext(false);
    else if (await readNextApplied(db)) await dropNextTables(db);
    await followStream({
      link,
      stream: this.#stream,
      nextSequence: () => this.#following.revision - this.#base + 1,
      maxBatch: 500,
      signal,
      log,
      onStart: () => this.#findPosition(),
      onBatch: (messages) => this.#apply(messages),
    });
    log.info({ incarnation: incarnation.number }, 'follows no more');
  }

  /** True once this node's PostgreSQL has committed `revision`. */
  async waitFor(revision: number, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
    if (this.#hasApplied(revision)) return true;
    if (timeoutMs <= 0 || signal?.aborted) return false;
    return new Promise((resolve) => {
      const finish = () => {
        clearTimeout(timer);
        this.#waiting.delete(check);
        signal?.removeEventListener('abort', finish);
        resolve(this.#hasApplied(revision));
      };
      const check = () => {
        if (this.#hasApplied(revision)) finish();
      };
      const timer = setTimeout(finish, timeoutMs);
      signal?.addEventListener('abort', finish, { once: true });
      this.#waiting.add(check);
    });
  }

  /**
   * Applies what was read past the follower, which must have stopped, without a leader that knows the log's end.
   * Returns why it got no further; null where it has applied everything.
   */
  async applyDrained(messages: FollowedMessage[]): Promise<string | null> {
    const { changes, unreadable } = await this.#readAll(messages);
    if (changes.length > 0) {
      this.#horizon = Math.max(this.#horizon, changes.at(-1)!.revision);
      await this.#applyTo(changes);
    }
    return unreadable?.message ?? null;
  }

  #hasApplied(revision: number): boolean {
    return this.#mode === 'live' && this.#applied.revision >= revision;
  }

  get #following(): Applied {
    return this.#mode === 'next' ? (this.#next ?? this.#applied) : this.#applied;
  }

  async #beginNext(isFresh: boolean): Promise<void> {
    this.#mode = 'next';
    this.#next = await beginNextTables(this.#options.db, this.#options.incarnation, { isFresh });
    this.#horizon = this.#next.horizon;
    // Begun by an earlier process: what that one saw of the run is not known here.
    this.#isUnbroken = this.#next.revision === this.#base;
    this.#options.log.info({ from: this.#next.revision }, 'filling tables beside those in use');
  }

  // A commit whose answer was lost is in the tables and not in memory.
  async #findPosition(): Promise<void> {
    const { db } = this.#options;
    if (this.#mode === 'next') {
      const next = await readNextApplied(db);
      if (next) this.#next = next;
      await this.#learnHorizon();
      // Filled by an earlier process that did not come to put it in place.
      if (this.#next!.revision > this.#base) await this.#swapIfFilled();
    } else {
      const applied = await readApplied(db);
      if (applied && applied.revision !== this.#applied.revision) this.#noteApplied(applied);
      await this.#leaveForeignHistory();
      await this.#learnHorizon();
    }
  }

  /** What is here and not in the log's history is told, and everything filled anew. */
  async #leaveForeignHistory(): Promise<void> {
    const { db, link, incarnation, log } = this.#options;
    const place = this.#applied;
    const marks = (await listEpochMarks(db)).map(decodeEpochMark);
    const from = await findDivergence({ link, incarnation, place, marks });
    if (from === null) return;
    log.warn({ from, revision: place.revision }, 'this replica is not in the history of the log');
    await this.#options.onDiverged(from, place);
    await this.#beginNext(true);
  }

  #noteApplied(applied: Applied): void {
    if (this.#mode === 'next') this.#next = applied;
    else {
      this.#applied = applied;
      this.#options.onApplied(applied);
    }
    for (const wake of [...this.#waiting]) wake();
  }

  // Everything up to the log's end at this moment may already be compacted.
  async #learnHorizon(): Promise<void> {
    const state = await readStreamState(this.#options.link, this.#stream, 2000);
    if (!state) throw new Error('the log does not answer');
    const revision = state.lastSequence + this.#base;
    const isBehind = revision < this.#following.revision;
    this.#end = { revision, isBehind };
    if (isBehind) throw new Error(this.problem ?? 'the log is behind');
    if (revision > this.#following.revision) this.#horizon = revision;
  }

  async #apply(messages: FollowedMessage[]): Promise<void> {
    const { changes, unreadable } = await this.#readAll(messages);
    if (changes.length > 0) {
      if (this.#hasGap(changes)) {
        this.#isUnbroken = false;
        await this.#learnHorizon();
      }
      await this.#applyTo(changes);
      this.#problem = null;
    }
    if (unreadable) {
      this.#problem = unreadable.message;
      throw unreadable;
    }
  }

  async #applyTo(changes: ReceivedChange[]): Promise<void> {
    const { db } = this.#options;
    const horizon = this.#horizon;
    if (this.#mode !== 'next') {
      this.#noteApplied(await applyChanges(db, changes, { horizon }));
      return;
    }
    const sealAt = changes.findIndex(({ kind }) => kind === 'seal');
    const before = sealAt === -1 ? changes : changes.slice(0, sealAt);
    if (before.length > 0) {
      this.#noteApplied(await applyChanges(db, before, { horizon, intoNext: true }));
    }
    if (sealAt !== -1) {
      await this.#checkSeal(changes[sealAt]!);
      const rest = changes.slice(sealAt);
      this.#noteApplied(await applyChanges(db, rest, { horizon, intoNext: true }));
    }
    await this.#swapIfFilled();
  }

  /** What was filled must be what the rebuild wrote, unless later changes have replaced some of it. */
  async #checkSeal({ document }: ReceivedChange): Promise<void> {
    const seal = document as Seal;
    if (this.#isUnbroken) {
      const count = await countNextDocuments(this.#options.db);
      const digest = this.#next?.digest ?? '';
      if (count !== seal.count || digest !== seal.digest) {
        await this.#beginNext(true);
        this.#problem =
          `incarnation ${this.#options.incarnation.number} is not what its rebuild has sealed: ` +
          `${count} documents (${digest.slice(0, 8)}) instead of ${seal.count} (${seal.digest.slice(0, 8)})`;
        throw new Error(this.#problem);
      }
    }
    this.#seal = seal;
  }

  async #swapIfFilled(): Promise<void> {
    const { db, incarnation, link, log } = this.#options;
    const next = this.#next!;
    if (next.revision < this.#horizon) return;
    // An earlier process may have applied the seal.
    const isSealed = incarnation.by === null || this.#seal !== null || (await hasNextSeal(db));
    if (!isSealed) return;
    // One that was given up, deleted, and then made again and sealed by a rebuilder that slept through all that.
    if (incarnation.by !== null && !(await isCurrentIncarnation(link, incarnation))) {
      throw new Error(`incarnation ${incarnation.number} is not the log's any more`);
    }
    for (;;) {
      try {
        this.#applied = await swapInNextTables(db, incarnation.id);
        break;
      } catch (error) {
        log.warn({ error: String(error) }, 'the filled tables could not be put in place yet');
        await sleep(SWAP_RETRY_MS);
        // What is filled next may be another incarnation's.
        if (this.#stopping?.aborted) throw error;
        // Done, and only the answer was lost?
        const applied = await readApplied(db);
        if (applied?.incarnation.id !== incarnation.id || (await readNextApplied(db))) continue;
        this.#applied = applied;
        break;
      }
    }
    this.#mode = 'live';
    this.#next = null;
    log.info({ revision: this.#applied.revision }, 'the filled tables are in use');
    this.#noteApplied(this.#applied);
  }

  /** The changes up to the first that cannot be read, and why it cannot. */
  async #readAll(
    messages: FollowedMessage[],
  ): Promise<{ changes: ReceivedChange[]; unreadable: Error | null }> {
    const changes: ReceivedChange[] = [];
    for (const [index, message] of messages.entries()) {
      // The lease is renewed in between.
      if (index % READ_AT_ONCE === READ_AT_ONCE - 1) await nextTurnOfLoop();
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
    let expected = this.#following.revision + 1;
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
    if (kind === 'seal' && isVoid(bytes)) throw new Error('this incarnation was given up');
    const change = decodeChange(bytes, this.#options.sealer);
    if (change.revision !== revision || change.kind !== kind) {
      throw new Error(`it says it is ${change.kind} at ${change.revision}`);
    }
    const isTyped = kind !== 'probe' && kind !== 'seal' && !change.removed;
    return {
      revision,
      epoch: change.epoch,
      kind: kind as ReceivedChange['kind'],
      id: change.id,
      at: change.at,
      removed: change.removed,
      bytes,
      document: isTyped
        ? checkDocument(kind as DocumentKind, change.document)
        : kind === 'seal'
          ? change.document
          : null,
      commands: change.commands,
    };
  }
}

/** Tables that hold nothing yet, of a node that has never been part of a cluster. */
function emptyReplica(incarnation: Incarnation): Applied {
  return {
    incarnation,
    isFilled: false,
    epoch: 0,
    revision: 0,
    digest: '',
    isDigestComparable: false,
    horizon: 0,
    settingsRevision: 0,
    changeFormat: 0,
    appliedAt: new Date(0),
  };
}
