import { ensureStream, publish, readLast } from './jetstream.ts';
import { lastValues } from './last-values.ts';
import type { NatsLink } from './nats-link.ts';
import { namesOf, type Names } from './names.ts';

/** Longer than any question is good. */
export const PARKED_MS = 15 * 60_000;
/** One RADIUS packet, sealed. */
export const PARKED_MAX_BYTES = 8 * 1024;
/** Full: what does not fit is refused, and nobody loses what was parked before. */
export const PARKED_BUCKET_BYTES = 16 * 1024 * 1024;

export type ParkedRead = { kind: 'found'; bytes: Uint8Array } | { kind: 'absent' | 'silent' };

/** What a question cannot hold lies here for every node until its answer, or {@link PARKED_MS}; sealed by the caller. */
export class ParkedEntries {
  readonly #link: NatsLink;
  readonly #names: Names;

  constructor(link: NatsLink, incarnationNumber: number) {
    this.#link = link;
    this.#names = namesOf(incarnationNumber);
  }

  /** Whether the log's quorum has it. Throws RangeError when it is larger than {@link PARKED_MAX_BYTES}. */
  async write(id: string, bytes: Uint8Array, timeoutMs: number): Promise<boolean> {
    if (bytes.length > PARKED_MAX_BYTES) {
      throw new RangeError(`${bytes.length} bytes to park, at most ${PARKED_MAX_BYTES}`);
    }
    const subject = this.#names.parkedEntry(id);
    return (await publish(this.#link, subject, bytes, timeoutMs)).kind === 'stored';
  }

  async read(id: string, timeoutMs: number): Promise<ParkedRead> {
    const subject = this.#names.parkedEntry(id);
    const read = await readLast(this.#link, this.#names.parked, subject, timeoutMs);
    return read.kind === 'found'
      ? { kind: 'found', bytes: read.message.data }
      : { kind: read.kind };
  }
}

/** Creates the bucket where it is missing. Throws {@link SilenceError}; call again. */
export async function ensureParkedBucket(
  link: NatsLink,
  names: Names,
  options: { logReplicas: number },
  timeoutMs: number,
): Promise<void> {
  await ensureStream(
    link,
    lastValues({
      name: names.parked,
      subjects: names.allParked,
      logReplicas: options.logReplicas,
      maxBytes: PARKED_BUCKET_BYTES,
      maxAgeMs: PARKED_MS,
      allowDirect: false,
    }),
    timeoutMs,
  );
}
