import { followStream, type FollowedMessage } from './follow-stream.ts';
import { publish, readStreamState } from './jetstream.ts';
import { SilenceError, type Log, type NatsLink, type Sealer } from './nats-link.ts';
import { namesOf, type Names } from './names.ts';

const PUBLISH_TIMEOUT_MS = 2000;
/** More events than one message of the stream ever holds. */
const PLACES_PER_MESSAGE = 4096;

/** What happened, in batches, from every node to every node. Delivered at least once: the tables drop repeats by id. */
export class EventStream {
  readonly #link: NatsLink;
  readonly #names: Names;
  readonly #incarnation: number;
  readonly #sealer: Sealer;

  constructor(link: NatsLink, incarnationNumber: number, sealer: Sealer) {
    this.#link = link;
    this.#names = namesOf(incarnationNumber);
    this.#sealer = sealer;
    this.#incarnation = incarnationNumber;
  }

  /** True once the batch is stored by the log's quorum. */
  async publish(node: string, events: object[]): Promise<boolean> {
    const sealed = this.#sealer.seal(Buffer.from(JSON.stringify(events)), 'events');
    const subject = this.#names.event(node);
    const outcome = await publish(this.#link, subject, sealed, PUBLISH_TIMEOUT_MS);
    return outcome.kind === 'stored';
  }

  /** Position of the newest batch. Throws {@link SilenceError}. */
  async readEnd(timeoutMs: number): Promise<number> {
    const state = await readStreamState(this.#link, this.#names.events, timeoutMs);
    if (!state) throw new SilenceError('the end of the events could not be read');
    return state.lastSequence;
  }

  /** Each event comes with its place in the stream: `incarnation`, and in it `arrival`. */
  async follow(options: {
    nextSequence(): number;
    /** Whenever a new consumer is about to deliver. */
    onStart?(): Promise<void>;
    onEvents(events: unknown[], position: number): Promise<void>;
    signal: AbortSignal;
    log: Log;
  }): Promise<void> {
    await followStream({
      link: this.#link,
      stream: this.#names.events,
      nextSequence: options.nextSequence,
      maxBatch: 20,
      signal: options.signal,
      log: options.log,
      ...(options.onStart && { onStart: options.onStart }),
      onBatch: async (messages) => {
        const events = messages.flatMap((message) => this.#open(message, options.log));
        await options.onEvents(events, messages.at(-1)!.sequence);
      },
    });
  }

  #open({ data, sequence }: FollowedMessage, log: Log): unknown[] {
    try {
      const text = Buffer.from(this.#sealer.open(data, 'events')).toString();
      return (JSON.parse(text) as object[]).map((event, place) => ({
        ...event,
        incarnation: this.#incarnation,
        arrival: sequence * PLACES_PER_MESSAGE + place,
      }));
    } catch (error) {
      log.warn({ error: String(error) }, 'an event batch does not open and is skipped');
      return [];
    }
  }
}
