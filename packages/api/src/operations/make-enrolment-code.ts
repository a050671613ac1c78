import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, timestamp, usernameParams, writeReply } from '../schemas.ts';

export function makeEnrolmentCode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/enrolment-code',
    {
      config: { access: { scope: ['users:write', 'users:help'] } },
      schema: {
        summary: 'Make a code that enrols one authenticator of a user; it is shown only here',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ days: z.int().min(1).max(90).optional() }).nullish(),
        response: {
          // null to a repeat where it was spent or replaced meanwhile.
          201: z.object({
            code: z.string().nullable(),
            expiresAt: timestamp.nullable(),
            ...writeReply,
          }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'user.make-enrolment-code',
        args: { username: request.params.username, ...request.body },
      });
      const textOf = (value: unknown) => (typeof value === 'string' ? value : null);
      const [code, expiresAt] = [textOf(result.code), textOf(result.expiresAt)];
      return reply.code(201).send({ code, expiresAt, revision, applied });
    },
  );
}
