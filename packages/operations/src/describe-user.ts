import type { StoredUser } from '@countersign/api';
import type { StoredUser as UserRow } from '@countersign/database';
import { failuresInForce, isLocked, LOCKED_UNTIL_UNLOCKED } from '@countersign/verification';

/** A user with what verification has recorded, as far as this node knows. */
export function describeUser(user: UserRow): StoredUser {
  const { document, revision, state } = user;
  return { document, revision, lockedUntil: state ? lockedUntil(user) : null };
}

function lockedUntil({ document, state }: UserRow): string | null {
  const failures = failuresInForce(state!.methods.oath, document);
  if (!isLocked(failures, Date.now())) return null;
  return failures.lockedUntil === LOCKED_UNTIL_UNLOCKED
    ? 'until unlocked'
    : new Date(failures.lockedUntil).toISOString();
}
