import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { name, noQuery, problemReply, writeReply } from '../schemas.ts';

export function replaceNode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/nodes/:node/replace',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: "Put another node's log server in the place of one that is gone",
        tags: ['cluster'],
        querystring: noQuery,
        params: z.object({ node: name }),
        body: z.strictObject({ by: name }),
        response: { 200: z.looseObject(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.replace-node',
        args: { ...request.params, ...request.body },
      });
      return { ...result, revision, applied };
    },
  );
}
