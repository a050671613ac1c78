import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { name, noQuery, problemReply, writeReply } from '../schemas.ts';

export function promoteNode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/promote',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Make a node the master: a hand-over while there is one, else a takeover',
        tags: ['cluster'],
        querystring: noQuery,
        body: z.strictObject({ node: name }),
        response: { 200: z.looseObject(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.promote',
        args: request.body,
      });
      return { ...result, revision, applied };
    },
  );
}
