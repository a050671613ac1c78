import { findKeptUsers, findUsersByName, type Database } from '@countersign/database';
import { keyedHash } from '@countersign/keys';
import type { UserDocument } from '@countersign/verification';
import { z } from 'zod';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

export const eraseUserArgs = z.strictObject({ username: z.string() });

/**
 * Leaves a document that holds a pseudonym and nothing of the person. It stays for good: every node that applies it,
 * and every one that is filled later, takes the person from its events by it.
 */
export async function eraseUser(
  context: PlanContext,
  { username }: z.output<typeof eraseUserArgs>,
): Promise<Plan> {
  const user = await findPerson(context.db, username);
  if ('kind' in user) return user;
  const { id } = user;
  const hash = keyedHash(context.keys['new-secret'], 'pseudonym', id).toString('hex');
  const pseudonym = `erased-${hash.slice(0, 12)}`;
  const at = context.now.toISOString();
  const content: UserDocument = {
    id,
    username: pseudonym,
    removedAt: at,
    erasedAt: at,
    enabled: false,
    blocked: null,
    unlockedAt: null,
    authenticators: [],
    createdAt: at,
    updatedAt: at,
  };
  return {
    kind: 'change',
    document: { kind: 'user', id, removed: false, content },
    result: { id, pseudonym },
    event: { userId: id, username: pseudonym },
  };
}

export const exportUserArgs = eraseUserArgs;

/** Changes nothing: it is the master's word that everything about somebody may be told, and the event that it was. */
export async function exportUser(
  { db }: PlanContext,
  { username }: z.output<typeof exportUserArgs>,
): Promise<Plan> {
  const user = await findPerson(db, username);
  if ('kind' in user) return user;
  const { id: userId, username: name } = user;
  return {
    kind: 'unchanged',
    result: { id: userId },
    event: { userId, username: name },
  };
}

/** Also somebody who was removed and is kept. */
async function findPerson(db: Database, username: string): Promise<UserDocument | Refusal> {
  const present = (await findUsersByName(db, username)).map(({ document }) => document);
  const found = present.length > 0 ? present : await findKeptUsers(db, username);
  if (found.length > 1) {
    return refuse(409, 'ambiguous_user', `more than one user is called ${username}`);
  }
  return found[0] ?? refuse(404, 'unknown_user', `no user is called ${username}`);
}
