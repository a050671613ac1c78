import type { Claim } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import type { ReservationKey } from './reservations.ts';

export const RESERVATIONS_KEPT_MS = 180_000;
const SWEEP_MAX = 10_000;

export type UnmergedClaims = {
  userId: string;
  claims: { item: string; attemptId: string; holder: string; claim: Claim }[];
};

/**
 * What was approved or counted without the quorum, by this node and by others, and is not in the user's state yet: whole
 * users, at most `limit` of them. Those that `node` itself let in come first, or all nodes would begin with the same ones;
 * then those that wait longest.
 */
export async function unmergedClaims(
  db: Database,
  node: string,
  limit: number,
): Promise<UnmergedClaims[]> {
  return db.sql<UnmergedClaims[]>`
    select user_id as "userId", jsonb_agg(jsonb_build_object(
      'item', item, 'attemptId', attempt_id, 'holder', holder, 'claim', claim)
      order by created_at, item) as claims
    from reservations
    where phase = 'approved' and degraded and not merged and claim is not null
    group by user_id
    order by bool_or(holder = ${node}) desc, min(created_at), user_id limit ${limit}`;
}

/**
 * Of one user everything claimed without the quorum in the last minutes: a copy of the user's state may lack also
 * what is merged by now.
 */
export async function claimsOf(
  db: Database,
  userId: string,
): Promise<{ claim: Claim; merged: boolean }[]> {
  return db.sql<{ claim: Claim; merged: boolean }[]>`
    select claim, merged from reservations
    where user_id = ${userId} and phase = 'approved' and degraded and claim is not null
    order by created_at, item`;
}

/** The claims are in the users' states now. */
export async function markMerged(db: Database, claims: readonly ReservationKey[]): Promise<void> {
  await db.sql`
    with input as (
      select * from jsonb_to_recordset(${jsonText(claims)}::text::jsonb)
        as input("userId" uuid, item text, "attemptId" text)
    ), own as materialized (
      select r.user_id, r.item, r.attempt_id from reservations r
      join input i on i."userId" = r.user_id and i.item = r.item and i."attemptId" = r.attempt_id
      order by r.user_id, r.item
      for update of r
    )
    update reservations r set merged = true from own
    where r.user_id = own.user_id and r.item = own.item and r.attempt_id = own.attempt_id`;
}

/**
 * Forgets old reservations, 10,000 at most, but never a degraded approval that is not merged.
 * @returns how many
 */
export async function sweepReservations(
  db: Database,
  olderThanMs = RESERVATIONS_KEPT_MS,
): Promise<number> {
  const swept = await db.sql`
    delete from reservations r using (
      select user_id, item from reservations
      where created_at < now() - ${olderThanMs}::float8 * interval '1 ms'
        and not (phase = 'approved' and degraded and not merged)
      limit ${SWEEP_MAX}
      for update skip locked
    ) as old
    where r.user_id = old.user_id and r.item = old.item`;
  return swept.count;
}
