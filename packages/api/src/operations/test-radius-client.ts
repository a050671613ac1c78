import { createHash, randomUUID } from 'node:crypto';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import { RADIUS_TEST_STEPS, type ApiPorts, type RadiusTestReport } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { findRadiusClient, radiusFrontOf, radiusParams } from '../radius-view.ts';
import { idempotencyKeyOf } from '../run-command.ts';
import { ipAddress, noQuery, plainText, problemReply } from '../schemas.ts';
import { applicationFor } from '../verification-reply.ts';

const typed = z.string().min(1).max(128);
const attribute = plainText({ minBytes: 1, maxBytes: 253 });

const report = z.object({
  id: z.string().describe('Names the test: send it back with the answer to its question.'),
  node: z.string(),
  steps: z.array(
    z.object({
      step: z.enum(RADIUS_TEST_STEPS),
      ok: z.boolean(),
      text: z.string(),
      tookMs: z.number().nullable(),
    }),
  ),
  outcome: z.enum(['accept', 'reject', 'challenge', 'unanswered']),
  reason: z.string().nullable().describe('As it was judged; clients are told less.'),
  question: z.object({ text: z.string(), state: z.string() }).nullable(),
  attributes: z
    .array(z.object({ name: z.string(), value: z.string() }))
    .describe('Of the reply; what is secret is stars.'),
  tookMs: z.number(),
}) satisfies z.ZodType<RadiusTestReport>;

/** Whoever may write clients may share a secret with one and ask as it; this says why, too. */
export function testRadiusClient(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/radius/clients/:name/tests',
    {
      // Somebody may have to find their telephone.
      handlerTimeout: 43_000,
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Sign somebody in as a RADIUS client would, at the node that is asked',
        description:
          'A real sign-in, which counts like any other, and says step by step what happened. Needs the scope ' +
          '`reasons:read` too.',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        body: z.strictObject({
          username: attribute,
          password: typed.optional(),
          code: typed
            .optional()
            .describe('As people type it: with the password, alone, or for the question.'),
          answer: z
            .strictObject({ id: z.uuid(), state: z.base64().max(340), code: typed })
            .optional()
            .describe('To the question of an earlier test, in place of password and code.'),
          from: ipAddress
            .optional()
            .describe("The address that it shall look to come from; default: the client's first."),
          station: attribute.optional().describe('Calling-Station-Id.'),
        }),
        response: { 200: report, ...problemReply },
      },
    },
    async (request) => {
      const caller = callerOf(request);
      if (!caller.scopes.has('reasons:read')) {
        throw new ProblemError(403, 'forbidden', 'This needs a key with the scope reasons:read.');
      }
      const front = radiusFrontOf(ports);
      const client = findRadiusClient(await ports.readSettings(), request.params.name);
      applicationFor(caller, client.application);
      const { username, password = null, code = null, answer, from, station } = request.body;
      return front.test({
        client,
        id: answer?.id ?? testIdOf(request),
        username,
        password,
        code,
        answer: answer ?? null,
        from: from ?? null,
        station: station ?? null,
        actor: caller.name,
      });
    },
  );
}

/** Sent again, it is the same sign-in, and counts once. */
function testIdOf(request: FastifyRequest): string {
  const key = idempotencyKeyOf(request);
  if (key === null) return randomUUID();
  const bytes = createHash('sha256')
    .update(`${callerOf(request).id}\0${key}`)
    .digest();
  bytes[6] = (bytes[6]! & 0x0f) | 0x80;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = bytes.toString('hex');
  return hex.slice(0, 32).replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, '$1-$2-$3-$4-$5');
}
