import type { Claim } from '@countersign/verification';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import type { Holding, OwnReservation } from './reservations.ts';

export type AskOutcome =
  | { kind: 'granted' }
  | ({ kind: 'denied' } & Pick<Holding, 'phase' | 'attemptId' | 'holder'>);

const ASK_TRIES = 4;

/**
 * Answers another node that asks for a code. Of two that are still asking the lower attempt id
 * has it; a row in CAS or approved never yields; the same attempt id is never refused.
 */
export async function grantAsk(db: Database, ask: OwnReservation): Promise<AskOutcome> {
  for (let tries = 0; tries < ASK_TRIES; tries++) {
    const inserted = await db.sql`
      insert into reservations as r (user_id, item, attempt_id, holder, phase, degraded)
      values (${ask.userId}, ${ask.item}, ${ask.attemptId}, ${ask.holder}, 'asking', true)
      on conflict (user_id, item) do update set
        attempt_id = excluded.attempt_id, holder = excluded.holder, degraded = true,
        claim = null, merged = false, created_at = now()
      where r.phase = 'asking' and excluded.attempt_id < r.attempt_id`;
    if (inserted.count > 0) return { kind: 'granted' };
    const [standing] = await db.sql<Omit<Holding, 'degraded'>[]>`
      select attempt_id as "attemptId", holder, phase from reservations
      where user_id = ${ask.userId} and item = ${ask.item}`;
    if (!standing) continue; // withdrawn since
    if (standing.attemptId === ask.attemptId) return { kind: 'granted' };
    return { kind: 'denied', ...standing };
  }
  throw new Error('a reservation came and went at every try');
}

/**
 * Notes how another node's step ended. An approval is kept also where its ask never arrived, and
 * takes the code from a step that is still asking, so that this node denies it from now on. A step
 * that waits for its compare-and-set keeps its row, and learns of it if it has to ask after all.
 */
export async function settleForeign(
  db: Database,
  settled: OwnReservation & { outcome: 'approved' | 'withdrawn'; claim: Claim | null },
): Promise<void> {
  const { userId, item, attemptId, holder } = settled;
  if (settled.outcome === 'withdrawn') {
    await db.sql`
      delete from reservations where user_id = ${userId} and item = ${item}
        and attempt_id = ${attemptId} and holder = ${holder} and phase <> 'approved'`;
    return;
  }
  const claim = settled.claim && jsonText(settled.claim);
  const noted = await db.sql`
    insert into reservations as r (user_id, item, attempt_id, holder, phase, degraded, claim)
    values (${userId}, ${item}, ${attemptId}, ${holder}, 'approved', true, ${claim}::text::jsonb)
    on conflict (user_id, item) do update set
      attempt_id = excluded.attempt_id, holder = excluded.holder, phase = 'approved',
      degraded = true, claim = excluded.claim, merged = false, created_at = now()
    where r.phase = 'asking' or (r.attempt_id = excluded.attempt_id and r.phase = 'cas')`;
  if (noted.count > 0) return;
  await db.sql`
    update reservations set claim = ${claim}::text::jsonb
    where user_id = ${userId} and item = ${item} and phase = 'cas'`;
}
