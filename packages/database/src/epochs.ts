import { asc } from './drizzle.ts';
import type { Database } from './open-database.ts';
import { epochs } from './schema.ts';

/** Complete epochs and where each began, oldest first. */
export async function listEpochs(
  db: Database,
): Promise<{ epoch: number; firstRevision: number }[]> {
  return db.orm.select().from(epochs).orderBy(asc(epochs.epoch));
}
