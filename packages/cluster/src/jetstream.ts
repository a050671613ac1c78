import { headers } from '@nats-io/transport-node';
import { nodeOfServer } from './log-layout.ts';
import { flawOfMark, MARK, markOf } from './streams-claim.ts';
import { NoResponderError, SilenceError, type NatsLink } from './nats-link.ts';

/** Answer to a compare-and-set publish. `silent` leaves open whether the message was stored. */
export type PublishOutcome =
  | { kind: 'stored'; sequence: number }
  | { kind: 'refused' }
  | { kind: 'silent'; why: string };

export type StoredMessage = { sequence: number; subject: string; data: Uint8Array; at: string };

export type ReadOutcome =
  | { kind: 'found'; message: StoredMessage }
  | { kind: 'absent' }
  | { kind: 'silent'; why: string };

export type StreamConfig = {
  name: string;
  subjects: string[];
  num_replicas: number;
  max_msgs_per_subject?: number;
  max_bytes: number;
  /** Nanoseconds; missing: what is stored stays. */
  max_age?: number;
  discard: 'new' | 'old';
  allow_direct: boolean;
};

const WRONG_LAST_SEQUENCE = [10071, 10164];
const NO_MESSAGE = 10037;
export const STREAM_NOT_FOUND = 10059;
/** A server that is there answers its leader once a second. */
const GONE_AFTER_NS = 5e9;
const STREAM_NAME_IN_USE = 10058;
/** The incarnation's number was no token of its own, so no permission could name these. */
const OLD_SUBJECT = /^\$KV\.[A-Z]+-\d+\./;

/**
 * Publishes only if the condition still holds. No message id ever: a refused one would swallow its own retry
 * (docs/decisions.md).
 */
export async function publishIf(
  link: NatsLink,
  subject: string,
  payload: Uint8Array,
  condition: { lastSequence: number } | { lastSubjectSequence: number },
  timeoutMs: number,
): Promise<PublishOutcome> {
  const expected = headers();
  if ('lastSequence' in condition) {
    expected.set('Nats-Expected-Last-Sequence', String(condition.lastSequence));
  } else {
    expected.set('Nats-Expected-Last-Subject-Sequence', String(condition.lastSubjectSequence));
  }
  return publish(link, subject, payload, timeoutMs, expected);
}

export async function publish(
  link: NatsLink,
  subject: string,
  payload: Uint8Array,
  timeoutMs: number,
  expected = headers(),
): Promise<PublishOutcome> {
  let answer: JetStreamAnswer;
  try {
    answer = (await link.request(subject, payload, { timeoutMs, headers: expected })).json();
  } catch (error) {
    return { kind: 'silent', why: whySilent(error) };
  }
  if (answer.error) {
    if (WRONG_LAST_SEQUENCE.includes(answer.error.err_code)) return { kind: 'refused' };
    return { kind: 'silent', why: answer.error.description };
  }
  if (typeof answer.seq !== 'number' || answer.seq < 1 || answer.duplicate) {
    return { kind: 'silent', why: 'unexpected acknowledgement' };
  }
  return { kind: 'stored', sequence: answer.seq };
}

/** Newest message of a subject (wildcards allowed), asked of the stream's leader. */
export async function readLast(
  link: NatsLink,
  stream: string,
  subject: string,
  timeoutMs: number,
): Promise<ReadOutcome> {
  let answer: JetStreamAnswer;
  try {
    answer = await ask(link, `STREAM.MSG.GET.${stream}`, { last_by_subj: subject }, timeoutMs);
  } catch (error) {
    return { kind: 'silent', why: whySilent(error) };
  }
  if (answer.error) {
    if (answer.error.err_code === NO_MESSAGE) return { kind: 'absent' };
    return { kind: 'silent', why: answer.error.description };
  }
  const message = answer.message!;
  return {
    kind: 'found',
    message: {
      sequence: message.seq,
      subject: message.subject,
      data: Buffer.from(message.data ?? '', 'base64'),
      at: message.time,
    },
  };
}

