import type { UserStates } from '@countersign/cluster';
import { claimsOf, readUserState, type Database } from '@countersign/database';
import {
  defaultSettings,
  emptyState,
  mergeClaims,
  mergeStates,
  isUsedClaim,
  parseState,
  type Claim,
  type FailureClaim,
  type TextClaim,
  type UserState,
} from '@countersign/verification';

/**
 * The most this node can know of a user without the quorum: its own store, what was approved degraded, and the copy
 * of any log server that still answers. `state` null = nothing was ever recorded.
 */
export async function readMostKnown(
  options: { db: Database; states: UserStates },
  userId: string,
  directTimeoutMs: number,
): Promise<{
  state: UserState | null;
  failures: FailureClaim[];
  texts: TextClaim[];
  answered: string[];
}> {
  const [stored, claims, direct] = await Promise.all([
    readUserState(options.db, userId),
    claimsOf(options.db, userId),
    options.states.readDirect(userId, directTimeoutMs),
  ]);
  let state = stored?.state ?? null;
  if (direct.kind === 'found') {
    const copy = parseState(direct.bytes);
    state = state ? mergeStates(state, copy) : copy;
  }
  // Merged or not: none of these copies may have it yet, and a maximum can be taken twice.
  const used = claims.flatMap(({ claim }) =>
    isUsedClaim(claim) || 'wait' in claim ? [claim] : [],
  );
  if (used.length > 0) {
    // They merge the same under any settings: those are about failures.
    state = mergeClaims(state ?? emptyState(), used, defaultSettings, Date.now());
  }
  // A success ends what was counted here before it, as it does with the quorum. Before: by the order of the rows, for
  // the clock of whoever approved may be ahead, and guesses would go uncounted until it is caught up with.
  const clearedBy = claims.findLastIndex(({ claim }) => isSuccess(claim));
  const failures = claims
    .slice(clearedBy + 1)
    .flatMap(({ claim, merged }) => ('failure' in claim && !merged ? [claim] : []));
  const texts = claims.flatMap(({ claim, merged }) => ('text' in claim && !merged ? [claim] : []));
  // Of a question all of them: another success does not bring its three tries back.
  const answered = claims.flatMap(({ claim, merged }) =>
    'failure' in claim && claim.answered && !merged ? [claim.answered[0]] : [],
  );
  return { state, failures, texts, answered };
}

/** A bypass proves nothing, so it ends nothing. */
function isSuccess(claim: Claim): boolean {
  return isUsedClaim(claim) && !claim.denied && !claim.item.startsWith('bypass:');
}
