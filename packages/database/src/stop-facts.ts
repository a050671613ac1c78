import {
  STOP_FACTS_PER_MINUTE_MAX,
  STOP_FACTS_PER_USER_MAX,
  type StopFact,
} from '@countersign/verification';
import type { AuditEvent } from './events.ts';
import { jsonText } from './json-text.ts';
import type { Database, Transaction } from './open-database.ts';
import { storePosition } from './positions.ts';
import { outboxRow } from './reservations.ts';

export type StopFactOutcome = 'stopped' | 'too_many_of_subject' | 'too_many_of_node';

const UNSETTLED_MAX = 100;

/**
 * Accepts a fact on this node, together with its event: on disk when this returns, and in force for every later
 * read. The same fact again is accepted again and leaves one row.
 */
export async function addStopFact(
  db: Database,
  fact: StopFact,
  event: AuditEvent,
): Promise<StopFactOutcome> {
  return db.transaction(async (tx) => {
    // Workers commit asynchronously; this must outlive a power cut.
    await tx`set local synchronous_commit = on`;
    await tx`select pg_advisory_xact_lock(hashtextextended('stop facts', 0))`;
    const [counts] = await tx<{ known: boolean; ofSubject: number; ofNode: number }[]>`
      select exists (select from stop_facts where id = ${fact.id}) as known,
        (select count(*)::int from stop_facts f left join users u on u.id = ${userIdOf(tx)}
          where f.kind = ${fact.kind} and f.subject = ${fact.subject} and ${inForce(tx)})
          as "ofSubject",
        (select count(*)::int from stop_facts
          where node = ${fact.node} and at > now() - interval '1 minute') as "ofNode"`;
    if (counts!.known) return 'stopped';
    if (counts!.ofSubject >= STOP_FACTS_PER_USER_MAX) return 'too_many_of_subject';
    if (counts!.ofNode >= STOP_FACTS_PER_MINUTE_MAX) return 'too_many_of_node';
    await insertFacts(tx, [fact], false);
    const row = outboxRow({ event, isFinal: true });
    await tx`
      insert into outbox (id, at, final, username_key, event)
      select id, at, final, username_key, event
      from jsonb_to_record(${jsonText(row)}::text::jsonb) as input(
        id uuid, at timestamptz, final boolean, username_key text, event jsonb)
      on conflict (id) do nothing`;
    return 'stopped';
  });
}

/** Keeps what other nodes accepted and told. */
export async function keepStopFacts(db: Database, facts: readonly StopFact[]): Promise<void> {
  await db.transaction((tx) => insertFacts(tx, facts, false));
}

/** Keeps what the log's bucket holds, together with the follower's position there. */
export async function storeStopFacts(
  db: Database,
  facts: readonly StopFact[],
  position: number,
): Promise<void> {
  await db.transaction(async (tx) => {
    if (facts.length > 0) await insertFacts(tx, facts, true);
    await storePosition(tx, 'stops', position);
  });
}

/** Facts that the log's bucket does not hold yet, oldest first. */
export async function listUnpublishedStopFacts(db: Database, limit: number): Promise<StopFact[]> {
  const rows = await db.sql<{ fact: StopFact }[]>`
    select fact from stop_facts where not published order by at, id limit ${limit}`;
  return rows.map((row) => row.fact);
}

/** Facts in force that are not changes yet, of subjects that this node knows: the oldest 100. */
export async function listUnsettledStopFacts(db: Database): Promise<StopFact[]> {
  const rows = await db.sql<{ fact: StopFact }[]>`
    select f.fact from ${pending(db.sql)} order by f.at, f.id limit ${UNSETTLED_MAX}`;
  return rows.map((row) => row.fact);
}

export async function markStopFactsPublished(db: Database, ids: readonly string[]): Promise<void> {
  await db.sql`
    update stop_facts f set published = true
    from jsonb_array_elements_text(${jsonText(ids)}::text::jsonb) as stored(id)
    where f.id = stored.id::uuid and not f.published`;
}

