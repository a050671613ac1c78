import type { StopFact, UserState } from '@countersign/verification';
import { writeDocuments, type ReceivedChange } from './apply-changes.ts';
import { storeEvents, type ArrivedEvent } from './events.ts';
import { fillReadModels } from './fill-read-models.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import { insertApplied, type Incarnation } from './read-applied.ts';
import { recordCommands } from './record-commands.ts';
import type { Reservation } from './reservations.ts';
import { keepStopFacts } from './stop-facts.ts';

/** What a backup held goes into empty tables; {@link finishRestore} alone makes a replica of it. */

/** Whether nothing was ever kept here. */
export async function isDatabaseUnused(db: Database): Promise<boolean> {
  const [row] = await db.sql<{ isUsed: boolean }[]>`
    select exists (select from applied) or exists (select from documents)
      or exists (select from user_states) or exists (select from events) as "isUsed"`;
  return !row!.isUsed;
}

/** Removes everything in a database, tables and all: it was empty when a restore began there that did not end. */
export async function emptyDatabase(db: Database): Promise<void> {
  await db.transaction(async (tx) => {
    await tx.unsafe('drop schema if exists next cascade');
    await tx.unsafe('drop schema public cascade');
    await tx.unsafe('create schema public');
  });
}

/** Documents in any order, each of them once. Returns their hashes. */
export async function restoreDocuments(db: Database, changes: ReceivedChange[]): Promise<string[]> {
  return db.transaction(async (tx) => {
    const [hashes] = await Promise.all([
      writeDocuments(tx, changes),
      fillReadModels(tx, changes),
      recordCommands(tx, changes),
    ]);
    return hashes;
  });
}

/** As what this node knows, not compared with any bucket yet. */
export async function restoreUserStates(
  db: Database,
  rows: readonly { userId: string; state: UserState }[],
): Promise<void> {
  await db.sql`
    insert into user_states (user_id, revision, state)
    select "userId", 0, state from jsonb_to_recordset(${jsonText(rows)}::text::jsonb)
      as input("userId" uuid, state jsonb)`;
}

export async function restoreStopFacts(db: Database, facts: readonly StopFact[]): Promise<void> {
  await keepStopFacts(db, facts);
}

/** The workers merge them into the user states as they would have done. */
export async function restoreReservations(
  db: Database,
  rows: readonly Reservation[],
): Promise<void> {
  await db.sql`
    insert into reservations (user_id, item, attempt_id, holder, phase, degraded, claim, merged)
    select "userId", item, "attemptId", holder, phase, degraded, claim, merged
    from jsonb_to_recordset(${jsonText(rows)}::text::jsonb) as input(
      "userId" uuid, item text, "attemptId" text, holder text, phase text, degraded boolean,
      claim jsonb, merged boolean)`;
}

export async function restoreEvents(db: Database, events: readonly ArrivedEvent[]): Promise<void> {
  await storeEvents(db, events, 0);
}

/** The last step: from here on these tables are a replica of that incarnation, at that revision. */
export async function finishRestore(
  db: Database,
  place: {
    incarnation: Incarnation;
    revision: number;
    epoch: number;
    /** Of the documents that were put there, in hex. */
    digest: string;
    settingsRevision: number;
  },
): Promise<void> {
  await db.transaction(async (tx) => {
    await tx`set local synchronous_commit = on`;
    await tx`delete from positions`;
    await insertApplied(tx, place.incarnation);
    await tx`
      update applied set revision = ${place.revision}, epoch = ${place.epoch},
        digest = decode(${place.digest}, 'hex'), horizon = ${place.revision},
        settings_revision = ${place.settingsRevision}, is_filled = true, applied_at = now()`;
  });
}
