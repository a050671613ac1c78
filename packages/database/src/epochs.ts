import { asc } from './drizzle.ts';
import type { Database } from './open-database.ts';
import { epochs } from './schema.ts';

/** Complete epochs and where each began, oldest first. */
export async function listEpochs(
  db: Database,
): Promise<{ epoch: number; firstRevision: number }[]> {
  return db.orm.select().from(epochs).orderBy(asc(epochs.epoch));
}

/** The last message of each epoch's barrier that was applied here, as it came; also of barriers that broke off. */
export async function listEpochMarks(db: Database): Promise<Buffer[]> {
  const rows = await db.sql<{ bytes: Buffer }[]>`select bytes from documents where kind = 'epoch'`;
  return rows.map(({ bytes }) => bytes);
}
