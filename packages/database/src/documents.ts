import { count, eq } from './drizzle.ts';
import type { ChangeKind } from './apply-changes.ts';
import type { Database } from './open-database.ts';
import { documents } from './schema.ts';

/** How many documents of the kind there ever were: removed ones count. */
export async function countDocuments(db: Database, kind: ChangeKind): Promise<number> {
  const [row] = await db.orm
    .select({ count: count() })
    .from(documents)
    .where(eq(documents.kind, kind));
  return row?.count ?? 0;
}
