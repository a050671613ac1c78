import { followStream, type FollowedMessage } from './follow-stream.ts';
import { publish, publishIf, readLast, readLastDirect, readStreamState } from './jetstream.ts';
import { SilenceError, type Log, type NatsLink } from './nats-link.ts';
import { namesOf, type Names } from './names.ts';

export type StateWrite =
  | { kind: 'written'; revision: number }
  /** Somebody else wrote first: read through the leader and judge again. */
  | { kind: 'conflict' }
  /** Anything else; it may still land. */
  | { kind: 'silent'; why: string };

export type StateRead =
  | { kind: 'found'; revision: number; bytes: Uint8Array }
  | { kind: 'absent' }
  | { kind: 'silent'; why: string };

export type FollowedState = { userId: string; revision: number; bytes: Uint8Array | null };

/** Keys of the bucket that are not users: written round and round to see whether writes work. */
const PROBE_PREFIX = 'probe-';

/** What verification itself records: one key per user, compare-and-set from any node. */
export class UserStates {
  readonly #link: NatsLink;
  readonly #names: Names;

  constructor(link: NatsLink, incarnationNumber: number) {
    this.#link = link;
    this.#names = namesOf(incarnationNumber);
  }

  /** `expectedRevision` 0 = the user has no state yet. */
  async write(
    userId: string,
    bytes: Uint8Array,
    expectedRevision: number,
    timeoutMs: number,
  ): Promise<StateWrite> {
    const outcome = await publishIf(
      this.#link,
      this.#names.state(userId),
      bytes,
      { lastSubjectSequence: expectedRevision },
      timeoutMs,
    );
    if (outcome.kind === 'stored') return { kind: 'written', revision: outcome.sequence };
    if (outcome.kind === 'refused') return { kind: 'conflict' };
    return outcome;
  }

  async readThroughLeader(userId: string, timeoutMs: number): Promise<StateRead> {
    return asState(
      await readLast(this.#link, this.#names.states, this.#names.state(userId), timeoutMs),
    );
  }

  /** Works on a server that has lost its quorum; may be stale. */
  async readDirect(userId: string, timeoutMs: number): Promise<StateRead> {
    return asState(
      await readLastDirect(this.#link, this.#names.states, this.#names.state(userId), timeoutMs),
    );
  }

  /** A write round trip that changes nobody's state. */
  async probe(writer: string, timeoutMs: number): Promise<boolean> {
    const outcome = await publish(
      this.#link,
      this.#names.state(PROBE_PREFIX + writer),
      Buffer.from('1'),
      timeoutMs,
    );
    return outcome.kind === 'stored';
  }

  /** The same for the log servers alone: it works also while {@link shutStates} keeps all states out. */
  async probeLog(timeoutMs: number): Promise<boolean> {
    const subject = this.#names.statesEnd;
    const outcome = await publish(this.#link, subject, Buffer.from('1'), timeoutMs);
    return outcome.kind === 'stored';
  }

  /** Position of the newest message of the bucket. Throws {@link SilenceError}. */
  async readEnd(timeoutMs: number): Promise<number> {
    const state = await readStreamState(this.#link, this.#names.states, timeoutMs);
    if (!state) throw new SilenceError('the end of the user states could not be read');
    return state.lastSequence;
  }

  /** The newest state of each user among messages of the bucket. */
  static read(messages: FollowedMessage[], incarnationNumber: number): FollowedState[] {
    return newestPerUser(messages, namesOf(incarnationNumber).state('').length);
  }

  /** Follows all states from `nextSequence()`, newest per user and batch. */
  async follow(options: {
    nextSequence(): number;
    /** Whenever a new consumer is about to deliver. */
    onStart?(): Promise<void>;
    onStates(states: FollowedState[], position: number): Promise<void>;
    signal: AbortSignal;
    log: Log;
  }): Promise<void> {
    const prefixLength = this.#names.state('').length;
    await followStream({
      link: this.#link,
      stream: this.#names.states,
      nextSequence: options.nextSequence,
      maxBatch: 2000,
      signal: options.signal,
      log: options.log,
      ...(options.onStart && { onStart: options.onStart }),
      onBatch: async (messages) => {
        const newest = newestPerUser(messages, prefixLength);
        await options.onStates(newest, messages.at(-1)!.sequence);
      },
    });
  }
}

function newestPerUser(messages: FollowedMessage[], prefixLength: number): FollowedState[] {
  const newest = new Map<string, FollowedState>();
  for (const message of messages) {
    const userId = message.subject.slice(prefixLength);
    if (userId.startsWith(PROBE_PREFIX)) continue;
    newest.set(userId, {
      userId,
      revision: message.sequence,
      bytes: message.data.length > 0 ? message.data : null,
    });
  }
  return [...newest.values()];
}

function asState(outcome: Awaited<ReturnType<typeof readLast>>): StateRead {
  if (outcome.kind !== 'found') return outcome;
  const { sequence, data } = outcome.message;
  return data.length === 0
    ? { kind: 'absent' }
    : { kind: 'found', revision: sequence, bytes: data };
}
