import type { StopFact, UserState } from '@countersign/verification';
import type { ChangeKind } from './apply-changes.ts';
import type { ArrivedEvent } from './events.ts';
import type { Database, Transaction } from './open-database.ts';
import { findApplied, type Applied } from './read-applied.ts';
import type { Reservation } from './reservations.ts';

/** Pages are small: what is read and not taken yet stands in memory. */
const DOCUMENTS_AT_ONCE = 200;
const ROWS_AT_ONCE = 500;
/** Whoever takes the pages may be slow, and the transaction keeps PostgreSQL from tidying up. */
const IDLE_MAX_MS = 60_000;
const FIRST_ID = '00000000-0000-0000-0000-000000000000';

/** A document as it stands in the log, tombstones, epochs and seals included: all that the digest is made of. */
export type SnapshotDocument = {
  kind: ChangeKind;
  id: string;
  revision: number;
  epoch: number;
  removed: boolean;
  bytes: Buffer;
};

/** This replica at one revision, a page at a time; nothing is kept of a page that was handed on. */
export type Snapshot = {
  /** Null: it belongs to no incarnation yet. */
  applied: Applied | null;
  /** Tables for another incarnation are being filled beside these. */
  isRebuilding: boolean;
  documents(): AsyncGenerator<SnapshotDocument[]>;
  /** By user id; deleted states are left out. */
  userStates(): AsyncGenerator<{ userId: string; state: UserState }[]>;
  stopFacts(): Promise<StopFact[]>;
  /** What was approved or counted without the quorum and stands in no user state yet. */
  unmergedReservations(): AsyncGenerator<Reservation[]>;
  events(): AsyncGenerator<ArrivedEvent[]>;
};

/**
 * Reads everything in one transaction, so that all of it belongs to one revision, whatever is applied meanwhile. The
 * tables cannot be swapped before it ends; a reader that takes nothing for a minute loses it.
 */
export async function withSnapshot<T>(
  db: Database,
  read: (snapshot: Snapshot) => Promise<T>,
): Promise<T> {
  return db.transaction(async (tx) => {
    await tx.unsafe(`set local idle_in_transaction_session_timeout = ${IDLE_MAX_MS}`);
    const [found] = await tx<{ isRebuilding: boolean }[]>`
      select to_regclass('next.applied') is not null as "isRebuilding"`;
    return read({
      applied: await findApplied(tx),
      isRebuilding: found!.isRebuilding,
      documents: () => documents(tx),
      userStates: () => userStates(tx),
      stopFacts: () => stopFacts(tx),
      unmergedReservations: () => unmergedReservations(tx),
      events: () => events(tx),
    });
  }, 'isolation level repeatable read read only');
}

function documents(tx: Transaction): AsyncGenerator<SnapshotDocument[]> {
  return pages(
    { kind: '', id: '' },
    (after) => tx<SnapshotDocument[]>`
      select kind, id, revision, epoch, removed, bytes from documents
      where (kind, id) > (${after.kind}, ${after.id})
      order by kind, id limit ${DOCUMENTS_AT_ONCE}`,
  );
}

function userStates(tx: Transaction): AsyncGenerator<{ userId: string; state: UserState }[]> {
  return pages(
    { userId: FIRST_ID },
    (after) => tx<{ userId: string; state: UserState }[]>`
      select user_id as "userId", state from user_states
      where state is not null and user_id > ${after.userId}
      order by user_id limit ${ROWS_AT_ONCE}`,
  );
}

/** At most 16 in force for each subject, and few subjects. */
async function stopFacts(tx: Transaction): Promise<StopFact[]> {
  const rows = await tx<{ fact: StopFact }[]>`select fact from stop_facts order by at, id`;
  return rows.map(({ fact }) => fact);
}

function unmergedReservations(tx: Transaction): AsyncGenerator<Reservation[]> {
  return pages(
    { userId: FIRST_ID, item: '' },
    (after) => tx<Reservation[]>`
      select user_id as "userId", item, attempt_id as "attemptId", holder, phase, degraded, claim, merged
      from reservations
      where phase = 'approved' and degraded and not merged and claim is not null
        and (user_id, item) > (${after.userId}, ${after.item})
      order by user_id, item limit ${ROWS_AT_ONCE}`,
  );
}

/** Day by day, because every day is a table of its own. */
async function* events(tx: Transaction): AsyncGenerator<ArrivedEvent[]> {
  let day = '-infinity';
  for (;;) {
    const [next] = await tx<{ day: string | null }[]>`
      select min(day)::text as day from events where day > ${day}::text::date`;
    if (!next?.day) return;
    day = next.day;
    yield* eventsOf(tx, day);
  }
}

function eventsOf(tx: Transaction, day: string): AsyncGenerator<ArrivedEvent[]> {
  return pages(
    { id: FIRST_ID },
    (after) => tx<ArrivedEvent[]>`
      select id, to_char(at at time zone 'utc', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') as at, type, node,
        user_id as "userId", username, actor, application, client_address as "clientAddress", result,
        reason, degraded, duration_ms as "durationMs", details, incarnation, arrival
      from events where day = ${day}::text::date and id > ${after.id}
      order by id limit ${ROWS_AT_ONCE}`,
  );
}

/** Page after page, each of what comes after the last row of the one before, until one is empty. */
async function* pages<Key, Row extends Key>(
  first: Key,
  read: (after: Key) => PromiseLike<Row[]>,
): AsyncGenerator<Row[]> {
  let after = first;
  for (;;) {
    const rows = await read(after);
    const last = rows.at(-1);
    if (!last) return;
    yield rows;
    after = last;
  }
}
