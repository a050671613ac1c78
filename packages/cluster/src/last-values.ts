import type { StreamConfig } from './jetstream.ts';

export type LastValues = {
  name: string;
  subjects: string;
  logReplicas: number;
  maxBytes: number;
  /** Missing: what is stored stays. */
  maxAgeMs?: number;
  /** Direct reads can be stale, so they are allowed only where a reader expects that. */
  allowDirect: boolean;
};

/** A stream that keeps the last message of each subject and refuses what does not fit. */
export function lastValues(options: LastValues): StreamConfig {
  return {
    name: options.name,
    subjects: [options.subjects],
    num_replicas: options.logReplicas,
    max_msgs_per_subject: 1,
    max_bytes: options.maxBytes,
    ...(options.maxAgeMs !== undefined && { max_age: options.maxAgeMs * 1_000_000 }),
    discard: 'new',
    allow_direct: options.allowDirect,
  };
}
