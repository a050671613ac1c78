import { METHODS } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runVerification } from '../run-verification.ts';
import { ipAddress, name, noQuery, problemReply, username } from '../schemas.ts';
import { verificationReply } from '../verification-reply.ts';

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
          password: z
            .string()
            .min(1)
            .max(256)
            .optional()
            .describe(
              "Checked by the user's directory first: nothing is asked or judged until it is right.",
            ),
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
    (request) =>
      runVerification(ports, request, {
        username: request.body.username,
        password: request.body.password ?? null,
        code: request.body.code || null,
        method: request.body.method ?? null,
        challenge: null,
      }),
  );
}
