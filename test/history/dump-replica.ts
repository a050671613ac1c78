import { recomputeDigest, type Database } from '@countersign/database';
import { usernameKey, type UserDocument, type UserState } from '@countersign/verification';
import type { DumpedDocument, DumpedEvent, DumpedUser, ReplicaDump } from './records.ts';

type AppliedRow = Pick<ReplicaDump, 'incarnation' | 'baseRevision' | 'revision' | 'horizon'> & {
  digest: string;
};

const TRIES = 10;

/** Reads what the checker needs from one node's PostgreSQL, and the digest computed anew at the same revision. */
export async function dumpReplica(db: Database, node: string): Promise<ReplicaDump> {
  for (let attempt = 1; attempt <= TRIES; attempt += 1) {
    const dump = await dumpSnapshot(db, node);
    const { digest, revision } = await recomputeDigest(db);
    if (revision === dump.revision) return { ...dump, recomputedDigest: digest };
  }
  throw new Error(`${node} was written to during each of ${TRIES} dumps`);
}

function dumpSnapshot(db: Database, node: string): Promise<Omit<ReplicaDump, 'recomputedDigest'>> {
  return db.transaction(async (tx) => {
    const [applied] = await tx<AppliedRow[]>`
      select incarnation ->> 'id' as incarnation,
        (incarnation ->> 'baseRevision')::bigint as "baseRevision", revision, horizon,
        encode(digest, 'hex') as digest from applied`;
    if (!applied) throw new Error(`${node} belongs to no incarnation`);
    const documents = await tx<DumpedDocument[]>`
      select kind, id, revision, epoch, removed, encode(sha256(bytes), 'hex') as hash
      from documents`;
    const epochs = await tx<ReplicaDump['epochs']>`
      select epoch, first_revision as "firstRevision" from epochs`;
    const users = await tx<{ document: UserDocument; revision: number; state: UserState | null }[]>`
      select document, u.revision, s.state from users u left join user_states s on s.user_id = u.id`;
    const events = await tx<DumpedEvent[]>`
      select details ->> 'verification' as verification, node, result, degraded,
        coalesce(details -> 'unanswered', '[]') as unanswered
      from (
        select type, node, result, degraded, details from events
        union all
        select event ->> 'type', event ->> 'node', event ->> 'result',
          (event ->> 'degraded')::boolean, event -> 'details' from outbox where final
      ) as told
      where type = 'verification' and details ? 'verification'`;
    return { node, ...applied, documents, epochs, events, users: users.map(viewUser) };
  }, 'isolation level repeatable read read only');
}

function viewUser(row: {
  document: UserDocument;
  revision: number;
  state: UserState | null;
}): DumpedUser {
  const { username, displayName, email, enabled, authenticators } = row.document;
  const accepted = Object.entries(row.state?.accepted ?? {}).map(([id, [last]]) => [id, last]);
  return {
    username: usernameKey(username),
    revision: row.revision,
    content: { displayName, email, enabled },
    authenticators: authenticators.map(({ id }) => id),
    accepted: Object.fromEntries(accepted),
  };
}