/** Newest message of a subject from any server that has it: works without a leader, may be stale. */
export async function readLastDirect(
  link: NatsLink,
  stream: string,
  subject: string,
  timeoutMs: number,
): Promise<ReadOutcome> {
  try {
    const reply = await link.request(`$JS.API.DIRECT.GET.${stream}.${subject}`, '', { timeoutMs });
    if (reply.headers?.code === 404) return { kind: 'absent' };
    const sequence = Number(reply.headers?.get('Nats-Sequence'));
    if (!(sequence > 0)) return { kind: 'silent', why: `status ${reply.headers?.code}` };
    return {
      kind: 'found',
      message: {
        sequence,
        subject,
        data: reply.data,
        at: reply.headers!.get('Nats-Time-Stamp'),
      },
    };
  } catch (error) {
    return { kind: 'silent', why: whySilent(error) };
  }
}

/**
 * The next message at or behind `sequence` from any server that has it: works without a leader. What a server has
 * stored was agreed upon.
 */
export async function readNextDirect(
  link: NatsLink,
  stream: string,
  subject: string,
  sequence: number,
  timeoutMs: number,
): Promise<ReadOutcome> {
  try {
    const body = JSON.stringify({ seq: sequence, next_by_subj: subject });
    const reply = await link.request(`$JS.API.DIRECT.GET.${stream}`, body, { timeoutMs });
    if (reply.headers?.code === 404) return { kind: 'absent' };
    const found = Number(reply.headers?.get('Nats-Sequence'));
    if (!(found > 0)) return { kind: 'silent', why: `status ${reply.headers?.code}` };
    return {
      kind: 'found',
      message: {
        sequence: found,
        subject: reply.headers!.get('Nats-Subject'),
        data: reply.data,
        at: reply.headers!.get('Nats-Time-Stamp'),
      },
    };
  } catch (error) {
    return { kind: 'silent', why: whySilent(error) };
  }
}

/** Deletes a stream and all it holds; true if it is not there any more. */
export async function deleteStream(
  link: NatsLink,
  stream: string,
  timeoutMs: number,
): Promise<boolean> {
  try {
    if (link.streamsOf !== undefined && !(await isMarked(link, stream, timeoutMs))) return false;
    const answer = await ask(link, `STREAM.DELETE.${stream}`, {}, timeoutMs);
    return !answer.error || answer.error.err_code === STREAM_NOT_FOUND;
  } catch {
    return false;
  }
}

/** In an operator's NATS there may be streams of others, whatever they are called. */
async function isMarked(link: NatsLink, stream: string, timeoutMs: number): Promise<boolean> {
  const found = await ask(link, `STREAM.INFO.${stream}`, {}, timeoutMs);
  return found.config !== undefined && markOf(found.config) === link.streamsOf;
}

/** Names of all streams there are; null while the log servers do not say. */
export async function listStreams(link: NatsLink, timeoutMs: number): Promise<string[] | null> {
  try {
    const answer = await ask(link, 'STREAM.NAMES', {}, timeoutMs);
    return answer.error ? null : (answer.streams ?? []);
  } catch {
    return null;
  }
}

/** Sequence of the newest message as the stream's leader knows it, and who the replicas are. */
export async function readStreamState(
  link: NatsLink,
  stream: string,
  timeoutMs: number,
): Promise<StreamState | null> {
  try {
    const answer = await ask(link, `STREAM.INFO.${stream}`, {}, timeoutMs);
    if (answer.error || !answer.state) return null;
    const replicas = answer.cluster?.replicas ?? [];
    // Only servers that nodes run are called after them.
    const nameOf = link.streamsOf === undefined ? nodeOfServer : (name: string) => name;
    return {
      lastSequence: answer.state.last_seq,
      sizeBytes: answer.state.bytes,
      maxBytes: answer.config?.max_bytes ?? -1,
      replicas: answer.config?.num_replicas ?? 1,
      servers: answer.cluster
        ? [
            ...(answer.cluster.leader
              ? [
                  {
                    name: nameOf(answer.cluster.leader),
                    isCurrent: true,
                    isOffline: false,
                    behind: 0,
                  },
                ]
              : []),
            ...replicas.map((peer) => ({
              name: nameOf(peer.name),
              isCurrent: peer.current && !peer.offline,
              isOffline:
                peer.offline === true || (!peer.current && (peer.active ?? 0) > GONE_AFTER_NS),
              behind: peer.lag ?? 0,
            })),
          ]
        : [],
      hasLeader: !answer.cluster || Boolean(answer.cluster.leader),
    };
  } catch {
    return null;
  }
}

