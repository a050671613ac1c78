import { z } from 'zod';
import type { UserDocument } from './documents.ts';
import { SESSION_HOURS } from './administrator.ts';
import { id, instant } from './document-fields.ts';
import { isSafeText } from './safe-text.ts';

/**
 * `user` blocks a person, `api-key` revokes a key, `administrator` removes one, `session` ends one session of theirs, or
 * by the administrator's id all that were made before. Nothing makes `device` yet.
 */
export const STOP_FACT_KINDS = ['user', 'api-key', 'administrator', 'device', 'session'] as const;
export type StopFactKind = (typeof STOP_FACT_KINDS)[number];

/** Of one user, in force at a time, as one node knows them. */
export const STOP_FACTS_PER_USER_MAX = 16;
/** Accepted by one node within a minute. */
export const STOP_FACTS_PER_MINUTE_MAX = 60;
export const STOP_REASON_MAX_BYTES = 500;

function text(maxBytes: number) {
  return z
    .string()
    .min(1)
    .refine((value) => Buffer.byteLength(value) <= maxBytes, `has more than ${maxBytes} bytes`)
    .refine(isSafeText, 'has control, invisible or broken characters');
}

/** Fields that a later version adds are carried along, so that an older node stops what it can read. */
const stopFact = z
  .looseObject({
    id,
    kind: z.enum(STOP_FACT_KINDS),
    /** Id of the user, key, device or session. */
    subject: text(128),
    reason: text(STOP_REASON_MAX_BYTES),
    /** Who said so. */
    by: text(256),
    /** The node that accepted it. */
    node: text(63),
    at: instant,
    /** null: for good. */
    expiresAt: instant.nullable(),
  })
  .refine(
    ({ kind, subject }) => kind === 'device' || kind === 'session' || id.safeParse(subject).success,
    'the subject is no id',
  );

/**
 * "This must not go on", accepted by any node without master or log. It is never changed and never taken back: it
 * counts until it expires or a change of its subject lists its id as lifted.
 */
export type StopFact = z.infer<typeof stopFact>;

export class StopFactError extends Error {
  override readonly name = 'StopFactError';
}

/** @throws StopFactError naming each wrong field, never its value */
export function parseStopFact(value: unknown): StopFact {
  const parsed = stopFact.safeParse(value);
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues
    .slice(0, 5)
    .map((issue) => `${issue.path.join('.') || 'fact'}: ${issue.message}`);
  throw new StopFactError(`not a stop fact: ${problems.join('; ')}`);
}

/** Clocks of nodes that take stop facts and sessions differ by less. */
export const CLOCKS_DIFFER_MS = 60_000;
/** All sessions of before are over by then. */
const SESSION_FACT_LASTS_MS = (SESSION_HOURS + 1) * 3_600_000;

/**
 * A fact as it is kept that another node told. It stops at once whatever that node's clock says; but dated from the
 * future it would go on stopping what begins later: sessions of next year, and that node's next facts.
 * @throws StopFactError
 */
export function takeStopFact(value: unknown, nowMs = Date.now()): StopFact {
  const fact = parseStopFact(value);
  const isAhead = Date.parse(fact.at) > nowMs + CLOCKS_DIFFER_MS;
  const at = isAhead ? new Date(nowMs).toISOString() : fact.at;
  if (fact.kind !== 'session') return { ...fact, at };
  const lastMs = Date.parse(at) + SESSION_FACT_LASTS_MS;
  const isLonger = fact.expiresAt === null || Date.parse(fact.expiresAt) > lastMs;
  return { ...fact, at, expiresAt: isLonger ? new Date(lastMs).toISOString() : fact.expiresAt };
}

/** Those of a user's facts that count now. */
export function stopFactsInForce(
  user: Pick<UserDocument, 'liftedStopFacts'>,
  facts: readonly StopFact[],
  nowMs: number,
): StopFact[] {
  const lifted = new Set(user.liftedStopFacts);
  return facts.filter(
    ({ id, expiresAt }) => !lifted.has(id) && (expiresAt === null || Date.parse(expiresAt) > nowMs),
  );
}

/** The user as facts leave them: blocked by whatever lasts longest. */
export function withStopFacts(
  user: UserDocument,
  facts: readonly StopFact[],
  nowMs: number,
): UserDocument {
  let { blocked } = user;
  for (const fact of stopFactsInForce(user, facts, nowMs)) {
    const block = blockOf(fact);
    if (!blocked || Date.parse(blocked.expiresAt) < Date.parse(block.expiresAt)) blocked = block;
  }
  return blocked === user.blocked ? user : { ...user, blocked };
}

/** What a change makes of a fact: its id is remembered, so that no second change is made of it. */
export function absorbStopFact(user: UserDocument, fact: StopFact): UserDocument {
  if (user.liftedStopFacts?.includes(fact.id) || user.blocked?.stopFacts?.includes(fact.id)) {
    return user;
  }
  const { blocked } = withStopFacts({ ...user, liftedStopFacts: [] }, [fact], 0);
  const stopFacts = [...(user.blocked?.stopFacts ?? []), fact.id];
  return { ...user, blocked: { ...blocked!, stopFacts } };
}

/** The user with these facts, and those the block was made of, lifted. */
export function liftStopFacts(user: UserDocument, ids: readonly string[]): UserDocument {
  const before = user.liftedStopFacts ?? [];
  const lifted = [...new Set([...before, ...(user.blocked?.stopFacts ?? []), ...ids])];
  return lifted.length === before.length ? user : { ...user, liftedStopFacts: lifted };
}

const FOR_GOOD = '9999-12-31T23:59:59.999Z';

function blockOf({ reason, at, by, expiresAt }: StopFact): NonNullable<UserDocument['blocked']> {
  return { reason, at, by, expiresAt: expiresAt ?? FOR_GOOD };
}
