import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { name, noQuery, problemReply, usernameParams, writeReply } from '../schemas.ts';

export const enrolment = z.strictObject({
  type: z.enum(['totp', 'hotp']),
  name: name.optional(),
  algorithm: z.enum(['SHA1', 'SHA256', 'SHA512']).optional(),
  digits: z.union([z.literal(6), z.literal(7), z.literal(8)]).optional(),
  periodSeconds: z.union([z.literal(30), z.literal(60)]).optional(),
  initialCounter: z
    .int()
    .min(0)
    .max(2 ** 48)
    .optional(),
  /** Base32; its strength is the master's to check. */
  secret: z.string().min(1).max(256).optional(),
});

/** What an enrolment asks of the wrong type, or null. */
export function misplacedField(asked: z.output<typeof enrolment>): string | null {
  if (asked.type === 'totp' && asked.initialCounter !== undefined) {
    return 'initialCounter is for hotp only';
  }
  if (asked.type === 'hotp' && asked.periodSeconds !== undefined) {
    return 'periodSeconds is for totp only';
  }
  return null;
}

export function enrollAuthenticator(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/authenticators',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Register an OATH token or app; the otpauth address is shown only here',
        tags: ['authenticators'],
        params: usernameParams,
        querystring: noQuery,
        body: enrolment,
        response: {
          201: z.object({ id: z.string(), otpauth: z.string().nullable(), ...writeReply }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const misplaced = misplacedField(body);
      if (misplaced) throw invalidRequest(misplaced);
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'authenticator.enroll',
        args: { username: request.params.username, ...body },
      });
      return reply.code(201).send({
        id: String(result.id),
        // A repeat finds none if the authenticator was removed meanwhile.
        otpauth: typeof result.otpauth === 'string' ? result.otpauth : null,
        revision,
        applied,
      });
    },
  );
}
