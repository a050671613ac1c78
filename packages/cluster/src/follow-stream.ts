import { type Msg, type NatsConnection, type Subscription } from '@nats-io/transport-node';
import { ask } from './jetstream.ts';
import type { Log, NatsLink } from './nats-link.ts';

export type FollowedMessage = {
  sequence: number;
  subject: string;
  data: Uint8Array;
  /** Messages of the stream still behind this one when it was sent. */
  pending: number;
  at: Date;
};

export type FollowOptions = {
  link: NatsLink;
  stream: string;
  /** First sequence wanted; asked again at every re-creation, so it must answer "applied + 1". */
  nextSequence(): number;
  /** Gets what has arrived, in order, never concurrently. When it throws, the consumer is re-created after a pause. */
  onBatch(messages: FollowedMessage[]): Promise<void>;
  /** Called whenever a new consumer is about to deliver. */
  onStart?(): void | Promise<void>;
  maxBatch: number;
  signal: AbortSignal;
  log: Log;
};

const HEARTBEAT_MS = 400;
// The master writes nothing while its own consumer is lost, and callers wait 2 s.
const SILENT_AFTER_MS = 1200;
const CREATE_TIMEOUT_MS = 2000;
const PAUSE_MS = 250;
const MAX_BUFFERED = 20_000;
/** After a batch of at least `size` the next is given this long to grow: larger transactions cost less for each change. */
const GATHERING = [
  { size: 64, ms: 100 },
  { size: 16, ms: 25 },
];

/**
 * Follows a stream for ever with a consumer of our own: ephemeral, no acks, from `nextSequence()`. Consumers die
 * with their server without a word, so silence beyond the heartbeat, a gap in the delivery order or an error in
 * `onBatch` throws the consumer away and makes a new one.
 */
export async function followStream(options: FollowOptions): Promise<void> {
  const connection = await firstConnection(options.link, options.signal);
  while (connection && !options.signal.aborted) {
    const why = await followOnce(connection, options);
    if (options.signal.aborted) return;
    options.log.info({ stream: options.stream, why }, 'following again');
    await pause(PAUSE_MS, options.signal);
  }
}

async function followOnce(connection: NatsConnection, options: FollowOptions): Promise<string> {
  if (!(await options.link.waitUntilUp(CREATE_TIMEOUT_MS))) return 'not connected';
  const inbox = options.link.createInbox();
  const queue = new DeliveryQueue();
  const subscription = connection.subscribe(inbox, {
    callback: (error, message) => {
      if (error) queue.fail(error.message);
      else queue.add(message);
    },
  });
  const stop = () => queue.fail('stopped');
  options.signal.addEventListener('abort', stop, { once: true });
  try {
    await options.onStart?.();
    const refused = await createConsumer(options, inbox);
    if (refused) return refused;
    return await deliver(queue, options, connection);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  } finally {
    options.signal.removeEventListener('abort', stop);
    unsubscribe(subscription);
  }
}

async function createConsumer(options: FollowOptions, inbox: string): Promise<string | null> {
  const answer = await ask(
    options.link,
    `CONSUMER.CREATE.${options.stream}`,
    {
      stream_name: options.stream,
      config: {
        deliver_subject: inbox,
        deliver_policy: 'by_start_sequence',
        opt_start_seq: Math.max(1, options.nextSequence()),
        ack_policy: 'none',
        replay_policy: 'instant',
        flow_control: true,
        idle_heartbeat: HEARTBEAT_MS * 1_000_000,
        mem_storage: true,
        num_replicas: 1,
      },
    },
    CREATE_TIMEOUT_MS,
  );
  return answer.error ? answer.error.description : null;
}

