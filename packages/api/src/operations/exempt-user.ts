import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, reason, usernameParams } from '../schemas.ts';
import { takeFromUser } from '../take-from-user.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

const PATH = '/api/v1/users/:username/exemption';

export function exemptUser(api: ApiServer, ports: ApiPorts): void {
  api.put(
    PATH,
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: "Skip a user's second step until a moment at most 365 days away",
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ reason, until: z.iso.datetime().max(30) }),
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const args = { username, ...request.body };
      const done = await runCommand(ports, request, { name: 'user.exempt', args });
      return replyToUserWrite(ports, done, username);
    },
  );

  takeFromUser(api, ports, {
    path: PATH,
    summary: 'End the exemption of a user',
    command: 'user.end-exemption',
  });
}
