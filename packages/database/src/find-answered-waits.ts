import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

/** A user, and what their state knows a question by that is answered elsewhere. */
export type WaitKey = { userId: string; key: string };

/** Those of the given that this node knows the answer of, or the end: by its copies of states, and by claims. */
export async function findAnsweredWaits(
  db: Database,
  waits: readonly WaitKey[],
): Promise<WaitKey[]> {
  return db.sql<WaitKey[]>`
    with wanted as (
      select "userId", key from jsonb_to_recordset(${jsonText(waits)}::text::jsonb)
        as input("userId" uuid, key text)
    )
    select "userId", key from wanted join user_states s on s.user_id = "userId"
    where coalesce((s.state -> 'spent' -> key ->> 2)::int, 0) <> 0
      or exists (
        select 1 from jsonb_array_elements(coalesce(s.state -> 'waits', '[]')) as wait
        where wait ->> 0 = key and (wait ->> 2)::int <> 0)
    union
    select "userId", key from wanted join reservations r on r.user_id = "userId"
    where r.phase = 'approved' and r.claim -> 'wait' ->> 0 = key
      and (r.claim -> 'wait' ->> 2)::int <> 0`;
}
