import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';

export function getHealth(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/healthz',
    {
      config: { access: { open: true } },
      schema: {
        summary: 'Does this process live?',
        description: 'Which node and version it is, only those are told who watch the node.',
        tags: ['health'],
        response: {
          200: z.object({
            ok: z.literal(true),
            node: z.string().optional(),
            version: z.string().optional(),
          }),
        },
      },
    },
    async ({ isMonitoring }) => ({
      ok: true as const,
      ...(isMonitoring && { node: ports.node, version: ports.version }),
    }),
  );
}
