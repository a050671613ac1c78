import { createHash } from 'node:crypto';
import { z } from 'zod';
import type { Factor } from './methods.ts';
import { DENIAL_REASONS } from './reasons.ts';
import type { DenialReason } from './reasons.ts';

/** No state is larger: it is one value under one key. */
export const USER_STATE_MAX_BYTES = 4096;
export const ATTEMPTS_MAX = 8;
export const ATTEMPTS_KEPT_MS = 10_000;
/** Nodes whose clocks differ from the cluster's median by more do not verify. */
const CLOCK_DIFFERENCE_MAX_MS = 20_000;
/**
 * Of two nodes one may be ahead of the median by as much as the other is behind it, and a question that is asked again
 * ends later than when it was first asked.
 */
const SPENT_KEPT_LONGER_MS = 2 * CLOCK_DIFFERENCE_MAX_MS + ATTEMPTS_KEPT_MS;
export const MERGED_MAX = 32;
const MERGED_KEPT_SECONDS = 3600;
/** More than a user can have; the rest are authenticators of other versions of the document. */
export const ACCEPTED_MAX = 24;
/** `lockedUntil` of a lockout that only an administrator ends. */
export const LOCKED_UNTIL_UNLOCKED = -1;

/** Challenges and bypasses that are not over, or a question more would be refused. */
export const SPENT_MAX = 16;
/** They spend a question. */
export const WRONG_ANSWERS_MAX = 3;
export const CACHES_MAX = 8;
/** Of one user at once, in the whole cluster. */
export const PASSWORD_ASKS_MAX = 8;
/** Texts remembered of a user: the budgets of an hour and of a day are no larger. */
export const TEXTS_MAX = 50;
const DAY_SECONDS = 86_400;

/** Failures and lock of one factor. Times are Unix milliseconds. */
export type MethodFailures = {
  /** In the current window, which began with the first of them; a lockout empties it. */
  failures: number;
  firstFailureAt: number;
  /** 0: not locked; {@link LOCKED_UNTIL_UNLOCKED}: until an administrator unlocks. */
  lockedUntil: number;
  /** In a row, without a success between them. */
  lockouts: number;
  /** Failures without a success between them, whatever their age. */
  consecutive: number;
  /** The administrator's unlock these counts came after; 0 if there was none. */
  unlockedAt: number;
};

export type StoredAttempt = {
  /** {@link shortId} of the attempt id. */
  id: string;
  /** {@link shortId} of the idempotency key's hash. */
  key: string | null;
  approved: boolean;
  /** `sent`: a question was asked, and what it needs was sent. */
  reason: DenialReason | 'sent' | null;
  item: string | null;
  at: number;
};

/** What verification itself remembers of a user. Fields of later versions are kept as they are. */
export type UserState = {
  v: 1;
  /** Authenticator id → [last accepted step or counter, when, in Unix seconds]. */
  accepted: Record<string, [last: number, atSeconds: number]>;
  methods: { code: MethodFailures } & Partial<Record<Factor, MethodFailures>>;
  lastWrong: {
    hmac: string;
    client: string;
    /** TOTP step; of an answer to a challenge 0. */
    step: number;
    challenge?: string;
    at: number;
  } | null;
  /** Verdicts of the last 10 s, in the order they were recorded. */
  attempts: StoredAttempt[];
  /**
   * {@link shortId} of each failure → when it was counted here, in Unix seconds. Also of those
   * recorded directly: an answer that came too late may have left a claim for the same attempt.
   */
  merged: Record<string, number>;
  /** Authenticator id → [counter of the first of two codes in a row, when, in Unix seconds]. */
  resyncs?: Record<string, [counter: number, atSeconds: number]>;
  /** {@link shortId} of a challenge or bypass → what became of it. Kept until it would be over anyway. */
  spent?: Record<string, Spent>;
  /** Which recovery codes of the generation made at that Unix second are used: bit by place in the document. */
  recovery?: [generationSeconds: number, used: number];
  /** When texts were sent in the last day, in Unix seconds. */
  texts?: number[];
  /** Successes that skip the second step for a while: [keyed hash of who and where, until in Unix seconds]. */
  caches?: [key: string, untilSeconds: number][];
  /** Questions that are answered elsewhere, such as on a phone, and that somebody waits for. */
  waits?: Wait[];
  /** When somebody was asked elsewhere in the last hour and since their last success there, in Unix seconds. */
  askedElsewhere?: number[];
  /** {@link shortId} of attempts whose password a directory is asked for, and since when, in Unix seconds. */
  passwordAsks?: [id: string, atSeconds: number][];
};

