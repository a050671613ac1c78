import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username, writeReply } from '../schemas.ts';

const params = z.strictObject({ username, id: z.guid() });
const code = z.string().min(1).max(32);

/** What is done with a token by codes that it shows. */
export function proveToken(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/authenticators/:id/activate',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Activate a token by a code of it, which is used up; 5 wrong codes in 10 minutes',
        tags: ['authenticators'],
        params,
        querystring: noQuery,
        body: z.strictObject({ code }),
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied } = await runCommand(ports, request, {
        name: 'authenticator.activate',
        args: { ...request.params, ...request.body },
      });
      return { revision, applied };
    },
  );

  api.post(
    '/api/v1/users/:username/authenticators/:id/resynchronise',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Find the counter of a hotp token again by two or three of its codes in a row',
        tags: ['authenticators'],
        params,
        querystring: noQuery,
        body: z.strictObject({ codes: z.array(code).min(2).max(3) }),
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied } = await runCommand(ports, request, {
        name: 'authenticator.resynchronise',
        args: { ...request.params, ...request.body },
      });
      return { revision, applied };
    },
  );
}
