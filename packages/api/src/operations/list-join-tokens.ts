import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

const joinTokens = z.array(
  z.object({
    id: z.string(),
    role: z.string(),
    createdAt: timestamp,
    expiresAt: timestamp,
    isUsed: z.boolean(),
  }),
);

export function listJoinTokens(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/cluster/join-tokens',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'All join tokens that are not cleared away yet, without their secrets',
        description: 'Asked of the master, who alone can read them.',
        tags: ['cluster'],
        querystring: noQuery,
        response: { 200: z.object({ joinTokens }), ...problemReply },
      },
    },
    async (request) => {
      const { result } = await runCommand(ports, request, { name: 'join-token.list', args: {} });
      return { joinTokens: joinTokens.parse(result.joinTokens) };
    },
  );
}
