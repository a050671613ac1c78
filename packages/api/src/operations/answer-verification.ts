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
import { typed } from './begin-verification.ts';

export const verificationParams = z.strictObject({ id: z.uuid().lowercase() });
/** Longer than any challenge is. */
export const sealedChallenge = z.string().min(1).max(256);

export function answerVerification(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/verifications/:id/answer',
    {
      config: { access: { scope: 'verify', isConfirmedLater: true } },
      schema: {
        summary: 'Answer the question of a verification, on any node',
        tags: ['verifications'],
        params: verificationParams,
        querystring: noQuery,
        body: z.strictObject({
          code: typed,
          /** As the reply to the beginning brought it. */
          challenge: sealedChallenge,
          pin: typed.optional(),
          newPin: typed.optional(),
          /** If given, it must be the one who was asked. */
          username: username.optional(),
          application: name.optional(),
          clientIp: ipAddress.optional(),
        }),
        response: { 200: verificationReply, ...problemReply },
      },
    },
    async (request): Promise<VerificationReply> => {
      const { body, params } = request;
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
        username: body.username ?? null,
        door: 'http',
        code: body.code,
        pin: body.pin ?? null,
        newPin: body.newPin ?? null,
        method: null,
        challenge: { id: params.id, sealed: body.challenge },
        application,
        clientIp: body.clientIp ?? null,
        remoteAddress: request.remoteAddress,
        idempotencyKey,
      });
      return replyToCaller(caller, outcome, request.startedAtMs);
    },
  );
}