/** Notes which facts their subjects' documents, as applied here, know of; expired ones are settled too. */
export async function settleStopFacts(db: Database): Promise<void> {
  await db.sql`
    update stop_facts f set settled = true
    where not f.settled and (
      f.expires_at <= now()
      or exists (
        select from documents d
        where d.kind = f.kind and d.id = f.subject and d.removed)
      or exists (
        select from users u where u.id = ${userIdOf(db.sql)} and (
          u.document -> 'liftedStopFacts' @> to_jsonb(f.id::text)
          or u.document -> 'blocked' -> 'stopFacts' @> to_jsonb(f.id::text))))`;
}

/** How many {@link listUnsettledStopFacts} would give without its bound. */
export async function countPendingStopFacts(db: Database): Promise<number> {
  const [row] = await db.sql<{ count: number }[]>`
    select count(*)::int as count from ${pending(db.sql)}`;
  return row!.count;
}

export async function findStopFact(db: Database, id: string): Promise<StopFact | null> {
  const [row] = await db.sql<{ fact: StopFact }[]>`select fact from stop_facts where id = ${id}`;
  return row?.fact ?? null;
}

/** Every fact about that user that this node knows, whether it still counts or not. */
export async function listStopFactsOfUser(db: Database, userId: string): Promise<StopFact[]> {
  const rows = await db.sql<{ fact: StopFact }[]>`
    select fact from stop_facts where kind = 'user' and subject = ${userId} order by at, id`;
  return rows.map((row) => row.fact);
}

/** Everything a rebuild carries over; the order is that of acceptance. */
export async function readStopFacts(db: Database): Promise<StopFact[]> {
  const rows = await db.sql<{ fact: StopFact }[]>`select fact from stop_facts order by at, id`;
  return rows.map((row) => row.fact);
}

/**
 * For a new life of the log, at the end of the transaction that swaps its documents in: its bucket is empty, what its
 * documents know of is found out anew, and facts about what it does not have are about nothing.
 */
export async function reopenStopFacts(tx: Transaction): Promise<void> {
  await tx`delete from positions where name = 'stops'`;
  await tx`
    delete from stop_facts f where f.kind in ('user', 'api-key', 'administrator')
      and not exists (select from users u where u.id = ${userIdOf(tx)})
      and not exists (select from removed_users r where r.id = ${userIdOf(tx)})
      and not exists (select from api_keys k where k.id = ${keyIdOf(tx)})
      and not exists (select from administrators a where a.id = ${administratorIdOf(tx)})`;
  // What they ended has ended by itself.
  await tx`delete from stop_facts where kind = 'session' and expires_at <= now()`;
  await tx`update stop_facts set published = false, settled = false`;
}

async function insertFacts(
  tx: Transaction,
  facts: readonly StopFact[],
  isPublished: boolean,
): Promise<void> {
  await tx`
    insert into stop_facts as f (id, kind, subject, node, at, expires_at, fact, published)
    select distinct on (id) id, kind, subject, node, at, "expiresAt", fact, ${isPublished}
    from jsonb_array_elements(${jsonText(facts)}::text::jsonb) as fact
    cross join jsonb_to_record(fact) as input(
      id uuid, kind text, subject text, node text, at timestamptz, "expiresAt" timestamptz)
    order by id
    on conflict (id) do update set published = true where excluded.published and not f.published`;
}

// Casting the subject of another kind could fail.
function userIdOf(sql: Database['sql'] | Transaction) {
  return sql`case when f.kind = 'user' then f.subject::uuid end`;
}

function keyIdOf(sql: Database['sql'] | Transaction) {
  return sql`case when f.kind = 'api-key' then f.subject::uuid end`;
}

function administratorIdOf(sql: Database['sql'] | Transaction) {
  return sql`case when f.kind = 'administrator' then f.subject::uuid end`;
}

/** Of `stop_facts f`, beside `users u` where the fact is about a user. */
function inForce(sql: Database['sql'] | Transaction) {
  return sql`
    (f.expires_at is null or f.expires_at > now())
    and not coalesce(u.document -> 'liftedStopFacts' @> to_jsonb(f.id::text), false)`;
}

function pending(sql: Database['sql']) {
  return sql`
    stop_facts f
      left join users u on u.id = ${userIdOf(sql)}
      left join api_keys k on k.id = ${keyIdOf(sql)}
      left join administrators a on a.id = ${administratorIdOf(sql)}
    where not f.settled and coalesce(u.id, k.id, a.id) is not null and ${inForce(sql)}`;
}
