import { decodeChange, type Sealer } from '@countersign/cluster';
import { readDocument, type Database } from '@countersign/database';
import { checkDocument, KEY_RING_ID, type KeyRingDocument } from '@countersign/verification';

/** The cluster's, as this replica has it; null where the key was never changed. */
export async function readKeyRing(db: Database, sealer: Sealer): Promise<KeyRingDocument | null> {
  const row = await readDocument(db, 'key-ring', KEY_RING_ID);
  if (!row || row.removed) return null;
  return checkDocument('key-ring', decodeChange(row.bytes, sealer).document);
}
