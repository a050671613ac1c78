import { randomUUID } from 'node:crypto';
import { deleteStream, ensureStream, listStreams, publishIf, readLast } from './jetstream.ts';
import { lastValues } from './last-values.ts';
import type { NatsLink } from './nats-link.ts';
import { SilenceError } from './nats-link.ts';
import { INCARNATION_KEY, INCARNATION_STREAM, INCARNATION_SUBJECTS, type Names } from './names.ts';
import { ensureParkedBucket } from './parked-entries.ts';
import { ensureStopFactsBucket } from './stop-facts.ts';

/** One life of the log. A revision is the stream's sequence plus `baseRevision`. */
export type Incarnation = {
  number: number;
  id: string;
  parent: string | null;
  baseRevision: number;
  /** Epochs go on counting from here. */
  baseEpoch: number;
  /** All earlier lives, the newest last, with the revision at which each was left. */
  ancestors: Ancestor[];
  /** The node that fills it; null in the first. */
  by: string | null;
  /** When the last forced promotion among its ancestors or itself was: what was accepted before may be missing. */
  disasterAt: string | null;
};

export type Ancestor = { number: number; id: string; revision: number };

const TIMEOUT_MS = 2000;
const MIB = 1024 * 1024;
const MAX_ANCESTORS = 64;

export type FoundIncarnation = { incarnation: Incarnation; sequence: number };

/** The incarnation that stands in the log; null where none was begun. Throws {@link SilenceError}. */
export async function findIncarnation(
  link: NatsLink,
  options: { logReplicas: number },
): Promise<FoundIncarnation | null> {
  await ensureStream(
    link,
    lastValues({
      name: INCARNATION_STREAM,
      subjects: INCARNATION_SUBJECTS,
      logReplicas: options.logReplicas,
      maxBytes: MIB,
      allowDirect: false,
    }),
    TIMEOUT_MS,
  );
  const known = await readLast(link, INCARNATION_STREAM, INCARNATION_KEY, TIMEOUT_MS);
  if (known.kind === 'silent') throw new SilenceError(known.why);
  if (known.kind === 'absent') return null;
  const incarnation = JSON.parse(Buffer.from(known.message.data).toString()) as Incarnation;
  return { incarnation, sequence: known.message.sequence };
}

/** Whether the log's leader still names this one as the log's incarnation. Throws {@link SilenceError}. */
export async function isCurrentIncarnation(
  link: NatsLink,
  { id }: Pick<Incarnation, 'id'>,
): Promise<boolean> {
  const known = await readLast(link, INCARNATION_STREAM, INCARNATION_KEY, TIMEOUT_MS);
  if (known.kind === 'silent') throw new SilenceError(known.why);
  if (known.kind === 'absent') return false;
  return (JSON.parse(Buffer.from(known.message.data).toString()) as Incarnation).id === id;
}

/**
 * Finds the cluster's incarnation, or begins the first one: of several nodes that try at once, one wins.
 * Throws {@link SilenceError} while the log servers cannot say; call again.
 */
export async function findOrBeginIncarnation(
  link: NatsLink,
  options: { logReplicas: number },
): Promise<Incarnation> {
  const known = await findIncarnation(link, options);
  if (known) return known.incarnation;
  const first: Incarnation = {
    number: 1,
    id: randomUUID(),
    parent: null,
    baseRevision: 0,
    baseEpoch: 0,
    ancestors: [],
    by: null,
    disasterAt: null,
  };
  if (await beginIncarnation(link, first, 0)) return first;
  // Lost the race or no answer: whoever stands there now has decided.
  throw new SilenceError('incarnation is being decided');
}

/** Makes `incarnation` the log's, if nobody was first since `sequence` was read (0 = nothing stood there). */
export async function beginIncarnation(
  link: NatsLink,
  incarnation: Incarnation,
  sequence: number,
): Promise<boolean> {
  const outcome = await publishIf(
    link,
    INCARNATION_KEY,
    Buffer.from(JSON.stringify(incarnation)),
    { lastSubjectSequence: sequence },
    TIMEOUT_MS,
  );
  return outcome.kind === 'stored';
}

/** The next life, out of a replica of `parent` that stands at `left`. */
export function nextIncarnation(options: {
  parent: Incarnation;
  left: { revision: number; epoch: number };
  /** Of any incarnation known, also one that was never finished. */
  highestNumber: number;
  by: string;
  disasterAt: string | null;
}): Incarnation {
  const { parent, left } = options;
  const { number, id } = parent;
  return {
    number: Math.max(number, options.highestNumber) + 1,
    id: randomUUID(),
    parent: id,
    baseRevision: left.revision,
    baseEpoch: left.epoch,
    ancestors: [...parent.ancestors, { number, id, revision: left.revision }].slice(-MAX_ANCESTORS),
    by: options.by,
    // What was lost once stays lost, whatever is rebuilt on purpose later.
    disasterAt: options.disasterAt ?? parent.disasterAt,
  };
}

/** Whether a replica at this place holds nothing that `incarnation` does not know. */
export function isInHistoryOf(
  incarnation: Pick<Incarnation, 'id' | 'ancestors'>,
  place: { incarnationId: string; revision: number },
): boolean {
  if (place.incarnationId === incarnation.id) return true;
  const left = incarnation.ancestors.find(({ id }) => id === place.incarnationId);
  return left !== undefined && place.revision <= left.revision;
}

/** Deletes what earlier incarnations left in these log servers, but for the one to `keep`. */
export async function deleteOtherIncarnations(
  link: NatsLink,
  current: number,
  keep: number = current,
): Promise<void> {
  const streams = await listStreams(link, TIMEOUT_MS);
  for (const stream of streams ?? []) {
    const number = Number(/-(\d+)$/.exec(stream)?.[1] ?? current);
    if (number < current && number !== keep) await deleteStream(link, stream, TIMEOUT_MS);
  }
}

export type StreamLimits = { changesBytes: number; statesBytes: number; eventsBytes: number };

/** Creates the streams of an incarnation where they are missing. Throws {@link SilenceError}; call again. */
export async function ensureStreams(
  link: NatsLink,
  names: Names,
  options: { logReplicas: number; limits: StreamLimits },
): Promise<void> {
  const { logReplicas, limits } = options;
  await ensureChanges(link, names, options);
  await ensureStream(
    link,
    lastValues({
      name: names.states,
      subjects: names.allStates,
      logReplicas,
      maxBytes: limits.statesBytes,
      allowDirect: true,
    }),
    TIMEOUT_MS,
  );
  await ensureStopFactsBucket(link, names, options, TIMEOUT_MS);
  await ensureParkedBucket(link, names, options, TIMEOUT_MS);
  await ensureStream(
    link,
    lastValues({
      name: names.lease,
      subjects: names.allLease,
      logReplicas,
      maxBytes: MIB,
      allowDirect: false,
    }),
    TIMEOUT_MS,
  );
  await ensureStream(
    link,
    {
      name: names.events,
      subjects: [names.allEvents],
      num_replicas: logReplicas,
      max_bytes: limits.eventsBytes,
      discard: 'old',
      allow_direct: true,
    },
    TIMEOUT_MS,
  );
}

/** Creates the change log alone, as {@link ensureStreams} does. */
export async function ensureChanges(
  link: NatsLink,
  names: Names,
  options: { logReplicas: number; limits: StreamLimits },
): Promise<void> {
  await ensureStream(
    link,
    lastValues({
      name: names.changes,
      subjects: names.allChanges,
      logReplicas: options.logReplicas,
      maxBytes: options.limits.changesBytes,
      allowDirect: true,
    }),
    TIMEOUT_MS,
  );
}
