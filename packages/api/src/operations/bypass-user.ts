import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, reason, usernameParams } from '../schemas.ts';
import { takeFromUser } from '../take-from-user.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

const PATH = '/api/v1/users/:username/bypass';

export function bypassUser(api: ApiServer, ports: ApiPorts): void {
  api.post(
    PATH,
    {
      config: { access: { scope: ['users:write', 'users:help'] } },
      schema: {
        summary: 'Let a user in once without a second step; for 300 s unless set or said otherwise',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ reason, seconds: z.int().min(10).max(86_400).optional() }),
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const args = { username, ...request.body };
      const done = await runCommand(ports, request, { name: 'user.bypass', args });
      return replyToUserWrite(ports, done, username);
    },
  );

  takeFromUser(api, ports, {
    path: PATH,
    summary: 'Take back a bypass that was not used',
    command: 'user.end-bypass',
    scope: ['users:write', 'users:help'],
  });
}
