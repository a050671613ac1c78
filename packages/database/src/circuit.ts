import type { Database } from './open-database.ts';
import { circuit } from './schema.ts';

export type Circuit = { open: boolean; since: Date; reason: string };

/** Stops waiting for the quorum. Returns false if that was so already. */
export async function openCircuit(db: Database, reason: string): Promise<boolean> {
  const changed = await db.sql`
    update circuit set open = true, since = now(), reason = ${reason} where not open`;
  return changed.count > 0;
}

/** Waits for the quorum again. Returns false if that was so already. */
export async function closeCircuit(db: Database): Promise<boolean> {
  const changed = await db.sql`update circuit set open = false, since = now() where open`;
  return changed.count > 0;
}

export async function readCircuit(db: Database): Promise<Circuit> {
  const { open, since, reason } = circuit;
  const [row] = await db.orm.select({ open, since, reason }).from(circuit);
  if (!row) throw new Error('the circuit has no row');
  return row;
}
