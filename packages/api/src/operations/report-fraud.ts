import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import { holdUntilNextMark } from '../hold-until-next-mark.ts';
import type { ApiPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { runStop } from '../run-command.ts';
import { noQuery, plainText, problemReply, usernameParams } from '../schemas.ts';

const reply = z.object({
  reported: z.literal(true),
  /** Whether the user is blocked now; only for keys with the scope `reasons:read`. */
  blocked: z.boolean().optional(),
});

export function reportFraud(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/fraud',
    {
      config: { access: { scope: 'verify' } },
      schema: {
        summary: 'Report that a verification was not the user: blocks the user if so set',
        description:
          'Works without a master. Keys without the scope reasons:read are not told whether there is such a user.',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z
          .strictObject({ reason: plainText({ minBytes: 1, maxBytes: 400 }).optional() })
          .nullish(),
        response: { 200: reply, ...problemReply },
      },
    },
    async (request): Promise<z.output<typeof reply>> => {
      const isStranger = !callerOf(request).scopes.has('reasons:read');
      const args = { username: request.params.username, ...request.body };
      try {
        const done = await runStop(ports, request, { name: 'user.report-fraud', args });
        const blocked = 'asStopFact' in done || done.result.blocked === true;
        if (!isStranger) return { reported: true, blocked };
      } catch (error) {
        if (!isStranger || !isAboutUser(error)) throw error;
      }
      await holdUntilNextMark(request.startedAtMs);
      return { reported: true };
    },
  );
}

function isAboutUser(error: unknown): boolean {
  return error instanceof ProblemError && ['unknown_user', 'ambiguous_user'].includes(error.code);
}
