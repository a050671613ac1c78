import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username, usernameParams } from '../schemas.ts';
import { userFields } from '../user-fields.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

export function setUser(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/users/:username',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Change a user: names, mail address, enabled, method, modes, language',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ username: username.optional(), ...userFields }),
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { body, params } = request;
      if (Object.keys(body).length === 0) throw invalidRequest('body names nothing to change');
      const done = await runCommand(ports, request, {
        name: 'user.set',
        args: { username: params.username, changes: body },
      });
      return replyToUserWrite(ports, done, body.username ?? params.username);
    },
  );
}
