import type { UserState } from '@countersign/verification';
import { findKeptUsers } from './erased-users.ts';
import { shownEvent, type ListedEvent } from './events.ts';
import type { Database } from './open-database.ts';
import { findUser, type ListedUser } from './users.ts';

export type Person = {
  user: ListedUser;
  state: UserState | null;
  /** Newest first. */
  events: ListedEvent[];
  /** There are more than were read. */
  isCut: boolean;
};

const EVENTS_MAX = 10_000;

/** All this node holds of whoever has the name, also of somebody removed and kept; null where that is not one user. */
export async function readPerson(db: Database, username: string): Promise<Person | null> {
  const found = await findUser(db, username);
  if (found === 'ambiguous') return null;
  const user = found ?? (await findKept(db, username));
  if (!user) return null;
  const rows = await db.sql<{ event: ListedEvent; at: string }[]>`
    select at, ${shownEvent(db.sql)} as event from events
    where user_id = ${user.id} order by at desc, id desc limit ${EVENTS_MAX + 1}`;
  const events = rows.map(({ event, at }) => ({ ...event, at: new Date(at).toISOString() }));
  return {
    user,
    state: user.state,
    events: events.slice(0, EVENTS_MAX),
    isCut: events.length > EVENTS_MAX,
  };
}

async function findKept(db: Database, username: string): Promise<ListedUser | null> {
  const [document, namesake] = await findKeptUsers(db, username);
  if (!document || namesake) return null;
  const [row] = await db.sql<{ revision: number; state: UserState | null }[]>`
    select r.revision, s.state from removed_users r
    left join user_states s on s.user_id = r.id where r.id = ${document.id}`;
  const { revision = 0, state = null } = row ?? {};
  const { id } = document;
  return { id, document, revision, state, stateRevision: 0, stopFacts: [], lockedUntil: null };
}
