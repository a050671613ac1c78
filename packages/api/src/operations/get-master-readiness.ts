import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';

const mastership = z.object({ master: z.boolean(), node: z.string().optional() });

export function getMasterReadiness(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/readyz/master',
    {
      config: { access: { open: true } },
      schema: {
        summary: 'Is this node the master?',
        tags: ['health'],
        response: { 200: mastership, 503: mastership },
      },
    },
    async ({ isMonitoring }, reply) => {
      const master = ports.isMaster();
      return reply
        .code(master ? 200 : 503)
        .send({ master, ...(isMonitoring && { node: ports.node }) });
    },
  );
}
