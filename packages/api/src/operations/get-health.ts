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
        tags: ['health'],
        response: { 200: z.object({ ok: z.literal(true), node: z.string(), version: z.string() }) },
      },
    },
    async () => ({ ok: true as const, node: ports.node, version: ports.version }),
  );
}