async function deliver(
  queue: DeliveryQueue,
  options: FollowOptions,
  connection: NatsConnection,
): Promise<string> {
  let delivered = 0;
  let previous = 0;
  for (;;) {
    const gathering = GATHERING.find(({ size }) => previous >= size);
    if (gathering) await queue.gather(options.maxBatch, gathering.ms);
    const raw = await queue.take(options.maxBatch, SILENT_AFTER_MS);
    if (raw === 'silent') return 'heartbeats stopped';
    if (!Array.isArray(raw)) return raw.failed;
    previous = raw.length;
    const batch: FollowedMessage[] = [];
    for (const message of raw) {
      if (message.headers?.code === 100) {
        // Flow control is answered only once everything before it is applied.
        if (batch.length > 0) await options.onBatch(batch.splice(0));
        if (isMissingSome(message, delivered)) return 'messages before a heartbeat were lost';
        answerControl(message, connection);
        continue;
      }
      const position = parsePosition(message);
      if (!position) return `unexpected message (status ${message.headers?.code})`;
      delivered += 1;
      if (position.delivered !== delivered) return 'gap in the delivery order';
      batch.push({
        sequence: position.sequence,
        subject: message.subject,
        data: message.data,
        pending: position.pending,
        at: position.at,
      });
    }
    if (batch.length > 0) await options.onBatch(batch);
  }
}

// Sent but never arrived, e.g. with a connection that broke: without another message no gap would show it.
function isMissingSome(heartbeat: Msg, delivered: number): boolean {
  const last = heartbeat.headers?.get('Nats-Last-Consumer');
  return Boolean(last) && Number(last) !== delivered;
}

// A flow-control message is answered itself; a heartbeat of a stalled consumer names the subject to answer.
function answerControl(message: Msg, connection: NatsConnection): void {
  if (message.reply) message.respond();
  const stalled = message.headers?.get('Nats-Consumer-Stalled');
  if (stalled) connection.publish(stalled);
}

/** `$JS.ACK.<stream>.<consumer>.<redelivered>.<stream seq>.<consumer seq>.<time ns>.<pending>` */
function parsePosition(message: Msg) {
  const tokens = message.reply?.split('.') ?? [];
  if (tokens[0] !== '$JS' || tokens[1] !== 'ACK') return null;
  // Newer servers add domain and account hash in front.
  const tail = tokens.length >= 11 ? tokens.slice(6) : tokens.slice(4);
  const [, sequence, delivered, time, pending] = tail;
  return {
    sequence: Number(sequence),
    delivered: Number(delivered),
    at: new Date(Number(BigInt(time ?? '0') / 1_000_000n)),
    pending: Number(pending),
  };
}

class DeliveryQueue {
  #messages: Msg[] = [];
  #failed: string | null = null;
  #wake: (() => void) | null = null;

  add(message: Msg): void {
    this.#messages.push(message);
    if (this.#messages.length > MAX_BUFFERED) this.#failed = 'too many messages buffered';
    this.#wake?.();
  }

  fail(why: string): void {
    this.#failed ??= why;
    this.#wake?.();
  }

  /** Waits until `count` messages are there, the server waits for an answer, or the time is over. */
  async gather(count: number, timeoutMs: number): Promise<void> {
    const isEnough = () =>
      this.#failed !== null ||
      this.#messages.length >= count ||
      this.#messages.at(-1)?.headers?.code === 100;
    if (isEnough()) return;
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, timeoutMs);
      this.#wake = () => {
        if (!isEnough()) return;
        clearTimeout(timer);
        resolve();
      };
    });
    this.#wake = null;
  }

  async take(max: number, timeoutMs: number): Promise<Msg[] | { failed: string } | 'silent'> {
    if (!this.#failed && this.#messages.length === 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, timeoutMs);
        this.#wake = () => {
          clearTimeout(timer);
          resolve();
        };
      });
      this.#wake = null;
    }
    if (this.#failed) return { failed: this.#failed };
    if (this.#messages.length === 0) return 'silent';
    return this.#messages.splice(0, max);
  }
}

async function firstConnection(
  link: NatsLink,
  signal: AbortSignal,
): Promise<NatsConnection | null> {
  return new Promise((resolve) => {
    signal.addEventListener('abort', () => resolve(null), { once: true });
    if (signal.aborted) resolve(null);
    link.whenFirstConnected(resolve);
  });
}

function unsubscribe(subscription: Subscription): void {
  try {
    subscription.unsubscribe();
  } catch {
    // The connection is already gone, and the subscription with it.
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const timer = setTimeout(done, ms);
    function done() {
      clearTimeout(timer);
      signal.removeEventListener('abort', done);
      resolve();
    }
    signal.addEventListener('abort', done);
  });
}
