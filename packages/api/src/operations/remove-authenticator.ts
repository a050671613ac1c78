import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username, writeReply } from '../schemas.ts';

export function removeAuthenticator(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/users/:username/authenticators/:id',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: "Remove one of a user's authenticators",
        tags: ['authenticators'],
        params: z.strictObject({ username, id: z.guid() }),
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { username: owner, id } = request.params;
      return runCommand(ports, request, {
        name: 'authenticator.remove',
        args: { username: owner, id },
      });
    },
  );
}
