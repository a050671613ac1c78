import { hkdfSync } from 'node:crypto';
import type { ClusterKey } from './cluster-key.ts';
import type { KeyPurpose } from './key-purpose.ts';
import { ringOf, type Generation, type KeyRing } from './key-ring.ts';

/** A key of one generation: 32 bytes; `keyId` is the id of the cluster key they come from. */
export type GenerationKey = { keyId: string; key: Buffer };

/**
 * What a process holds for one purpose: the key that seals, and `others` which may still, or already, open, oldest
 * first. The same object is brought up to date when the ring changes ({@link renewKeys}), so hold on to it, not to
 * what is in it.
 */
export type PurposeKey = GenerationKey & {
  others?: readonly GenerationKey[];
  /** Of PINs and passwords: the first generation's, once that is not the active one any more. */
  first?: GenerationKey;
};

/**
 * Keys that never change, for what they have made is looked up by value and protected otherwise (docs/architecture.md,
 * "Keys"): they come from the first generation for ever.
 */
const LASTING: ReadonlySet<KeyPurpose> = new Set(['nats-password', 'command-id', 'spare-code']);

/** What may have been sealed long ago, and is read by whoever joins later. */
const OPENS_FOR_EVER: ReadonlySet<KeyPurpose> = new Set(['document', 'event']);

/**
 * What says who somebody is: an older generation opens none of it, for the key is changed where somebody who has it
 * belongs to the cluster no more. One that comes opens already: other nodes may seal under it.
 */
const NEVER_OLDER: ReadonlySet<KeyPurpose> = new Set(['session', 'session-proof', 'socket-proof']);

/** HKDF-SHA256 (RFC 5869), one independent key per purpose and generation. */
export function deriveKeys<P extends KeyPurpose>(
  source: ClusterKey | KeyRing,
  purposes: readonly P[],
): Record<P, PurposeKey> {
  const ring = 'bytes' in source ? ringOf(source, new Date(0).toISOString()) : source;
  const derived = purposes.map((purpose) => [purpose, keysFor(ring, purpose)]);
  return Object.fromEntries(derived) as Record<P, PurposeKey>;
}

/** What is kept of a generation once nothing is sealed under it any more. */
export function retireGeneration(ring: KeyRing, id: string): KeyRing {
  if (ring.generations.every((generation) => generation.id !== id || generation.bytes === null)) {
    return ring;
  }
  const isFirst = ring.generations[0]?.id === id;
  const kept: KeyPurpose[] = [...OPENS_FOR_EVER, ...(isFirst ? [...LASTING, 'pin' as const] : [])];
  const generations = ring.generations.map((generation) => {
    if (generation.id !== id || generation.bytes === null) return generation;
    const derived = Object.fromEntries(kept.map((one) => [one, keyOf(generation, one)!]));
    return { ...generation, bytes: null, derived };
  });
  return { ...ring, generations };
}

function keysFor(ring: KeyRing, purpose: KeyPurpose): PurposeKey {
  const of = (generation: Generation) => {
    const key = keyOf(generation, purpose);
    return key ? [{ keyId: generation.id, key }] : [];
  };
  const [first] = of(ring.generations[0]!);
  if (LASTING.has(purpose)) return first!;
  const [active] = ring.generations.filter(({ id }) => id === ring.active).flatMap(of);
  const activeAt = ring.generations.findIndex(({ id }) => id === ring.active);
  const others = ring.generations
    .filter((_, at) => at > activeAt || (at < activeAt && !NEVER_OLDER.has(purpose)))
    .flatMap(of);
  return {
    ...active!,
    ...(others.length > 0 && { others }),
    ...(purpose === 'pin' && first!.keyId !== ring.active && { first: first! }),
  };
}

function keyOf({ bytes, derived }: Generation, purpose: KeyPurpose): Buffer | null {
  if (bytes === null) return derived[purpose] ?? null;
  return Buffer.from(hkdfSync('sha256', bytes, 'countersign', `purpose/${purpose}`, 32));
}
