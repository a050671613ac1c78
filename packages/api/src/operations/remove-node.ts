import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { name, noQuery, problemReply, writeReply } from '../schemas.ts';

export function removeNode(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/cluster/nodes/:node',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Forget a node that is gone for good',
        tags: ['cluster'],
        querystring: noQuery,
        params: z.object({ node: name }),
        response: { 200: z.looseObject(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.remove-node',
        args: { ...request.params },
      });
      return { ...result, revision, applied };
    },
  );
}
