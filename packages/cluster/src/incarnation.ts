import { randomUUID } from 'node:crypto';
import { ensureStream, publishIf, readLast } from './jetstream.ts';
import type { NatsLink } from './nats-link.ts';
import { SilenceError } from './nats-link.ts';
import {
  INCARNATION_KEY,
  INCARNATION_STREAM,
  INCARNATION_SUBJECTS,
  namesOf,
  type Names,
} from './names.ts';

/** One life of the log. A revision is the stream's sequence plus `baseRevision`. */
export type Incarnation = {
  number: number;
  id: string;
  parent: string | null;
  baseRevision: number;
};

const TIMEOUT_MS = 2000;
const MIB = 1024 * 1024;

/**
 * Finds the cluster's incarnation, or begins the first one: of several nodes that try at once, one wins.
 * Throws {@link SilenceError} while the log servers cannot say; call again.
 */
export async function findOrBeginIncarnation(
  link: NatsLink,
  options: { logReplicas: number },
): Promise<Incarnation> {
  await ensureStream(
    link,
    bucket(INCARNATION_STREAM, INCARNATION_SUBJECTS, options.logReplicas, MIB),
    TIMEOUT_MS,
  );
  const known = await readLast(link, INCARNATION_STREAM, INCARNATION_KEY, TIMEOUT_MS);
  if (known.kind === 'silent') throw new SilenceError(known.why);
  if (known.kind === 'found') return JSON.parse(Buffer.from(known.message.data).toString());
  const first: Incarnation = { number: 1, id: randomUUID(), parent: null, baseRevision: 0 };
  const outcome = await publishIf(
    link,
    INCARNATION_KEY,
    Buffer.from(JSON.stringify(first)),
    { lastSubjectSequence: 0 },
    TIMEOUT_MS,
  );
  if (outcome.kind === 'stored') return first;
  // Lost the race or no answer: whoever stands there now has decided.
  throw new SilenceError('incarnation is being decided');
}

export type StreamLimits = { changesBytes: number; statesBytes: number; eventsBytes: number };

/** Creates the streams of an incarnation where they are missing. Throws {@link SilenceError}; call again. */
export async function ensureStreams(
  link: NatsLink,
  names: Names,
  options: { logReplicas: number; limits: StreamLimits },
): Promise<void> {
  const replicas = options.logReplicas;
  await ensureStream(
    link,
    {
      name: names.changes,
      subjects: [names.allChanges],
      num_replicas: replicas,
      max_msgs_per_subject: 1,
      max_bytes: options.limits.changesBytes,
      discard: 'new',
      allow_direct: true,
    },
    TIMEOUT_MS,
  );
  await ensureStream(
    link,
    bucket(names.states, names.allStates, replicas, options.limits.statesBytes, true),
    TIMEOUT_MS,
  );
  await ensureStream(link, bucket(names.lease, names.allLease, replicas, MIB), TIMEOUT_MS);
  await ensureStream(
    link,
    {
      name: names.events,
      subjects: [names.allEvents],
      num_replicas: replicas,
      max_bytes: options.limits.eventsBytes,
      discard: 'old',
      allow_direct: true,
    },
    TIMEOUT_MS,
  );
}

// Direct reads can be stale, so they are allowed only where a reader expects that.
function bucket(
  name: string,
  subjects: string,
  replicas: number,
  maxBytes: number,
  allowDirect = false,
) {
  return {
    name,
    subjects: [subjects],
    num_replicas: replicas,
    max_msgs_per_subject: 1,
    max_bytes: maxBytes,
    discard: 'new' as const,
    allow_direct: allowDirect,
  };
}

export { namesOf };
