import { usernameKey } from '@countersign/verification';
import type { Claim } from '@countersign/verification';
import type { AuditEvent } from './events.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';

export type Phase = 'asking' | 'cas' | 'approved';

/** A claim on a code (or a failure to be counted) that holds while the quorum may be away. */
export type Reservation = {
  userId: string;
  /** The code, e.g. `totp:<authenticator>:<step>`, or {@link failureItem}. */
  item: string;
  attemptId: string;
  /** Node whose step it is. */
  holder: string;
  phase: Phase;
  degraded: boolean;
  /** What a later merge does to the user's state. */
  claim: Claim | null;
  merged: boolean;
};

export type Holding = Pick<Reservation, 'attemptId' | 'holder' | 'phase' | 'degraded'>;
export type ReservationKey = Pick<Reservation, 'userId' | 'item' | 'attemptId'>;
export type OwnReservation = ReservationKey & Pick<Reservation, 'holder'>;

/** Item of a row that counts a degraded failure: begun at once as `approved`, with its claim. */
export function failureItem(attemptId: string): string {
  return `failure:${attemptId}`;
}

export type Beginning = {
  /** null: nothing to reserve. */
  reservation: Omit<Reservation, 'merged'> | null;
  event: AuditEvent;
  /** Whether the event is complete, or waits for {@link finishAttempts}. */
  isFinal: boolean;
};

export type BeginningOutcome = { kind: 'granted' } | { kind: 'refused'; by: Holding };

/**
 * Begins attempts in one statement: each inserts its reservation or is refused by the one that
 * stands, and leaves its event in the outbox either way. One's own attempt id never refuses.
 * Of several attempts on one code in the same call the first is served.
 * @returns an outcome for each attempt, in their order
 */
export async function beginAttempts(
  db: Database,
  attempts: readonly Beginning[],
): Promise<BeginningOutcome[]> {
  const reservations = attempts.map((attempt) => attempt.reservation);
  const wanted = new Map<string, Omit<Reservation, 'merged'>>();
  for (const one of reservations) {
    if (one && !wanted.has(reservationKey(one))) wanted.set(reservationKey(one), one);
  }
  // The update changes nothing: it makes a conflict return the row that stands, also one that
  // this statement's snapshot cannot see. Rows go in order, so that two calls cannot deadlock.
  const standing = await db.sql<(Holding & { userId: string; item: string })[]>`
    with kept as (
      insert into outbox (id, at, final, username_key, event)
      select id, at, final, username_key, event
      from jsonb_to_recordset(${jsonText(attempts.map(outboxRow))}::text::jsonb) as input(
        id uuid, at timestamptz, final boolean, username_key text, event jsonb)
      on conflict (id) do nothing
    )
    insert into reservations as r
      (user_id, item, attempt_id, holder, phase, degraded, claim)
    select "userId", item, "attemptId", holder, phase, degraded, claim
    from jsonb_to_recordset(${jsonText([...wanted.values()])}::text::jsonb) as input(
      "userId" uuid, item text, "attemptId" text, holder text, phase text, degraded boolean,
      claim jsonb)
    order by "userId", item collate "C"
    on conflict (user_id, item) do update set attempt_id = r.attempt_id
    returning r.user_id as "userId", r.item, r.attempt_id as "attemptId", r.holder, r.phase,
      r.degraded`;
  const holdings = new Map(standing.map((row) => [reservationKey(row), row]));
  return reservations.map((one) => (one ? judge(one, holdings.get(reservationKey(one))) : granted));
}

const granted: BeginningOutcome = { kind: 'granted' };

function judge(wanted: ReservationKey, standing: Holding | undefined): BeginningOutcome {
  if (!standing) throw new Error('a reservation was neither inserted nor refused');
  if (standing.attemptId === wanted.attemptId) return granted;
  const { attemptId, holder, phase, degraded } = standing;
  return { kind: 'refused', by: { attemptId, holder, phase, degraded } };
}

function reservationKey(one: { userId: string; item: string }): string {
  return `${one.userId.toLowerCase()} ${one.item}`;
}

export type Finish = {
  event: AuditEvent;
  /** False: only the reservation is, and the event will be finished later. */
  isFinal?: boolean;
  reservation?: OwnReservation & { outcome: 'approved' | 'withdrawn'; degraded?: boolean };
  /** What a degraded approval must still do to the user's state. */
  claim?: Claim;
};

/**
 * Finishes attempts in one statement. An approval counts only if the row is still its own:
 * `yielded` means another attempt took the code, the approval must not be given, and the event
 * is not final yet (finish it again with the denial). No event or reservation twice in a call.
 * @returns an outcome for each attempt, in their order
 */
export async function finishAttempts(
  db: Database,
  finishes: readonly Finish[],
): Promise<('finished' | 'yielded')[]> {
  const rows = finishes.map(({ event, isFinal = true, reservation, claim }) => ({
    ...reservation,
    ...outboxRow({ event, isFinal }),
    claim: claim ?? null,
  }));
  const finished = await db.sql<{ id: string }[]>`
    with input as (
      select * from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as input(
        id uuid, at timestamptz, final boolean, username_key text, event jsonb, "userId" uuid, item text,
        "attemptId" text, holder text, outcome text, degraded boolean, claim jsonb)
    ), own as materialized (
      select r.user_id, r.item, r.attempt_id, i.id, i.outcome, i.holder, i.degraded, i.claim
      from reservations r
      join input i
        on i."userId" = r.user_id and i.item = r.item and i."attemptId" = r.attempt_id
      order by r.user_id, r.item
      for update of r
    ), approved as (
      update reservations r set phase = 'approved', holder = own.holder,
        degraded = coalesce(own.degraded, r.degraded), claim = own.claim
      from own
      where own.outcome = 'approved' and r.user_id = own.user_id and r.item = own.item
        and r.attempt_id = own.attempt_id
      returning own.id
    ), withdrawn as (
      delete from reservations r using own
      where own.outcome = 'withdrawn' and r.user_id = own.user_id and r.item = own.item
        and r.attempt_id = own.attempt_id and r.holder = own.holder and r.phase <> 'approved'
    )
    insert into outbox (id, at, final, username_key, event)
    select id, at, final, username_key, event from input
    where outcome is distinct from 'approved' or id in (select id from approved)
    order by id
    on conflict (id) do update set final = excluded.final, event = excluded.event
    returning id`;
  const ids = new Set(finished.map((row) => row.id));
  return finishes.map(({ event }) => (ids.has(event.id.toLowerCase()) ? 'finished' : 'yielded'));
}

/**
 * Moves a reservation on if it is still its own and in a phase of `from`.
 * @returns false if another attempt has the code, or was approved meanwhile, or the phase is another
 */
export async function markPhase(
  db: Database,
  mark: ReservationKey & { from: readonly Phase[]; to: Phase; degraded: boolean },
): Promise<boolean> {
  const marked = await db.sql`
    update reservations set phase = ${mark.to}, degraded = ${mark.degraded}
    where user_id = ${mark.userId} and item = ${mark.item} and attempt_id = ${mark.attemptId}
      and phase in ${db.sql(mark.from)} and claim is null`;
  return marked.count > 0;
}

export function outboxRow({ event, isFinal }: { event: AuditEvent; isFinal: boolean }) {
  const username_key = event.username === null ? null : usernameKey(event.username);
  return { id: event.id, at: event.at, final: isFinal, username_key, event };
}
