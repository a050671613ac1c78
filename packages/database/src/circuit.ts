import type { Database } from './open-database.ts';
import { circuit } from './schema.ts';

export type Circuit = { open: boolean; since: Date; reason: string; heldUntil: Date | null };

/** Stops waiting for the quorum. Returns false if that was so already. */
export async function openCircuit(db: Database, reason: string): Promise<boolean> {
  const changed = await db.sql`
    update circuit set open = true, since = now(), reason = ${reason} where not open`;
  return changed.count > 0;
}

/**
 * Stops waiting for the quorum on purpose, e.g. while the log moves: nothing closes the circuit meanwhile, unless
 * whoever holds it forgets it for so long.
 */
export async function holdCircuitOpen(db: Database, reason: string, forMs: number): Promise<void> {
  await db.sql`
    update circuit set
      since = case when open then since else now() end, open = true, reason = ${reason},
      held_until = now() + make_interval(secs => ${forMs / 1000})`;
}

/** Whoever finds the quorum back may close the circuit again. */
export async function releaseCircuit(db: Database): Promise<void> {
  await db.sql`update circuit set held_until = null where held_until is not null`;
}

/** Waits for the quorum again. Returns false if that was so already. */
export async function closeCircuit(db: Database): Promise<boolean> {
  const changed = await db.sql`update circuit set open = false, since = now()
    where open and (held_until is null or held_until < now())`;
  return changed.count > 0;
}

export async function readCircuit(db: Database): Promise<Circuit> {
  const { open, since, reason, heldUntil } = circuit;
  const [row] = await db.orm.select({ open, since, reason, heldUntil }).from(circuit);
  if (!row) throw new Error('the circuit has no row');
  return row;
}
