import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, pinText, problemReply, usernameParams } from '../schemas.ts';
import { takeFromUser } from '../take-from-user.ts';
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
        body: z
          .strictObject({
            pin: pinText.optional(),
            mustChange: z.boolean().default(true),
            /** Instead of `pin`: the server makes one and mails it to the user. */
            mail: z.literal(true).optional(),
          })
          .refine(({ pin, mail }) => (pin === undefined) !== (mail === undefined), {
            message: 'either pin or mail',
          }),
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

  takeFromUser(api, ports, {
    path: PATH,
    summary: "Remove a user's PIN",
    command: 'user.remove-pin',
  });
}