export type StreamState = {
  lastSequence: number;
  sizeBytes: number;
  maxBytes: number;
  replicas: number;
  /** Empty on a single server. */
  servers: {
    name: string;
    isCurrent: boolean;
    isOffline: boolean;
    /** Entries it still lacks. */
    behind: number;
  }[];
  hasLeader: boolean;
};

/** Creates the stream unless it exists. Throws {@link SilenceError} when JetStream is not ready: try again. */
export async function ensureStream(
  link: NatsLink,
  config: StreamConfig,
  timeoutMs: number,
): Promise<void> {
  const existing = await ask(link, `STREAM.INFO.${config.name}`, {}, timeoutMs);
  if (existing.config?.subjects.some((subject) => OLD_SUBJECT.test(subject))) {
    throw new SilenceError(
      `${config.name} was made by an earlier version: begin with empty data folders`,
    );
  }
  if (existing.config && link.streamsOf !== undefined) {
    const flaw = flawOfMark(config.name, existing.config, link.streamsOf);
    if (flaw) throw new SilenceError(flaw);
  }
  if (!existing.error) return;
  if (existing.error.err_code !== STREAM_NOT_FOUND) {
    throw new SilenceError(`stream ${config.name}: ${existing.error.description}`);
  }
  const created = await ask(
    link,
    `STREAM.CREATE.${config.name}`,
    {
      ...config,
      ...operatorsTerms(link),
      retention: 'limits',
      storage: 'file',
      max_msgs: -1,
      max_age: config.max_age ?? 0,
      max_msg_size: 512 * 1024,
      max_consumers: -1,
      duplicate_window: 1_000_000_000,
      deny_delete: false,
      deny_purge: false,
    },
    timeoutMs,
  );
  if (!created.error) return;
  // Whose it is is looked at when this is called again.
  const isThere = created.error.err_code === STREAM_NAME_IN_USE && link.streamsOf === undefined;
  if (!isThere) throw new SilenceError(`stream ${config.name}: ${created.error.description}`);
}

/** How many copies there can be is known once there is a connection: three where the servers are a cluster. */
function operatorsTerms(link: NatsLink) {
  if (link.streamsOf === undefined) return {};
  return { num_replicas: link.isClustered ? 3 : 1, metadata: { [MARK]: link.streamsOf } };
}

/** A request to the JetStream API; throws {@link SilenceError} when unanswered. */
export async function ask(
  link: NatsLink,
  verb: string,
  body: object,
  timeoutMs: number,
): Promise<JetStreamAnswer> {
  const reply = await link.request(`$JS.API.${verb}`, JSON.stringify(body), { timeoutMs });
  return reply.json();
}

export type JetStreamAnswer = {
  error?: { code: number; err_code: number; description: string };
  seq?: number;
  duplicate?: boolean;
  name?: string;
  streams?: string[] | null;
  message?: { subject: string; seq: number; data?: string; time: string };
  state?: { last_seq: number; bytes: number };
  config?: {
    num_replicas: number;
    max_bytes: number;
    subjects: string[];
    metadata?: Record<string, string>;
  };
  cluster?: {
    leader?: string;
    /** `active`: nanoseconds since the leader heard of it, 0 = never. */
    replicas?: {
      name: string;
      current: boolean;
      offline?: boolean;
      active?: number;
      lag?: number;
    }[];
  };
};

export function whySilent(error: unknown): string {
  if (error instanceof NoResponderError) return 'no server answers for this stream';
  return error instanceof Error ? error.message : String(error);
}
