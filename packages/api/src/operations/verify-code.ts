import { randomUUID } from 'node:crypto';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import { holdUntilNextMark } from '../hold-until-next-mark.ts';
import type { ApiPorts, Caller, VerificationOutcome } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { idempotencyKeyOf } from '../run-command.ts';
import { ipAddress, name, noQuery, problemReply, username } from '../schemas.ts';

const verificationReply = z.object({
  id: z.string(),
  status: z.enum(['approved', 'denied']),
  /** Only for keys with the scope `reasons:read`. */
  reason: z.string().optional(),
  /** Always false in a denial to a key without the scope `reasons:read`. */
  degraded: z.boolean(),
});
type VerificationReply = z.infer<typeof verificationReply>;

export function verifyCode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/verifications',
    {
      config: { access: { scope: 'verify', isConfirmedLater: true } },
      schema: {
        summary: 'Verify a code of a user',
        tags: ['verifications'],
        querystring: noQuery,
        body: z.strictObject({
          username,
          code: z.string().max(128).optional(),
          method: z.literal('oath').optional(),
          application: name.optional(),
          clientIp: ipAddress.optional(),
        }),
        response: { 200: verificationReply, ...problemReply },
      },
    },
    async (request): Promise<VerificationReply> => {
      const { body } = request;
      const caller = callerOf(request);
      if (body.clientIp !== undefined && !caller.scopes.has('assert:client-ip')) {
        throw new ProblemError(403, 'forbidden', 'clientIp needs the scope assert:client-ip.');
      }
      const allowedApplication = applicationFor(caller, body.application);
      const idempotencyKey = idempotencyKeyOf(request);
      if (body.code === undefined || body.code === '') {
        throw new ProblemError(422, 'code_required', 'This server needs a code to verify.');
      }
      if (ports.verify === undefined) {
        throw new ProblemError(503, 'not_ready', 'Nothing is verified at this address.');
      }

      const outcome = await ports.verify({
        caller,
        username: body.username,
        code: body.code,
        application: allowedApplication,
        clientIp: body.clientIp ?? null,
        remoteAddress: request.remoteAddress,
        idempotencyKey,
      });
      if (caller.scopes.has('reasons:read')) return tell(outcome);

      const reply = tellStranger(outcome);
      if (reply.status === 'denied') await holdUntilNextMark(request.startedAtMs);
      return reply;
    },
  );
}

// A key bound to one application speaks for that one; bound to several it has to say which.
function applicationFor(caller: Caller, asked: string | undefined): string | null {
  if (caller.applications === null) return asked ?? null;
  const only = caller.applications.length === 1 ? caller.applications[0] : undefined;
  const named = asked ?? only;
  if (named === undefined || !caller.applications.includes(named)) {
    throw new ProblemError(403, 'forbidden', 'This key may not speak for that application.');
  }
  return named;
}

function tell(outcome: VerificationOutcome): VerificationReply {
  if (outcome.kind === 'not_ready') throw new ProblemError(503, 'not_ready', outcome.detail);
  if (outcome.kind === 'conflict') {
    throw new ProblemError(
      422,
      'idempotency_conflict',
      'The same Idempotency-Key came with another request.',
    );
  }
  const { id, approved, degraded, reason } = outcome;
  if (approved) return { id, status: 'approved', degraded };
  return { id, status: 'denied', degraded, ...(reason === undefined ? {} : { reason }) };
}

/**
 * All denials look alike. A conflict is one of them here: it can only be noticed for users who exist,
 * so telling it apart would tell who does.
 */
function tellStranger(outcome: VerificationOutcome): VerificationReply {
  if (outcome.kind === 'conflict') return { id: randomUUID(), status: 'denied', degraded: false };
  if (outcome.kind === 'verdict' && !outcome.approved) {
    return { id: outcome.id, status: 'denied', degraded: false };
  }
  return tell(outcome);
}
