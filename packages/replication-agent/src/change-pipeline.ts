import {
  BARRIER_MESSAGES,
  type ChangeLog,
  type NewChange,
  type PublishOutcome,
  type Term,
} from '@countersign/cluster';

/** `single` goes before `bulk`, which never has more than half of the window. */
export type Lane = 'single' | 'bulk';

/** The window is the barrier's length: whatever is in flight when an epoch ends runs into the next one's barrier. */
const WINDOW = BARRIER_MESSAGES;
const BULK_WINDOW = WINDOW / 2;

/**
 * The writing end of one epoch. Up to {@link WINDOW} changes are in flight, each expecting the position that the
 * one before it will take. The first refusal or silence breaks it for good: nothing is sent any more, and whatever
 * was not acknowledged is settled by the next epoch's barrier.
 */
export class ChangePipeline {
  readonly term: Term;
  readonly #changeLog: ChangeLog;
  readonly #onBroken: (why: string) => void;
  readonly #unanswered = new Set<() => void>();
  readonly #waiting: Record<Lane, (() => void)[]> = { single: [], bulk: [] };
  #end: number;
  #inFlight = 0;
  #bulkInFlight = 0;
  #isClosed = false;
  #isBroken = false;
  #lastWriteAt = performance.now();

  /** `end` is the log's last sequence, as this epoch's barrier left it. */
  constructor(options: {
    term: Term;
    end: number;
    changeLog: ChangeLog;
    /** Called once. */
    onBroken(why: string): void;
  }) {
    this.term = options.term;
    this.#end = options.end;
    this.#changeLog = options.changeLog;
    this.#onBroken = options.onBroken;
  }

  /** Sequence of the last change sent. */
  get end(): number {
    return this.#end;
  }

  /** Changes sent and not answered. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Monotonic ms of the last acknowledged change. */
  get lastWriteAt(): number {
    return this.#lastWriteAt;
  }

  get isOpen(): boolean {
    return !this.#isClosed && this.term.isValid();
  }

  /**
   * Sends a change as soon as the window has room. Its sequence once the log's quorum has it; null when its fate
   * is for the next epoch.
   */
  async append(change: Omit<NewChange, 'epoch'>, lane: Lane): Promise<number | null> {
    while (!this.#isClosed && !this.#hasRoom(lane)) {
      await new Promise<void>((resolve) => this.#waiting[lane].push(resolve));
    }
    if (!this.isOpen) return null;
    const expected = this.#end;
    this.#end += 1;
    this.#count(lane, 1);
    return new Promise((resolve) => {
      const giveUp = () => resolve(null);
      this.#unanswered.add(giveUp);
      const settle = (outcome: PublishOutcome) => {
        this.#unanswered.delete(giveUp);
        this.#count(lane, -1);
        if (outcome.kind === 'stored' && outcome.sequence === expected + 1) {
          this.#lastWriteAt = performance.now();
          resolve(outcome.sequence);
          this.#wakeNext();
        } else {
          this.#break(outcome.kind === 'silent' ? outcome.why : 'refused');
          resolve(null);
        }
      };
      this.#changeLog
        .append({ ...change, epoch: this.term.epoch }, expected)
        .then(settle, (error: unknown) => settle({ kind: 'silent', why: String(error) }));
    });
  }

  /** Sends nothing more; what is in flight may still be acknowledged. */
  close(): void {
    this.#isClosed = true;
    for (const wake of [...this.#waiting.single, ...this.#waiting.bulk]) wake();
  }

  #break(why: string): void {
    this.close();
    for (const giveUp of this.#unanswered) giveUp();
    if (this.#isBroken) return;
    this.#isBroken = true;
    this.#onBroken(why);
  }

  #hasRoom(lane: Lane): boolean {
    if (this.#inFlight >= WINDOW) return false;
    return lane === 'single' || this.#bulkInFlight < BULK_WINDOW;
  }

  #count(lane: Lane, by: 1 | -1): void {
    this.#inFlight += by;
    if (lane === 'bulk') this.#bulkInFlight += by;
  }

  #wakeNext(): void {
    if (this.#hasRoom('single') && this.#waiting.single.length > 0) this.#waiting.single.shift()!();
    else if (this.#hasRoom('bulk')) this.#waiting.bulk.shift()?.();
  }
}
