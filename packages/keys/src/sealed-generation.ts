import { identifyKey } from './cluster-key.ts';
import { deriveKeys } from './derive-keys.ts';
import { KeyError } from './key-error.ts';
import type { Generation, KeyRing } from './key-ring.ts';
import { open, seal } from './seal.ts';

type Named = Pick<Generation, 'id' | 'madeAt'>;

/** A generation as it travels to whoever has the ring, sealed under the active one. */
export function sealGeneration(ring: KeyRing, generation: Named & { bytes: Buffer }): Buffer {
  const key = deriveKeys(ring, ['key-ring'])['key-ring'];
  return seal(key, generation.bytes, contextOf(generation));
}

/** @throws KeyError where it is not what it says, or sealed under a generation that the ring does not have */
export function openGeneration(ring: KeyRing, named: Named, sealed: Uint8Array): Generation {
  const bytes = open(deriveKeys(ring, ['key-ring'])['key-ring'], sealed, contextOf(named));
  if (identifyKey(bytes) !== named.id) {
    throw new KeyError('damaged', `the generation ${named.id} is not what it says`);
  }
  return { id: named.id, madeAt: named.madeAt, bytes, derived: {} };
}

function contextOf({ id, madeAt }: Named): string {
  return `generation|${id}|${madeAt}`;
}
