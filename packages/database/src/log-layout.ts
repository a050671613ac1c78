import type { Database } from './open-database.ts';

/** The log servers this node follows, as its agent noted them last; null before that. */
export async function readLogLayout<T>(db: Database): Promise<T | null> {
  const [row] = await db.sql<{ layout: T }[]>`select layout from log_layout`;
  return row?.layout ?? null;
}

/** What the node's workers follow from now on. */
export async function noteLogLayout(db: Database, layout: object): Promise<void> {
  const text = JSON.stringify(layout);
  await db.sql`
    insert into log_layout (layout) values (${text}::text::jsonb)
    on conflict (only_row) do update set layout = excluded.layout`;
}
