import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export function revokeJoinToken(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/cluster/join-tokens/:id',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Revoke a join token',
        tags: ['cluster'],
        params: z.strictObject({ id: z.uuid().lowercase() }),
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { revision, applied } = await runCommand(ports, request, {
        name: 'join-token.revoke',
        args: request.params,
      });
      return { revision, applied };
    },
  );
}
