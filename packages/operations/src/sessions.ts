import type { SessionRead } from '@countersign/database';
import { generationsOf, open, seal, sealedUnder, type PurposeKey } from '@countersign/keys';
import {
  CLOCKS_DIFFER_MS,
  SESSION_HOURS,
  SESSION_IDLE_MINUTES,
  type AdministratorDocument,
} from '@countersign/verification';
import { z } from 'zod';

/** Tells a session from an API key, which begins with `cs_`. */
export const SESSION_PREFIX = 'css_';
const RENEW_AFTER_MS = 5 * 60_000;

/** Times are Unix milliseconds. */
export type SessionClaims = {
  /** The same before and after a step-up. */
  id: string;
  administratorId: string;
  madeAt: number;
  secondFactorAt: number;
  /** When it was last said to be in use; 30 minutes later it is over. */
  usedAt: number;
  expiresAt: number;
};

/** `session-proof`: of agents alone. Whoever lacks it can read sessions, and make none that an agent takes. */
export type SessionKeys = Record<'session' | 'session-proof', PurposeKey>;

export type LiveSession = { claims: SessionClaims; administrator: AdministratorDocument };

const claimsSchema = z.tuple([z.uuid(), z.uuid(), z.int(), z.int(), z.int(), z.int()]);

/** The bearer token: sealed for workers to read, with the agents' own seal in it. */
export function sealSession(keys: SessionKeys, claims: SessionClaims): string {
  const { id, administratorId, madeAt, secondFactorAt, usedAt, expiresAt } = claims;
  const fields = [id, administratorId, madeAt, secondFactorAt, usedAt, expiresAt];
  const text = JSON.stringify(fields);
  const proof = seal(keys['session-proof'], Buffer.alloc(0), text);
  const length = Buffer.of(proof.length);
  const sealed = seal(keys.session, Buffer.concat([length, proof, Buffer.from(text)]), 'session');
  return `${SESSION_PREFIX}${sealed.toString('base64url')}`;
}

/** Null: nothing that was sealed under these keys, or not by an agent where its key is given. */
export function openSession(
  keys: Pick<SessionKeys, 'session'> & Partial<SessionKeys>,
  token: string,
): SessionClaims | null {
  if (!token.startsWith(SESSION_PREFIX)) return null;
  try {
    const sealed = Buffer.from(token.slice(SESSION_PREFIX.length), 'base64url');
    const opened = open(keys.session, sealed, 'session');
    const proofEnd = 1 + opened[0]!;
    const text = opened.toString('utf8', proofEnd);
    if (keys['session-proof']) open(keys['session-proof'], opened.subarray(1, proofEnd), text);
    const [id, administratorId, madeAt, secondFactorAt, usedAt, expiresAt] = claimsSchema.parse(
      JSON.parse(text),
    );
    return { id, administratorId, madeAt, secondFactorAt, usedAt, expiresAt };
  } catch {
    return null;
  }
}

/** Whether it was made before the cluster's key was changed: such a session says nothing any more. */
export function isOfOldKey({ session }: Pick<SessionKeys, 'session'>, token: string): boolean {
  if (!token.startsWith(SESSION_PREFIX)) return false;
  const madeUnder = sealedUnder(Buffer.from(token.slice(SESSION_PREFIX.length), 'base64url'));
  return madeUnder !== null && generationsOf(session).every(({ keyId }) => keyId !== madeUnder);
}

/**
 * The session if it counts now, read anew at each use: of somebody who is there and not disabled, with the credentials it
 * was made by, not revoked, not from before a disaster (security rules 15 and 30).
 */
export async function authenticateSession(
  {
    keys,
    read,
  }: {
    keys: Parameters<typeof openSession>[0];
    read(of: { administratorId: string; sessionId: string }): Promise<SessionRead>;
  },
  token: string,
  nowMs: number,
): Promise<LiveSession | null> {
  const claims = openSession(keys, token);
  if (!claims || nowMs >= claims.expiresAt || isIdle(claims, nowMs)) return null;
  const { id: sessionId, administratorId, madeAt } = claims;
  const found = await read({ administratorId, sessionId });
  const { administrator } = found;
  if (!administrator?.credentials || administrator.disabled) return null;
  if (found.stopFacts.some(({ subject }) => subject === sessionId)) return null;
  return madeAt > validSince(found) ? { claims, administrator } : null;
}

function isIdle({ usedAt }: SessionClaims, nowMs: number): boolean {
  return nowMs >= usedAt + SESSION_IDLE_MINUTES * 60_000;
}

/** Whether its holder is to be given it anew, so that it does not end while it is in use. */
export function isDueForRenewal({ usedAt }: SessionClaims, nowMs: number): boolean {
  return nowMs >= usedAt + RENEW_AFTER_MS;
}

/** What is made at or before this moment, in Unix milliseconds, is over. */
function validSince({ administrator, stopFacts, disasterAtMs }: SessionRead): number {
  const moments = [
    Date.parse(administrator?.credentials?.since ?? ''),
    Date.parse(administrator?.sessionsSince ?? ''),
    disasterAtMs ?? NaN,
    ...stopFacts.map(({ at }) => Date.parse(at)),
  ];
  // One of a node whose clock is ahead must not outlive its end.
  return Math.max(
    0,
    ...moments.filter((ms) => !Number.isNaN(ms)).map((ms) => ms + CLOCKS_DIFFER_MS),
  );
}

/** A session of whoever has just shown both factors. Made after an end that was heard of, it counts at once. */
export function newSession(id: string, found: SessionRead, nowMs: number): SessionClaims {
  return {
    id,
    administratorId: found.administrator!.id,
    madeAt: Math.max(nowMs, validSince(found) + 1),
    secondFactorAt: nowMs,
    usedAt: nowMs,
    expiresAt: nowMs + SESSION_HOURS * 3_600_000,
  };
}
