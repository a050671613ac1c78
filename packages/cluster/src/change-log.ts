import { setTimeout as sleep } from 'node:timers/promises';
import {
  CHANGE_FORMAT,
  decodeEpochMark,
  encodeChange,
  encodeEpochMark,
  type Change,
  type EpochMark,
} from './change.ts';
import type { Incarnation } from './incarnation.ts';
import { publishIf, readLast, readStreamState, type PublishOutcome } from './jetstream.ts';
import type { NatsLink, Sealer } from './nats-link.ts';
import { namesOf, type Names } from './names.ts';

/** Messages in a barrier, whatever the pipeline of a version is: for ever. */
export const BARRIER_MESSAGES = 128;

const PUBLISH_TIMEOUT_MS = 2000;
const READ_TIMEOUT_MS = 1000;

export type BarrierOutcome =
  /** The epoch stands; its last message is at `end`, the log's end. */
  | { kind: 'stands'; end: number }
  /** An epoch at least as new stands in the log. */
  | { kind: 'superseded'; epoch: number }
  /** The log ends before what a replica has applied: nothing may be written on top of that. */
  | { kind: 'behind'; end: number }
  /** Refused or unanswered somewhere: take a new epoch and start from the top. */
  | { kind: 'broken'; why: string };

/** What a master appends: format and revision are the log's business. */
export type NewChange = Omit<Change, 'format' | 'revision'>;

/** The master's side of the change log. It never decides who is master: that is the lease. */
export class ChangeLog {
  readonly #link: NatsLink;
  readonly #incarnation: Incarnation;
  readonly #names: Names;
  readonly #sealer: Sealer;

  constructor(link: NatsLink, incarnation: Incarnation, sealer: Sealer) {
    this.#link = link;
    this.#incarnation = incarnation;
    this.#names = namesOf(incarnation.number);
    this.#sealer = sealer;
  }

  /**
   * Appends one change behind `lastSequence`, sent before this returns its promise, so that several can follow one
   * another. `silent` means it may still land: nothing may be sent after it in the same epoch.
   */
  async append(change: NewChange, lastSequence: number): Promise<PublishOutcome> {
    const revision = lastSequence + 1 + this.#incarnation.baseRevision;
    const payload = encodeChange({ ...change, format: CHANGE_FORMAT, revision }, this.#sealer);
    const subject = this.#names.change(change.kind, change.id);
    return publishIf(this.#link, subject, payload, { lastSequence }, PUBLISH_TIMEOUT_MS);
  }

  /**
   * Fences everything that earlier masters may still have in flight: an unbroken run of
   * {@link BARRIER_MESSAGES} takes every position such a straggler could expect (docs/architecture.md).
   */
  async raiseBarrier(mark: {
    epoch: number;
    instance: string;
    node: string;
    /** Last sequence that is known to have been there. */
    leastEnd: number;
  }): Promise<BarrierOutcome> {
    const start = await this.#readEnd();
    if (!start) return { kind: 'broken', why: 'the end of the log could not be read' };
    if (start.lastSequence < mark.leastEnd) return { kind: 'behind', end: start.lastSequence };
    if (start.newestEpoch >= mark.epoch) return { kind: 'superseded', epoch: start.newestEpoch };

    // All but the last at once; the last only when they stand unbroken, so that its presence proves the run.
    const leading = await Promise.all(
      Array.from({ length: BARRIER_MESSAGES - 1 }, (_, i) =>
        this.#publishMark(mark, i + 1, start.lastSequence + i),
      ),
    );
    const flaw = leading.find((outcome) => outcome.kind !== 'stored');
    if (flaw) return { kind: 'broken', why: flaw.kind === 'silent' ? flaw.why : 'refused' };
    const last = await this.#publishMark(
      mark,
      BARRIER_MESSAGES,
      start.lastSequence + BARRIER_MESSAGES - 1,
    );
    if (last.kind !== 'stored') {
      return { kind: 'broken', why: last.kind === 'silent' ? last.why : 'refused' };
    }
    return { kind: 'stands', end: last.sequence };
  }

  async #publishMark(
    mark: { epoch: number; instance: string; node: string },
    index: number,
    lastSequence: number,
  ): Promise<PublishOutcome> {
    const body: EpochMark = {
      format: CHANGE_FORMAT,
      revision: lastSequence + 1 + this.#incarnation.baseRevision,
      epoch: mark.epoch,
      instance: mark.instance,
      node: mark.node,
      at: new Date().toISOString(),
      index,
      of: BARRIER_MESSAGES,
    };
    return publishIf(
      this.#link,
      this.#names.change('epoch', String(mark.epoch)),
      encodeEpochMark(body),
      { lastSequence },
      PUBLISH_TIMEOUT_MS,
    );
  }

  // The end is read before the newest epoch: the compare-and-set at that end then proves that the epoch read was the newest.
  async #readEnd(): Promise<{ lastSequence: number; newestEpoch: number } | null> {
    for (let attempt = 0; attempt < 3; attempt++) {
      const state = await readStreamState(this.#link, this.#names.changes, READ_TIMEOUT_MS);
      if (state) {
        const newest = await readLast(
          this.#link,
          this.#names.changes,
          this.#names.epochs,
          READ_TIMEOUT_MS,
        );
        if (newest.kind === 'absent') return { lastSequence: state.lastSequence, newestEpoch: 0 };
        if (newest.kind === 'found') {
          return {
            lastSequence: state.lastSequence,
            newestEpoch: decodeEpochMark(newest.message.data).epoch,
          };
        }
      }
      await sleep(100);
    }
    return null;
  }
}
