import { z } from 'zod';
import { shortId } from './user-state.ts';
import type { UserState } from './user-state.ts';

// Claims lie in a database and travel between nodes, so they are parsed where they arrive.
const claimSchema = z.union([
  z.strictObject({
    id: z.string().min(1).max(128),
    at: z.int().min(0),
    authenticatorId: z.uuid().lowercase(),
    /** The step or counter that was accepted. */
    last: z.int().min(0),
    /** What its reservation is called. */
    item: z.string().min(1).max(128),
  }),
  z.strictObject({
    id: z.string().min(1).max(128),
    at: z.int().min(0),
    failure: z.literal(true),
    /** The administrator's unlock this failure came after, 0 if there was none. */
    unlockedAt: z.int().min(0),
  }),
]);

/** What one attempt (its id, Unix milliseconds) does to the user's state, for a later merge. */
export type Claim = z.infer<typeof claimSchema>;
export type ApprovedClaim = Extract<Claim, { last: number }>;
export type FailureClaim = Extract<Claim, { failure: true }>;

export class ClaimError extends Error {
  override readonly name = 'ClaimError';
}

/** @throws ClaimError if the value is not a claim */
export function parseClaim(value: unknown): Claim {
  const parsed = claimSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ClaimError('not a claim');
}

/** Whether a state already holds a claim, so that the row it came from may go. */
export function holdsClaim(state: UserState, claim: Claim): boolean {
  if ('last' in claim) return (state.accepted[claim.authenticatorId]?.[0] ?? -1) >= claim.last;
  return (
    Object.hasOwn(state.merged, shortId(claim.id)) ||
    claim.unlockedAt < state.methods.code.unlockedAt
  );
}
