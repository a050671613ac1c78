import { sealerOf } from '@countersign/operations';
import { readMembers, type MemberDocuments } from '../members/member-documents.ts';
import { readKeyRing } from './read-key-ring.ts';

/**
 * Whether a removed node that may be hostile still has the key that sessions are made with: whoever has it can be every
 * owner. It ends when a generation is active that was made after the removal.
 */
export async function areSessionsPaused(from: MemberDocuments): Promise<boolean> {
  const since = (await readMembers(from))?.document.hostileSince;
  if (since === undefined) return false;
  const ring = await readKeyRing(from.db, sealerOf(from.keys.document));
  const active = ring?.generations.find(({ id }) => id === ring.active);
  return active === undefined || Date.parse(active.madeAt) < Date.parse(since);
}
