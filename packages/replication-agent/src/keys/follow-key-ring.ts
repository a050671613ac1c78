import { setTimeout as sleep } from 'node:timers/promises';
import type { Log, Sealer } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import type { KeyRingDocument } from '@countersign/verification';
import type { KeyRingReport } from '../config.ts';
import { readKeyRing } from './read-key-ring.ts';

const LOOK_EVERY_MS = 250;
/** A ring that could not be written may be writable by then. */
const TELL_AGAIN_MS = 3000;

/** Keeps the node's key ring as the cluster's document wants it. Ends with `signal`. */
export async function followKeyRing(options: {
  db: Database;
  sealer: Sealer;
  keyRing(): KeyRingReport;
  tellSupervisor(document: KeyRingDocument): void;
  log: Log;
  signal: AbortSignal;
}): Promise<void> {
  const { db, sealer, signal, log } = options;
  let told = '';
  let toldAt = -Infinity;
  while (!signal.aborted) {
    try {
      const document = await readKeyRing(db, sealer);
      if (!document || isAsWanted(options.keyRing(), document)) told = '';
      else if (told !== JSON.stringify(document) || performance.now() - toldAt > TELL_AGAIN_MS) {
        told = JSON.stringify(document);
        toldAt = performance.now();
        options.tellSupervisor(document);
      }
    } catch (error) {
      log.warn({ error: String(error) }, 'the key ring cannot be followed');
    }
    await sleep(LOOK_EVERY_MS, undefined, { signal }).catch(() => undefined);
  }
}

/** What the ring has besides, such as from before a disaster, stays. */
export function isAsWanted(
  { active, generations }: KeyRingReport,
  wanted: KeyRingDocument,
): boolean {
  if (active !== wanted.active) return false;
  return wanted.generations.every(({ id, retiredAt }) => {
    const known = generations.find((generation) => generation.id === id);
    if (retiredAt !== undefined) return !known || known.isRetired;
    return known !== undefined && !known.isRetired;
  });
}
