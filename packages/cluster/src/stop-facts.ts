import type { NatsConnection } from '@nats-io/transport-node';
import { followStream } from './follow-stream.ts';
import { ensureStream, publishIf } from './jetstream.ts';
import { lastValues } from './last-values.ts';
import type { Log, NatsLink, Sealer } from './nats-link.ts';
import { namesOf, STOP_FACTS_SUBJECT, type Names } from './names.ts';

/** What this package needs to know of a fact; `parse` of the options knows the rest. */
type Fact = { id: string };

export type StopFactsOptions<F extends Fact> = {
  link: NatsLink;
  incarnationNumber: number;
  sealer: Sealer;
  /** Throws on anything that is not a fact. */
  parse(value: unknown): F;
};

/** Some 25,000 facts; what does not fit stays on the nodes that know it. */
const BUCKET_BYTES = 16 * 1024 * 1024;
/** A message stays far below the servers' 512 KiB. */
export const TOLD_AT_ONCE_MAX = 100;
/** Messages waiting for PostgreSQL; whoever told the rest tells it again. */
const MAX_WAITING = 100;

/**
 * Carries stop facts between nodes: told at once to whoever can be reached, and stored, each once, in a bucket that
 * every node follows.
 */
export class StopFacts<F extends Fact> {
  readonly #options: StopFactsOptions<F>;
  readonly #names: Names;

  constructor(options: StopFactsOptions<F>) {
    this.#options = options;
    this.#names = namesOf(options.incarnationNumber);
  }

  /** To every node that can be reached, with or without the log's quorum; at most {@link TOLD_AT_ONCE_MAX}. */
  tell(node: string, facts: readonly F[]): void {
    if (facts.length === 0) return;
    const message = JSON.stringify({ node, facts: facts.slice(0, TOLD_AT_ONCE_MAX) });
    const sealed = this.#options.sealer.seal(Buffer.from(message), TOLD_CONTEXT);
    this.#options.link.publish(STOP_FACTS_SUBJECT, sealed);
  }

  /**
   * Hears what others tell; one process of the node is enough. `onFacts` is never called concurrently.
   * `onMalformed` is called for what does not open or is no fact.
   */
  listen(
    node: string,
    handlers: { onFacts(facts: F[]): Promise<void>; onMalformed(): void; log: Log },
  ): void {
    let waiting = 0;
    let last: Promise<void> = Promise.resolve();
    const hear = (data: Uint8Array) => {
      const facts = this.#openTold(data, node, handlers.onMalformed);
      if (facts.length === 0 || waiting >= MAX_WAITING) return;
      waiting += 1;
      last = last
        .then(() => handlers.onFacts(facts))
        .catch((error: unknown) => {
          handlers.log.warn({ error: String(error) }, 'stop facts of another node not kept');
        })
        .finally(() => {
          waiting -= 1;
        });
    };
    this.#options.link.whenFirstConnected((connection: NatsConnection) => {
      connection.subscribe(STOP_FACTS_SUBJECT, {
        queue: node,
        callback: (error, message) => {
          if (!error) hear(message.data);
        },
      });
    });
  }

  /** True once the log's quorum has it, whoever brought it. */
  async store(fact: F, timeoutMs: number): Promise<boolean> {
    const subject = this.#names.stopFact(fact.id);
    const sealed = this.#options.sealer.seal(
      Buffer.from(JSON.stringify(fact)),
      storedContext(fact.id),
    );
    const condition = { lastSubjectSequence: 0 };
    const outcome = await publishIf(this.#options.link, subject, sealed, condition, timeoutMs);
    return outcome.kind !== 'silent';
  }

  /** Follows the bucket. What does not open or is no fact is counted and left out. */
  async follow(options: {
    nextSequence(): number;
    onFacts(facts: F[], position: number): Promise<void>;
    onMalformed(): void;
    signal: AbortSignal;
    log: Log;
  }): Promise<void> {
    const prefixLength = this.#names.stopFact('').length;
    await followStream({
      link: this.#options.link,
      stream: this.#names.stops,
      nextSequence: options.nextSequence,
      maxBatch: 500,
      signal: options.signal,
      log: options.log,
      onBatch: async (messages) => {
        const facts = messages.flatMap(({ subject, data }): F[] => {
          const id = subject.slice(prefixLength);
          const fact = this.#open(data, storedContext(id), this.#options.parse);
          if (fact?.id === id) return [fact];
          options.onMalformed();
          return [];
        });
        await options.onFacts(facts, messages.at(-1)!.sequence);
      },
    });
  }

  #openTold(data: Uint8Array, node: string, onMalformed: () => void): F[] {
    const told = this.#open(data, TOLD_CONTEXT, (value) => value as { node: string; facts: F[] });
    if (!told || !Array.isArray(told.facts) || told.facts.length > TOLD_AT_ONCE_MAX) {
      onMalformed();
      return [];
    }
    if (told.node === node) return [];
    return told.facts.flatMap((value) => {
      try {
        return [this.#options.parse(value)];
      } catch {
        onMalformed();
        return [];
      }
    });
  }

  #open<T>(data: Uint8Array, context: string, parse: (value: unknown) => T): T | null {
    try {
      const opened = this.#options.sealer.open(data, context);
      return parse(JSON.parse(Buffer.from(opened).toString()));
    } catch {
      return null;
    }
  }
}

const TOLD_CONTEXT = 'stop-facts|told';

// Of no incarnation: a rebuild may copy it as it is.
function storedContext(id: string): string {
  return `stop-facts|${id}`;
}

/** Creates the bucket where it is missing. Throws {@link SilenceError}; call again. */
export async function ensureStopFactsBucket(
  link: NatsLink,
  names: Names,
  options: { logReplicas: number },
  timeoutMs: number,
): Promise<void> {
  await ensureStream(
    link,
    lastValues({
      name: names.stops,
      subjects: names.allStops,
      logReplicas: options.logReplicas,
      maxBytes: BUCKET_BYTES,
      allowDirect: true,
    }),
    timeoutMs,
  );
}
