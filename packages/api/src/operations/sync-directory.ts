import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams } from '../directory-view.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function syncDirectory(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/directories/:name/sync',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Have the master synchronise a directory now; how far it is: GET of the same',
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        body: z.strictObject({
          full: z.boolean().default(false).describe('Everything is read, whatever changed.'),
          dryRun: z.boolean().default(false).describe('Nothing is written; the plan is told.'),
        }),
        response: {
          202: z.object({
            started: z.boolean().describe('false: one is running already.'),
          }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const args = { name: request.params.name, ...request.body };
      const { result } = await runCommand(ports, request, { name: 'directory.sync', args });
      return reply.code(202).send({ started: result.started !== false });
    },
  );
}
