import type { Database } from './open-database.ts';

/**
 * How the processes of one node tell whoever watches its RADIUS ports what they see. Nothing is stored: lines go
 * through NOTIFY, and that anybody watches shows in a lock, which ends with the process that holds it.
 */
const CHANNEL = 'radius_seen';
const WATCHED = { class: 0x5244, object: 1 };

/** PostgreSQL takes no more in one NOTIFY. */
export const NOTE_MAX_BYTES = 7_999;

export type RadiusWatching = {
  /** Aborts when a connection of it died: not all is heard any more. */
  lost: AbortSignal;
  end(): Promise<void>;
};

/** Hands on what this node's processes tell, from now on. Two connections until it ends. */
export async function watchRadius(
  db: Database,
  onNote: (note: string) => void,
): Promise<RadiusWatching> {
  const lost = new AbortController();
  const session = db.openSession(() => lost.abort());
  const end = () => session.end({ timeout: 1 });
  try {
    let hasListened = false;
    await session.listen(CHANNEL, onNote, () => {
      // The driver listens again by itself; what was told meanwhile is gone.
      if (hasListened) lost.abort();
      hasListened = true;
    });
    await session`select pg_advisory_lock_shared(${WATCHED.class}::int, ${WATCHED.object}::int)`;
    return { lost: lost.signal, end };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Whether anybody on this node watches. */
export async function isRadiusWatched({ sql }: Database): Promise<boolean> {
  const [row] = await sql<{ watched: boolean }[]>`
    select exists (
      select from pg_locks
      where locktype = 'advisory' and granted and objsubid = 2
        and classid = ${WATCHED.class} and objid = ${WATCHED.object}
        and database = (select oid from pg_database where datname = current_database())
    ) as watched`;
  return row?.watched ?? false;
}

/** Each of at most {@link NOTE_MAX_BYTES}; of equal ones in one call only the first is heard. */
export async function tellRadiusWatchers(
  { sql }: Database,
  notes: readonly string[],
): Promise<void> {
  await sql`
    select pg_notify(${CHANNEL}, note)
    from json_array_elements_text(${JSON.stringify(notes)}::text::json) as note`;
}
