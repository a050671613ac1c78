import type { StopFact } from '@countersign/verification';
import { keysRevision } from './api-keys.ts';
import { jsonText } from './json-text.ts';
import type { Database } from './open-database.ts';
import type { Reservation } from './reservations.ts';
import { FITTING_USERS, usersMeant } from './user-names.ts';
import type { Fitting } from './user-names.ts';
import type { StoredUser } from './users.ts';

export type VerificationRead = {
  /** None, one, or some where the name is ambiguous (there may be more). */
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

/** Somebody by the key of a name as typed (see {@link usersMeant}), or the user of this id. */
export type WantedUser = string | { userId: string };

/**
 * All that verifications need from PostgreSQL, for several users: one indexed statement for all names, and one for those
 * wanted by id.
 * @returns a read for each, in their order
 */
export async function readForVerification(
  db: Database,
  wanted: readonly WantedUser[],
): Promise<VerificationRead[]> {
  const names = wanted.filter((user) => typeof user === 'string');
  const ids = wanted.filter((user) => typeof user !== 'string').map(({ userId }) => userId);
  const [byName, byId] = await Promise.all([
    names.length === 0 ? [] : readUsers(db, names, FITTING_USERS),
    ids.length === 0 ? [] : readUsers(db, ids, USER_BY_ID),
  ]);
  return wanted.map((user) => (typeof user === 'string' ? byName.shift()! : byId.shift()!));
}

const USER_BY_ID = `
  select id, document, revision, 'username' as by from users where id = k.key::uuid`;

/** `find`: the SQL that gives the users of `k.key`. */
async function readUsers(
  db: Database,
  keys: readonly string[],
  find: string,
): Promise<VerificationRead[]> {
  const rows = await db.sql<VerificationRow[]>`
    select k.number, a.revision as applied_revision, a.settings_revision,
      a.incarnation ->> 'disasterAt' as disaster_at,
      ${keysRevision(db)} as keys_revision,
      c.open as circuit_open, (select count(*)::int from nodes) as known_nodes,
      u.id, u.document, u.revision, u.by, s.state, coalesce(s.revision, 0) as "stateRevision",
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
    cross join jsonb_array_elements_text(${jsonText(keys)}::text::jsonb)
      with ordinality as k(key, number)
    left join lateral (${db.sql.unsafe(find)}) as u on true
    left join user_states s on s.user_id = u.id`;
  if (rows.length === 0) throw new Error('the replica belongs to no incarnation');
  const byNumber = Map.groupBy(rows, (row) => row.number);
  return keys.map((_, index) => toRead(byNumber.get(index + 1)!));
}

type VerificationRow = StoredUser & {
  by: Fitting['by'];
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
  const fitting = rows
    .filter((row) => row.id !== null)
    .map((row) => ({ ...row, isOfDirectory: row.document.directory !== undefined }));
  return {
    users: usersMeant(fitting, 'verification').map(
      ({ id, document, revision, state, stateRevision, reservations, stopFacts }) => ({
        id,
        document,
        revision,
        state,
        stateRevision,
        reservations,
        stopFacts,
      }),
    ),
    revision: first.applied_revision,
    keysRevision: first.keys_revision,
    settingsRevision: first.settings_revision,
    codesNotBeforeMs: first.disaster_at === null ? null : Date.parse(first.disaster_at),
    isCircuitOpen: first.circuit_open,
    knownNodes: first.known_nodes,
  };
}
