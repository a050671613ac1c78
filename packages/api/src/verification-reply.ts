import { z } from 'zod';
import { holdUntilNextMark } from './hold-until-next-mark.ts';
import type { Caller, VerificationOutcome } from './ports.ts';
import { ProblemError } from './problem.ts';
import { timestamp } from './schemas.ts';

export const verificationReply = z.object({
  id: z.string(),
  /** `challenge`: the person is asked something; `pending`: the answer comes from elsewhere. */
  status: z.enum(['approved', 'denied', 'challenge', 'pending']),
  /** Of a denial; only for keys with the scope `reasons:read`. */
  reason: z.string().optional(),
  /** Why nothing was asked: `exempt`, `trusted_ip`, `cached`, `bypass`. */
  skipped: z.string().optional(),
  /** Bring it back with the answer. It says nothing to anybody else. */
  challenge: z.string().optional(),
  method: z.string().optional(),
  mode: z.string().optional(),
  /** What the answer has to bring: `code`, `pin`. */
  asks: z.array(z.string()).optional(),
  /** Where a code went, but for its last digits hidden. */
  sentTo: z.string().optional(),
  expiresAt: timestamp.optional(),
  /** Always false in a denial to a key without the scope `reasons:read`. */
  degraded: z.boolean(),
});
export type VerificationReply = z.infer<typeof verificationReply>;

/** What the caller may know; denials and questions to strangers leave at fixed marks, all alike. */
export async function replyToCaller(
  caller: Caller,
  outcome: Told,
  startedAtMs: number,
): Promise<VerificationReply> {
  if (caller.scopes.has('reasons:read')) return tell(outcome);
  const reply = tellStranger(outcome);
  // A question too: one to nobody takes another way than one to somebody.
  if (reply.status !== 'approved') await holdUntilNextMark(startedAtMs);
  return reply;
}

// A key bound to one application speaks for that one; bound to several it has to say which.
export function applicationFor(caller: Caller, asked: string | undefined): string | null {
  if (caller.applications === null) return asked ?? null;
  const only = caller.applications.length === 1 ? caller.applications[0] : undefined;
  const named = asked ?? only;
  if (named === undefined || !caller.applications.includes(named)) {
    throw new ProblemError(403, 'forbidden', 'This key may not speak for that application.');
  }
  return named;
}

type Told = VerificationOutcome | { kind: 'open'; id: string };

function tell(outcome: Told): VerificationReply {
  if (outcome.kind === 'open') return { id: outcome.id, status: 'challenge', degraded: false };
  if (outcome.kind === 'not_ready') throw new ProblemError(503, 'not_ready', outcome.detail);
  if (outcome.kind === 'conflict') {
    throw new ProblemError(
      422,
      'idempotency_conflict',
      'The same Idempotency-Key came with another request.',
    );
  }
  if (outcome.kind === 'challenge') {
    const { id, sealed, method, mode, asks, sentTo, expiresAt, degraded } = outcome;
    const question = { challenge: sealed, method, mode, asks: [...asks], expiresAt };
    return { id, status: 'challenge', ...question, ...(sentTo && { sentTo }), degraded };
  }
  const { id, approved, degraded, reason, skipped } = outcome;
  if (approved) return { id, status: 'approved', ...(skipped && { skipped }), degraded };
  return { id, status: 'denied', degraded, ...(reason && { reason }) };
}

/**
 * All denials look alike. A conflict is one of them here: it can only be noticed for users who exist,
 * so telling it apart would tell who does.
 */
function tellStranger(outcome: Told): VerificationReply {
  const isDenied = outcome.kind === 'verdict' && !outcome.approved;
  if (outcome.kind === 'conflict' || isDenied) {
    return { id: outcome.id, status: 'denied', degraded: false };
  }
  return tell(outcome);
}
