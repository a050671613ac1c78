import { makeClusterKey, type ClusterKey } from './cluster-key.ts';
import { KeyError } from './key-error.ts';
import type { KeyPurpose } from './key-purpose.ts';

/** One version of the cluster key. */
export type Generation = {
  /** 8 hex digits; may be shown and stored. */
  id: string;
  /** ISO time. */
  madeAt: string;
  /** 32; null once it is retired. */
  bytes: Buffer | null;
  /** All that is left of a retired one. */
  derived: Partial<Record<KeyPurpose, Buffer>>;
};

/** The versions of the cluster key that a node knows, oldest first. Values: each change makes another ring. */
export type KeyRing = {
  /** The id of the generation that seals. */
  active: string;
  generations: readonly Generation[];
};

/** A bound, not a number anybody reaches: each is about 200 bytes in a file, and never goes. */
export const GENERATIONS_MAX = 200;

/** A cluster whose key was never changed. */
export function ringOf(key: ClusterKey, madeAt: string): KeyRing {
  const first = { id: key.id, madeAt, bytes: key.bytes, derived: {} };
  return { active: key.id, generations: [first] };
}

export function makeGeneration(madeAt: string): Generation & { bytes: Buffer } {
  return { ...makeClusterKey(), madeAt, derived: {} };
}

/**
 * With another generation that opens, and does not seal before it is made the active one.
 * @throws KeyError `malformed` when there are more than {@link GENERATIONS_MAX}
 */
export function addGeneration(ring: KeyRing, added: Generation): KeyRing {
  if (ring.generations.some(({ id }) => id === added.id)) return ring;
  if (ring.generations.length >= GENERATIONS_MAX) {
    throw new KeyError('malformed', `a key ring holds at most ${GENERATIONS_MAX} generations`);
  }
  return { ...ring, generations: [...ring.generations, added] };
}

/** @throws KeyError `wrong_key` when the ring does not hold that generation, or holds only what is left of it */
export function activateGeneration(ring: KeyRing, id: string): KeyRing {
  const found = ring.generations.find((generation) => generation.id === id);
  if (!found?.bytes) throw new KeyError('wrong_key', `the generation ${id} is not known here`);
  return ring.active === id ? ring : { ...ring, active: id };
}
