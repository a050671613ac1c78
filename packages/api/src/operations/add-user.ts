import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username } from '../schemas.ts';
import { userFields } from '../user-fields.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

export function addUser(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Add a user',
        tags: ['users'],
        querystring: noQuery,
        body: z.strictObject({ username, ...userFields }),
        response: { 201: userWriteReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { body } = request;
      const done = await runCommand(ports, request, { name: 'user.add', args: body });
      const asked = {
        displayName: body.displayName ?? null,
        email: body.email ?? null,
        enabled: body.enabled ?? true,
        blocked: null,
        lockedUntil: null,
        authenticators: [],
      };
      return reply
        .code(201)
        .send({ ...asked, ...(await replyToUserWrite(ports, done, body.username)) });
    },
  );
}
