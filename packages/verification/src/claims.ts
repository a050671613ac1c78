import { z } from 'zod';
import { FACTORS } from './methods.ts';
import { shortId, waitSchema } from './user-state.ts';
import type { UserState, Wait } from './user-state.ts';
import { holdsWait } from './waits.ts';

const claimFields = { id: z.string().min(1).max(128), at: z.int().min(0) };
/** What its reservation is called. */
const item = z.string().min(1).max(128);
/** The item is used up, but the attempt was denied: its PIN was wrong. */
const denied = z.literal(true).optional();
/** A challenge, by {@link shortId}, and when it is over, in Unix seconds. */
const ofChallenge = z.tuple([z.string().regex(/^[\w-]{16}$/), z.int().min(0)]);
/** The question that it answered, where the item is not that question itself. */
const ends = ofChallenge.optional();

// Claims lie in a database and travel between nodes, so they are parsed where they arrive.
const claimSchema = z.union([
  z.strictObject({
    ...claimFields,
    authenticatorId: z.uuid().lowercase(),
    /** The step or counter that was accepted. */
    last: z.int().min(0),
    item,
    denied,
    ends,
  }),
  z.strictObject({
    ...claimFields,
    item,
    denied,
    /** {@link shortId} of a challenge or bypass, and when it is over anyway, in Unix seconds. */
    spent: z.string().regex(/^[\w-]{16}$/),
    until: z.int().min(0),
  }),
  z.strictObject({
    ...claimFields,
    item,
    denied,
    /** Place of a recovery code in its generation, which was made at this Unix second. */
    recovery: z.int().min(0).max(30),
    generation: z.int().min(0),
    ends,
  }),
  z.strictObject({
    ...claimFields,
    failure: z.literal(true),
    /** Left out: `code`. */
    factor: z.enum(FACTORS).optional(),
    /** The administrator's unlock this failure came after, 0 if there was none. */
    unlockedAt: z.int().min(0),
    /** What it answered wrongly. */
    answered: ofChallenge.optional(),
  }),
  z.strictObject({ ...claimFields, text: z.literal(true) }),
  /** That somebody waits, or how that was answered. */
  z.strictObject({ ...claimFields, wait: waitSchema }),
]);

/** What one attempt (its id, Unix milliseconds) does to the user's state, for a later merge. */
export type Claim = z.infer<typeof claimSchema>;
/** Something that is good once was used up. */
export type UsedClaim = Extract<Claim, { item: string }>;
export type FailureClaim = Extract<Claim, { failure: true }>;
export type TextClaim = Extract<Claim, { text: true }>;
export type WaitClaim = Extract<Claim, { wait: Wait }>;

export class ClaimError extends Error {
  override readonly name = 'ClaimError';
}

/** @throws ClaimError if the value is not a claim */
export function parseClaim(value: unknown): Claim {
  const parsed = claimSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new ClaimError('not a claim');
}

export function isUsedClaim(claim: Claim): claim is UsedClaim {
  return 'item' in claim;
}

/** Whether a state already holds a claim, so that the row it came from may go. */
export function holdsClaim(state: UserState, claim: Claim): boolean {
  if ('last' in claim) return (state.accepted[claim.authenticatorId]?.[0] ?? -1) >= claim.last;
  if ('spent' in claim) return (state.spent?.[claim.spent]?.[2] ?? 0) !== 0;
  if ('recovery' in claim) return isRecoveryUsed(state, claim.generation, claim.recovery);
  if ('wait' in claim) return holdsWait(state, claim.wait, Date.now());
  if ('text' in claim) return Object.hasOwn(state.merged, shortId(claim.id));
  return (
    Object.hasOwn(state.merged, failureId(claim)) ||
    claim.unlockedAt < (state.methods[claim.factor ?? 'code']?.unlockedAt ?? 0)
  );
}

/** Of a generation before the one whose use is remembered, all are used up. */
export function isRecoveryUsed(state: UserState, generation: number, place: number): boolean {
  const [of, used] = state.recovery ?? [0, 0];
  if (generation !== of) return generation < of;
  return (used & (1 << place)) !== 0;
}

/** What `merged` remembers a failure by: an attempt can fail in both factors. */
export function failureId({ id, factor = 'code' }: FailureClaim): string {
  return shortId(factor === 'code' ? id : `${id} ${factor}`);
}
