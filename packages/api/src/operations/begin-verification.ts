import { METHODS } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import type { ApiPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { idempotencyKeyOf } from '../run-command.ts';
import { ipAddress, name, noQuery, problemReply, username } from '../schemas.ts';
import {
  applicationFor,
  replyToCaller,
  verificationReply,
  type VerificationReply,
} from '../verification-reply.ts';

/** What is typed: never longer, so that hashing it costs nothing. */
export const typed = z.string().min(1).max(128);

export function beginVerification(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/verifications',
    {
      config: { access: { scope: 'verify', isConfirmedLater: true } },
      schema: {
        summary: 'Verify a user: with a code at once, or by the question that the reply brings',
        tags: ['verifications'],
        querystring: noQuery,
        body: z.strictObject({
          username,
          /** Of a token, or a recovery code. Left out: the user is asked. */
          code: z.string().max(128).optional(),
          method: z.enum(METHODS).optional(),
          pin: typed.optional(),
          /** Takes the PIN's place, if that has to be changed. */
          newPin: typed.optional(),
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
      const application = applicationFor(caller, body.application);
      const idempotencyKey = idempotencyKeyOf(request);
      if (ports.verify === undefined) {
        throw new ProblemError(503, 'not_ready', 'Nothing is verified at this address.');
      }
      const outcome = await ports.verify({
        caller,
        username: body.username,
        door: 'http',
        code: body.code === undefined || body.code === '' ? null : body.code,
        pin: body.pin ?? null,
        newPin: body.newPin ?? null,
        method: body.method ?? null,
        challenge: null,
        application,
        clientIp: body.clientIp ?? null,
        remoteAddress: request.remoteAddress,
        idempotencyKey,
      });
      return replyToCaller(caller, outcome, request.startedAtMs);
    },
  );
}