/**
 * {@link shortId} of the question and of the attempt that asked it, and whose hands the wait is in: of several front
 * doors that wait for one answer, the last to begin. `answer`: 0 none yet, 1 approved, 2 declined.
 */
export type Wait = [
  key: string,
  untilSeconds: number,
  answer: 0 | 1 | 2,
  attempt: string,
  holder: string,
];

/** Wrong answers so far, and how it ended: 0 not yet, 1 approved, 2 for nothing. */
export type Spent = [untilSeconds: number, wrong: number, end: 0 | 1 | 2];

export class StateError extends Error {
  override readonly name = 'StateError';
}

export const noFailures: MethodFailures = {
  failures: 0,
  firstFailureAt: 0,
  lockedUntil: 0,
  lockouts: 0,
  consecutive: 0,
  unlockedAt: 0,
};

export function emptyState(): UserState {
  return {
    v: 1,
    accepted: {},
    methods: { code: noFailures },
    lastWrong: null,
    attempts: [],
    merged: {},
  };
}

/** 96 bits stand for an id or hash of any length, so that the size of a state is known. */
export function shortId(text: string): string {
  return createHash('sha256').update(text).digest('base64url').slice(0, 16);
}

const count = z.int().min(0);
const idText = z.string().max(64);

const factorSchema = z.looseObject({
  failures: count,
  firstFailureAt: count,
  lockedUntil: z.int().min(LOCKED_UNTIL_UNLOCKED),
  lockouts: count,
  consecutive: count,
  unlockedAt: count,
});

export const waitSchema = z.tuple([
  z.string().regex(/^[\w-]{16}$/),
  count,
  z.union([z.literal(0), z.literal(1), z.literal(2)]),
  idText,
  z.string().max(16),
]);

// Loose: what a later version adds must survive a node that does not know it yet.
const stateSchema = z.looseObject({
  v: z.literal(1),
  accepted: z.record(z.string().regex(/^[0-9a-f-]{1,36}$/), z.tuple([count, count])),
  methods: z.looseObject({
    code: factorSchema,
    pin: factorSchema.optional(),
    password: factorSchema.optional(),
  }),
  lastWrong: z
    .looseObject({
      hmac: idText,
      client: idText,
      step: count,
      challenge: idText.optional(),
      at: count,
    })
    .nullable(),
  attempts: z.array(
    z
      .looseObject({
        id: idText,
        key: idText.nullable(),
        approved: z.boolean(),
        reason: z.enum([...DENIAL_REASONS, 'sent']).nullable(),
        item: z.string().max(128).nullable(),
        at: count,
      })
      .refine((attempt) => attempt.approved === (attempt.reason === null)),
  ),
  merged: z.record(z.string().regex(/^[\w-]{16}$/), count),
  resyncs: z.record(z.string().regex(/^[0-9a-f-]{1,36}$/), z.tuple([count, count])).optional(),
  spent: z
    .record(
      z.string().regex(/^[\w-]{16}$/),
      z.tuple([count, count, z.union([z.literal(0), z.literal(1), z.literal(2)])]),
    )
    .optional(),
  recovery: z.tuple([count, count]).optional(),
  texts: z.array(count).optional(),
  caches: z.array(z.tuple([idText, count])).optional(),
  waits: z.array(waitSchema).optional(),
  askedElsewhere: z.array(count).optional(),
  passwordAsks: z.array(z.tuple([idText, count])).optional(),
});

/** @throws StateError on anything that {@link encodeState} does not make */
export function parseState(bytes: Uint8Array): UserState {
  if (bytes.length > USER_STATE_MAX_BYTES) throw new StateError('user state is too large');
  let value: unknown;
  try {
    value = JSON.parse(Buffer.from(bytes).toString('utf8'));
  } catch {
    throw new StateError('user state is not JSON');
  }
  const parsed = stateSchema.safeParse(value);
  if (parsed.success) return parsed.data;
  const fields = parsed.error.issues.slice(0, 5).map((issue) => issue.path.join('.') || 'it');
  throw new StateError(`user state is damaged at ${fields.join(', ')}`);
}

/**
 * At most 4096 bytes. Where that is too few, what only helps a client that lost its answer or a
 * merge that repeats itself goes first; what was accepted and the locks never do.
 * @throws StateError when even the rest does not fit
 */
