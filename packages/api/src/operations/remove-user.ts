import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, usernameParams, writeReply } from '../schemas.ts';

export function removeUser(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/users/:username',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Remove a user with all authenticators',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      return runCommand(ports, request, { name: 'user.remove', args: { username } });
    },
  );
}
