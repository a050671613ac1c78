import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runVerification } from '../run-verification.ts';
import { ipAddress, name, noQuery, problemReply, username } from '../schemas.ts';
import { verificationReply } from '../verification-reply.ts';
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
    (request) =>
      runVerification(ports, request, {
        username: request.body.username ?? null,
        password: null,
        code: request.body.code,
        method: null,
        challenge: { id: request.params.id, sealed: request.body.challenge },
      }),
  );
}
