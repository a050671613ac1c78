import { usernameKey, type AdministratorDocument, type StopFact } from '@countersign/verification';
import type { Database } from './open-database.ts';
import { readApplied } from './read-applied.ts';

export type StoredAdministrator = {
  document: AdministratorDocument;
  revision: number;
  /** By a stop fact: no node takes anything from them any more. */
  isRemoved: boolean;
};

const LIST_MAX = 1000;

/** Every administrator, oldest first. */
export async function listAdministrators(db: Database): Promise<StoredAdministrator[]> {
  return db.sql<StoredAdministrator[]>`
    select a.document, a.revision, exists (
      select from stop_facts f where f.kind = 'administrator' and f.subject = a.id::text
    ) as "isRemoved"
    from administrators a order by a.document ->> 'createdAt', a.id limit ${LIST_MAX}`;
}

/** Every administrator but those whom a stop fact removed, oldest first. */
export async function listStandingAdministrators(db: Database): Promise<AdministratorDocument[]> {
  const standing = (await listAdministrators(db)).filter(({ isRemoved }) => !isRemoved);
  return standing.map(({ document }) => document);
}

/** Whoever has this name, as typed; nobody where two have it, or who was removed by a stop fact. */
export async function findAdministrator(
  db: Database,
  name: string,
): Promise<AdministratorDocument | null> {
  const key = usernameKey(name);
  const found = (await listStandingAdministrators(db)).filter(
    ({ username }) => usernameKey(username) === key,
  );
  return found.length === 1 ? found[0]! : null;
}

/**
 * Whoever may accept the invitation with this hash now. One from before a forced promotion or a restore is over: whether
 * it was used meanwhile nobody knows (security rule 30).
 */
export async function findInvited(
  db: Database,
  { codeHash, nowMs }: { codeHash: string; nowMs: number },
): Promise<AdministratorDocument | null> {
  const applied = await readApplied(db);
  const disasterAtMs = Date.parse(applied?.incarnation.disasterAt ?? '');
  const found = (await listStandingAdministrators(db)).find(({ invitation, disabled }) => {
    if (!invitation || disabled || invitation.codeHash !== codeHash) return false;
    const isVoid = Date.parse(invitation.at) <= disasterAtMs;
    return !isVoid && nowMs < Date.parse(invitation.expiresAt);
  });
  return found ?? null;
}

export type SessionRead = {
  /** Null: there is nobody of this id, or not any more. */
  administrator: AdministratorDocument | null;
  /** Revocations of the session, or of all of this administrator. */
  stopFacts: StopFact[];
  /** Unix ms of a forced promotion or a restore; null: there was none. */
  disasterAtMs: number | null;
};

/** All that decides whether a session still counts, as of one moment. */
export async function readForSession(
  db: Database,
  { administratorId, sessionId }: { administratorId: string; sessionId: string | null },
): Promise<SessionRead> {
  const [row] = await db.sql<
    { document: AdministratorDocument | null; stopFacts: StopFact[]; disasterAt: string | null }[]
  >`
    select p.incarnation ->> 'disasterAt' as "disasterAt",
      (select a.document from administrators a where a.id = ${administratorId} and not exists (
        select from stop_facts f where f.kind = 'administrator' and f.subject = a.id::text))
        as document,
      coalesce((select jsonb_agg(f.fact) from stop_facts f
        where f.kind = 'session' and f.subject in (${sessionId ?? administratorId}, ${administratorId})), '[]')
        as "stopFacts"
    from applied p`;
  if (!row) throw new Error('the replica belongs to no incarnation');
  return {
    administrator: row.document,
    stopFacts: row.stopFacts,
    disasterAtMs: row.disasterAt === null ? null : Date.parse(row.disasterAt),
  };
}
