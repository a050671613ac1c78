import type { Right } from '@countersign/verification';
import type { ApiServer } from './api-server.ts';
import type { ApiPorts, CommandName } from './ports.ts';
import { runCommand } from './run-command.ts';
import { noQuery, problemReply, usernameParams } from './schemas.ts';
import { replyToUserWrite, userWriteReply } from './user-write-reply.ts';

/** DELETE of what a user was given: the path says all there is to say. */
export function takeFromUser(
  api: ApiServer,
  ports: ApiPorts,
  {
    path,
    summary,
    command,
    scope = 'users:write',
  }: {
    path: `/api/v1/users/:username/${string}`;
    summary: string;
    command: CommandName;
    scope?: Right | readonly Right[];
  },
): void {
  api.delete(
    path,
    {
      config: { access: { scope } },
      schema: {
        summary,
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: { 200: userWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { username } = request.params;
      const done = await runCommand(ports, request, { name: command, args: { username } });
      return replyToUserWrite(ports, done, username);
    },
  );
}
