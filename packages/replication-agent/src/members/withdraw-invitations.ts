import { listAdministrators, listApiKeys, type Database } from '@countersign/database';
import type { AdministratorDocument } from '@countersign/verification';
import type { Mastership } from '../mastership.ts';
import { listJoinTokens, readMembers, type MemberDocuments } from './member-documents.ts';

type Writes = MemberDocuments & { mastership: Pick<Mastership, 'write' | 'rewrite'> };

/** What was taken back: ids of join tokens, names of invited administrators. */
export type Withdrawn = { joinTokens: string[]; invitations: string[] };

/**
 * Takes back all that lets somebody in who has not come yet. It follows from the cluster key and the log
 * (`new-secret`), so whoever had both can make it up. Null: not certainly all of it; do it again.
 */
export async function withdrawInvitations(
  from: Writes,
  nowMs = Date.now(),
): Promise<Withdrawn | null> {
  const withdrawn: Withdrawn = { joinTokens: [], invitations: [] };
  const spent = new Set((await readMembers(from))?.document.spentTokens.map(({ id }) => id));
  for (const { id, expiresAt } of await listJoinTokens(from)) {
    if (spent.has(id) || Date.parse(expiresAt) <= nowMs) continue;
    const change = { kind: 'join-token', id, document: null, removed: true };
    if (!(await from.mastership.write(change))) return null;
    withdrawn.joinTokens.push(id);
  }
  for (const { document } of await listAdministrators(from.db)) {
    if (!isInvited(document, nowMs)) continue;
    const { id, username } = document;
    const make = () => endInvitation(from.db, id, nowMs);
    if (!(await from.mastership.rewrite({ kind: 'administrator', id, make }))) return null;
    withdrawn.invitations.push(username);
  }
  return withdrawn;
}

/** Keys that somebody should look through, oldest first: they too could be made up by whoever had log and key. */
export async function keysToReview(
  db: Database,
): Promise<{ id: string; name: string; createdAt: string }[]> {
  const keys = (await listApiKeys(db)).filter(({ isRevoked }) => !isRevoked);
  return keys.map(({ document: { id, name, createdAt } }) => ({ id, name, createdAt }));
}

function isInvited({ invitation }: AdministratorDocument, nowMs: number): boolean {
  return invitation !== undefined && Date.parse(invitation.expiresAt) > nowMs;
}

/** It stays and is over: whoever has no credentials yet is found as somebody to be invited again. */
async function endInvitation(
  db: Database,
  id: string,
  nowMs: number,
): Promise<AdministratorDocument | null> {
  const stored = (await listAdministrators(db)).find(({ document }) => document.id === id);
  const document = stored?.document;
  if (!document?.invitation || !isInvited(document, nowMs)) return null;
  const at = new Date(nowMs).toISOString();
  return { ...document, invitation: { ...document.invitation, expiresAt: at }, updatedAt: at };
}
