import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { name, problemReply, timestamp, writeReply } from '../schemas.ts';

/** As the master answers. */
const removed = z.object({
  removed: z.string(),
  keysRotate: z.boolean(),
  isWitness: z.boolean(),
  isOnline: z.boolean(),
  isLogServer: z.boolean(),
  joinTokens: z.array(z.string()),
  invitations: z.array(z.string()),
  apiKeys: z.array(z.object({ id: z.string(), name: z.string(), createdAt: timestamp })),
});

export function removeNode(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/cluster/nodes/:node',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Shut a node out for good, and forget it',
        description:
          'A node that is heard, or that is a log server, only with `evenOnline=true`, and not the master. Its credentials end, ' +
          "the cluster's key is changed, and open join tokens and invitations are taken back. The answer lists the API keys " +
          'that somebody should look through.',
        tags: ['cluster'],
        querystring: z.strictObject({ evenOnline: z.enum(['true', 'false']).default('false') }),
        params: z.object({ node: name }),
        response: {
          200: removed.extend(writeReply),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.remove-node',
        args: { ...request.params, evenOnline: request.query.evenOnline === 'true' },
      });
      return { ...(result as z.output<typeof removed>), revision, applied };
    },
  );
}
