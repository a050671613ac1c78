import type { Sealer } from '@countersign/cluster';
import { decodeKeyRing, deriveKeys, open, seal, type KeyRing } from '@countersign/keys';
import { damaged } from './backup-error.ts';

/**
 * The cluster's keys out of the text that a backup holds them as.
 * @throws BackupError `damaged`
 */
export function parseKeys(text: string): KeyRing {
  const ring = decodeKeyRing(text);
  if (ring) return ring;
  throw damaged('what should be the cluster key is none');
}

/** What opens documents of the log, whichever generation of the keys sealed them. */
export function documentSealer(ring: KeyRing): Sealer {
  const key = deriveKeys(ring, ['document']).document;
  return {
    seal: (plain, context) => seal(key, plain, context),
    open: (sealed, context) => open(key, sealed, context),
  };
}