export function encodeState(state: UserState): Uint8Array {
  let smaller: UserState | null = state;
  while (smaller) {
    const bytes = Buffer.from(JSON.stringify(smaller), 'utf8');
    if (bytes.length <= USER_STATE_MAX_BYTES) return bytes;
    smaller = withLessDetail(smaller);
  }
  throw new StateError('user state does not fit');
}

function withLessDetail(state: UserState): UserState | null {
  // The newest attempt stays: it is the one just judged, and its caller may have to ask again.
  if (state.attempts.length > 1) return { ...state, attempts: state.attempts.slice(1) };
  const merged = Object.entries(state.merged);
  if (merged.length > 0) return { ...state, merged: newestMerged(merged, merged.length - 1) };
  if (state.lastWrong) return { ...state, lastWrong: null };
  if (state.caches?.length) return { ...state, caches: state.caches.slice(1) };
  if (Object.keys(state.resyncs ?? {}).length > 0) return { ...state, resyncs: {} };
  return null;
}

/** The failures counted in the last hour, with some more ids; at most 32. */
export function rememberFailures(
  merged: UserState['merged'],
  ids: readonly string[],
  nowMs: number,
): UserState['merged'] {
  const nowSeconds = Math.floor(nowMs / 1000);
  const recent = Object.entries(merged).filter(([, at]) => at > nowSeconds - MERGED_KEPT_SECONDS);
  return newestMerged([...recent, ...ids.map((id) => [id, nowSeconds] as const)], MERGED_MAX);
}

/** The `max` latest of some merged ids; ties fall the same way on every node. */
export function newestMerged(
  entries: readonly (readonly [string, number])[],
  max: number,
): Record<string, number> {
  const newestFirst = entries.toSorted(
    ([idA, atA], [idB, atB]) => atB - atA || (idA < idB ? -1 : 1),
  );
  return Object.fromEntries(newestFirst.slice(0, max));
}

/**
 * What was accepted, without the longest unused strangers beyond 24 entries. A stranger may belong
 * to an authenticator that this node has not heard of yet, so few are dropped and late.
 */
export function pruneAccepted(
  accepted: UserState['accepted'],
  knownIds: ReadonlySet<string>,
): UserState['accepted'] {
  const surplus = Object.keys(accepted).length - ACCEPTED_MAX;
  if (surplus <= 0) return accepted;
  const dropped = new Set(
    Object.entries(accepted)
      .filter(([id]) => !knownIds.has(id))
      .toSorted(([, [, atA]], [, [, atB]]) => atA - atB)
      .slice(0, surplus)
      .map(([id]) => id),
  );
  return Object.fromEntries(Object.entries(accepted).filter(([id]) => !dropped.has(id)));
}

/** The verdict recorded for an attempt id in the last 10 s, if any. */
export function findAttempt(
  state: UserState,
  attemptId: string,
  nowMs: number,
): StoredAttempt | null {
  const id = shortId(attemptId);
  return recentAttempts(state.attempts, nowMs).find((attempt) => attempt.id === id) ?? null;
}

/** The last recorded 8 attempts of the last 10 s, in the order they were recorded. */
export function recentAttempts(attempts: readonly StoredAttempt[], nowMs: number): StoredAttempt[] {
  return attempts
    .filter((attempt) => {
      const ageMs = nowMs - attempt.at;
      return ageMs < ATTEMPTS_KEPT_MS && ageMs > -CLOCK_DIFFERENCE_MAX_MS;
    })
    .slice(-ATTEMPTS_MAX);
}

/** What may still be good somewhere. */
export function unexpiredSpent(spent: UserState['spent'], nowMs: number): Record<string, Spent> {
  const kept = Object.entries(spent ?? {}).filter(([, [until]]) => !isLongOver(until, nowMs));
  return Object.fromEntries(kept);
}

/** Over at this Unix second by any clock that verifies. */
export function isLongOver(untilSeconds: number, nowMs: number): boolean {
  return untilSeconds * 1000 < nowMs - SPENT_KEPT_LONGER_MS;
}

/** The texts of the last day, newest last. */
export function recentTexts(texts: UserState['texts'], nowMs: number): number[] {
  const since = nowMs / 1000 - DAY_SECONDS;
  return (texts ?? []).filter((at) => at > since).slice(-TEXTS_MAX);
}
