import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand, type CommandDone } from '../run-command.ts';
import { name, noQuery, problemReply, usernameParams, writeReply } from '../schemas.ts';

export const enrolment = z.strictObject({
  type: z.enum(['totp', 'hotp', 'phone']),
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
  serial: name.optional(),
  manufacturer: name.optional(),
  model: name.optional(),
  /** It verifies nobody before it is activated by a code. */
  awaitsActivation: z.boolean().optional(),
  /** In full, like +31 6 1234 5678. */
  number: z.string().min(1).max(64).optional(),
  extension: z
    .string()
    .refine((text) => /^\d{1,10}$/.test(text), 'must be 1 to 10 digits')
    .optional(),
  use: z.enum(['primary', 'backup']).optional(),
});

const OF_PHONES = ['number', 'extension', 'use'] as const;
const OF_TOKENS = [
  'algorithm',
  'digits',
  'secret',
  'serial',
  'manufacturer',
  'model',
  'awaitsActivation',
  'periodSeconds',
  'initialCounter',
] as const;

/** What an enrolment asks of the wrong type, or null. */
export function misplacedField(asked: z.output<typeof enrolment>): string | null {
  const isPhone = asked.type === 'phone';
  const misplaced = (isPhone ? OF_TOKENS : OF_PHONES).find((field) => asked[field] !== undefined);
  if (misplaced) return `${misplaced} is ${isPhone ? 'not for phones' : 'for phones only'}`;
  if (isPhone && asked.number === undefined) return 'number is missing';
  if (asked.type === 'totp' && asked.initialCounter !== undefined) {
    return 'initialCounter is for hotp only';
  }
  if (asked.type === 'hotp' && asked.periodSeconds !== undefined) {
    return 'periodSeconds is for totp only';
  }
  return null;
}

export const enrolledReply = z.object({
  id: z.string(),
  otpauth: z.string().nullable(),
  ...writeReply,
});

export function replyToEnrolment(done: CommandDone): z.output<typeof enrolledReply> {
  const { revision, applied, result } = done;
  // A repeat finds none if the authenticator was removed meanwhile, and a phone has none.
  const otpauth = typeof result.otpauth === 'string' ? result.otpauth : null;
  return { id: String(result.id), otpauth, revision, applied };
}

export function enrollAuthenticator(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/authenticators',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary:
          'Register an OATH token or app, whose otpauth address is shown only here, or a phone',
        tags: ['authenticators'],
        params: usernameParams,
        querystring: noQuery,
        body: enrolment,
        response: {
          201: enrolledReply,
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const misplaced = misplacedField(body);
      if (misplaced) throw invalidRequest(misplaced);
      const done = await runCommand(ports, request, {
        name: 'authenticator.enroll',
        args: { username: request.params.username, ...body },
      });
      return reply.code(201).send(replyToEnrolment(done));
    },
  );
}
