import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export function demoteMaster(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/demote',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Let the master hand over to the most caught-up promotable node',
        tags: ['cluster'],
        querystring: noQuery,
        body: z.strictObject({}).nullish(),
        response: { 200: z.looseObject(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.demote',
        args: {},
      });
      return { ...result, revision, applied };
    },
  );
}
