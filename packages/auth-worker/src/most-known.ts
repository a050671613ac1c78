import type { UserStates } from '@countersign/cluster';
import { readUserState, unmergedClaimsOf, type Database } from '@countersign/database';
import {
  defaultSettings,
  emptyState,
  mergeClaims,
  mergeStates,
  parseState,
  type FailureClaim,
  type UserState,
} from '@countersign/verification';

/**
 * The most this node can know of a user without the quorum: its own store, what was approved degraded and is not
 * merged yet, and the copy of any log server that still answers. `state` null = nothing was ever recorded.
 */
export async function readMostKnown(
  options: { db: Database; states: UserStates },
  userId: string,
  directTimeoutMs: number,
): Promise<{ state: UserState | null; failures: FailureClaim[] }> {
  const [stored, claims, direct] = await Promise.all([
    readUserState(options.db, userId),
    unmergedClaimsOf(options.db, userId),
    options.states.readDirect(userId, directTimeoutMs),
  ]);
  let state = stored?.state ?? null;
  if (direct.kind === 'found') {
    const copy = parseState(direct.bytes);
    state = state ? mergeStates(state, copy) : copy;
  }
  const approved = claims.filter((claim) => 'last' in claim);
  if (approved.length > 0) {
    // Approvals merge the same under any settings: those are about failures.
    state = mergeClaims(state ?? emptyState(), approved, defaultSettings, Date.now());
  }
  // A success ends what was counted before it, as it does with the quorum.
  const clearedAt = Math.max(0, ...approved.map((claim) => claim.at));
  const failures = claims.filter((claim) => 'failure' in claim && claim.at > clearedAt);
  return { state, failures: failures as FailureClaim[] };
}
