import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, usernameParams } from '../schemas.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

export function unblockUser(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/unblock',
    {
      config: { access: { scope: ['users:write', 'users:help'] } },
      schema: {
        summary: 'Lift a block and a lockout of a user',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({}).nullish(),
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const done = await runCommand(ports, request, { name: 'user.unblock', args: { username } });
      return replyToUserWrite(ports, done, username);
    },
  );
}
