import type { StopFact } from '@countersign/verification';
import { keysRevision } from './api-keys.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import type { Reservation } from './reservations.ts';
import type { StoredUser } from './users.ts';

export type VerificationRead = {
  /** None, one, or two where the name is ambiguous (there may be more). */
  users: (StoredUser & {
    /** Those made without the quorum, by this node or others. */
    reservations: Reservation[];
    /** Blocks accepted without the master, lifted ones too. */
    stopFacts: StopFact[];
  })[];
  revision: number;
  /** As in {@link StoredApiKey}. */
  keysRevision: number;
  settingsRevision: number;
  /** Unix ms before which codes may have been used unseen; null: never. */
  codesNotBeforeMs: number | null;
  isCircuitOpen: boolean;
  knownNodes: number;
};

/**
 * All that verifications need from PostgreSQL, for several user names in one indexed statement.
 * @returns a read for each name, in their order
 */
export async function readForVerification(
  db: Database,
  usernameKeys: readonly string[],
): Promise<VerificationRead[]> {
  const rows = await db.sql<VerificationRow[]>`
    select k.number, a.revision as applied_revision, a.settings_revision,
      a.incarnation ->> 'disasterAt' as disaster_at,
      ${keysRevision(db)} as keys_revision,
      c.open as circuit_open, (select count(*)::int from nodes) as known_nodes,
      u.id, u.document, u.revision, s.state, coalesce(s.revision, 0) as "stateRevision",
      coalesce((
        select jsonb_agg(jsonb_build_object(
          'userId', r.user_id, 'item', r.item, 'attemptId', r.attempt_id, 'holder', r.holder,
          'phase', r.phase, 'degraded', r.degraded, 'claim', r.claim, 'merged', r.merged))
        from reservations r where r.user_id = u.id and r.degraded), '[]') as reservations,
      coalesce((
        select jsonb_agg(f.fact) from stop_facts f
        where f.kind = 'user' and f.subject = u.id::text), '[]') as "stopFacts"
    from applied a
    cross join circuit c
    cross join jsonb_array_elements_text(${jsonText(usernameKeys)}::text::jsonb)
      with ordinality as k(key, number)
    left join lateral (
      select id, document, revision from users where username_key = k.key limit 2
    ) as u on true
    left join user_states s on s.user_id = u.id`;
  if (rows.length === 0 && usernameKeys.length > 0) {
    throw new Error('the replica belongs to no incarnation');
  }
  const byNumber = Map.groupBy(rows, (row) => row.number);
  return usernameKeys.map((_, index) => toRead(byNumber.get(index + 1)!));
}

type VerificationRow = StoredUser & {
  number: number;
  reservations: Reservation[];
  stopFacts: StopFact[];
  applied_revision: number;
  keys_revision: number;
  settings_revision: number;
  disaster_at: string | null;
  circuit_open: boolean;
  known_nodes: number;
};

function toRead(rows: VerificationRow[]): VerificationRead {
  const [first] = rows as [VerificationRow];
  return {
    users: rows
      .filter((row) => row.id !== null)
      .map(({ id, document, revision, state, stateRevision, reservations, stopFacts }) => ({
        id,
        document,
        revision,
        state,
        stateRevision,
        reservations,
        stopFacts,
      })),
    revision: first.applied_revision,
    keysRevision: first.keys_revision,
    settingsRevision: first.settings_revision,
    codesNotBeforeMs: first.disaster_at === null ? null : Date.parse(first.disaster_at),
    isCircuitOpen: first.circuit_open,
    knownNodes: first.known_nodes,
  };
}
