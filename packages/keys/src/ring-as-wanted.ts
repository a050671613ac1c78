import { retireGeneration } from './derive-keys.ts';
import { activateGeneration, addGeneration, type KeyRing } from './key-ring.ts';
import { openGeneration } from './sealed-generation.ts';

/** What the cluster agreed on. */
export type WantedRing = {
  active: string;
  /** `sealed`, in base64: for whoever does not have it yet. */
  generations: { id: string; madeAt: string; sealed?: string; retiredAt?: string }[];
};

/**
 * The ring as the cluster wants it; the same one where it is. What it has besides stays.
 * @throws KeyError where a generation cannot be opened, or the active one is not there
 */
export function ringAsWanted(ring: KeyRing, { active, generations }: WantedRing): KeyRing {
  let wanted = ring;
  for (const { id, madeAt, sealed } of generations) {
    if (sealed === undefined || wanted.generations.some((known) => known.id === id)) continue;
    const opened = openGeneration(wanted, { id, madeAt }, Buffer.from(sealed, 'base64'));
    wanted = addGeneration(wanted, opened);
  }
  wanted = activateGeneration(wanted, active);
  for (const { id, retiredAt } of generations) {
    if (retiredAt !== undefined && id !== active) wanted = retireGeneration(wanted, id);
  }
  return wanted;
}
