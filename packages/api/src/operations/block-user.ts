import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runStop } from '../run-command.ts';
import {
  noQuery,
  plainText,
  problemReply,
  replyToStop,
  stoppedReply,
  usernameParams,
} from '../schemas.ts';
import { replyToUserWrite, userWriteReply } from '../user-write-reply.ts';

export function blockUser(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/block',
    {
      config: { access: { scope: ['users:write', 'users:help'] } },
      schema: {
        summary:
          'Block a user: every verification is denied until unblocked or the days (90 unless set or said otherwise) are over',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({
          reason: plainText({ minBytes: 1, maxBytes: 500 }),
          days: z.int().min(1).max(3650).optional(),
        }),
        response: { 200: userWriteReply, 202: stoppedReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { username } = request.params;
      const done = await runStop(ports, request, {
        name: 'user.block',
        args: { username, ...request.body },
      });
      if ('asStopFact' in done) return reply.code(202).send(replyToStop(done));
      return replyToUserWrite(ports, done, username);
    },
  );
}
