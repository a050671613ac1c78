import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';

export function getMetrics(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/metrics',
    {
      config: { access: { monitoring: true } },
      schema: { summary: 'Metrics for Prometheus', tags: ['health'] },
    },
    async (_request, reply) => {
      const { contentType, text } = await ports.metrics();
      return reply.type(contentType).send(text);
    },
  );
}
