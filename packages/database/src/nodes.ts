import type { NodeDocument } from '@countersign/verification';
import { asc } from './drizzle.ts';
import type { Database } from './open-database.ts';
import { nodes } from './schema.ts';

/** The nodes that belong to the cluster, by name. */
export async function listNodes(db: Database): Promise<NodeDocument[]> {
  const rows = await db.orm.select({ document: nodes.document }).from(nodes).orderBy(asc(nodes.id));
  return rows.map((row) => row.document);
}
