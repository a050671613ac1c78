import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, Readiness } from '../ports.ts';

const readiness = z.object({
  ready: z.boolean(),
  degraded: z.boolean(),
  problems: z.array(z.string()).optional(),
});

export function getReadiness(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/readyz',
    {
      config: { access: { open: true } },
      schema: {
        summary: 'Can this worker verify now?',
        description: 'Why not, only those are told who watch the node.',
        tags: ['health'],
        response: { 200: readiness, 503: readiness },
      },
    },
    async (request, reply) => {
      const state = await ports.checkReady().catch((error: unknown): Readiness => {
        request.log.error({ err: error }, 'readiness check failed');
        return { ready: false, degraded: false, problems: ['the check itself failed'] };
      });
      const { problems, ...shown } = state;
      const reasons = request.isMonitoring ? { problems } : {};
      return reply.code(state.ready ? 200 : 503).send({ ...shown, ...reasons });
    },
  );
}
