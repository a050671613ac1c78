import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { problemReply, reason, writeReply } from '../schemas.ts';

export function rotateKeys(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/keys/rotate',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: "Change the cluster's key",
        description:
          'Every node gets another generation; then everything is sealed anew in the background, and the old generation is ' +
          'retired. `isNew: false`: that was under way already. `GET /api/v1/cluster` shows how far it is.',
        tags: ['cluster'],
        body: z.strictObject({ reason: reason.optional() }),
        response: {
          200: z.object({ ...writeReply, generation: z.string(), isNew: z.boolean() }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'cluster.rotate-keys',
        args: { ...request.body },
      });
      const { generation, isNew } = result as { generation: string; isNew: boolean };
      return { generation, isNew, revision, applied };
    },
  );
}
