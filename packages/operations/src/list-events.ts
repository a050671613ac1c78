import type { EventFilter, StoredEvent } from '@countersign/api';
import { listEvents as readEvents, type Database } from '@countersign/database';

/** Events of this node's store as the API shows them, newest first. */
export async function listEvents(db: Database, filter: EventFilter): Promise<StoredEvent[]> {
  const events = await readEvents(db, {
    limit: filter.limit,
    ...(filter.user !== undefined && { username: filter.user }),
    ...(filter.sinceMs !== undefined && { since: new Date(filter.sinceMs).toISOString() }),
    ...(filter.type !== undefined && { type: filter.type }),
  });
  return events.map(({ userId: _, username, ...event }) => ({ ...event, user: username }));
}
