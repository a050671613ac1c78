import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, pinText, problemReply, usernameParams } from '../schemas.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

const PATH = '/api/v1/users/:username/pin';

export function setPin(api: ApiServer, ports: ApiPorts): void {
  api.put(
    PATH,
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: "Set a user's PIN, to be changed at its first use unless mustChange is false",
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ pin: pinText, mustChange: z.boolean().default(true) }),
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const args = { username, ...request.body };
      const done = await runCommand(ports, request, { name: 'user.set-pin', args });
      return replyToUserWrite(ports, done, username);
    },
  );

  api.delete(
    PATH,
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: "Remove a user's PIN",
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const done = await runCommand(ports, request, {
        name: 'user.remove-pin',
        args: { username },
      });
      return replyToUserWrite(ports, done, username);
    },
  );
}
