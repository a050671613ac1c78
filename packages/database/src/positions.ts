import { eq } from './drizzle.ts';
import type { Database, Transaction } from './open-database.ts';
import { positions } from './schema.ts';

/** Followers of other streams than the change log, whose position stands in `applied`. */
export type Follower = 'states' | 'events' | 'stops';

/** How far a follower is; 0 before its first message. */
export async function readPosition(db: Database, name: Follower): Promise<number> {
  const [row] = await db.orm.select().from(positions).where(eq(positions.name, name));
  return row?.position ?? 0;
}

/** Belongs into the transaction that stores what the position stands for. */
export async function storePosition(
  tx: Transaction,
  name: Follower,
  position: number,
): Promise<void> {
  await tx`
    insert into positions (name, position) values (${name}, ${position})
    on conflict (name) do update set position = excluded.position`;
}
