import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, NodeExamination } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

const examination = z.object({
  node: z.string(),
  finished: z.boolean(),
  documents: z.int(),
  checks: z.array(
    z.object({
      name: z.string(),
      ok: z.boolean(),
      severity: z.enum(['warning', 'critical']).optional(),
      detail: z.string(),
      fix: z.string().optional(),
    }),
  ),
}) satisfies z.ZodType<NodeExamination>;

const nodeParams = z.strictObject({
  node: z.string().regex(/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/, 'must be the name of a node'),
});

export function examineNode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/nodes/:node/examinations',
    {
      config: { access: { scope: 'cluster:read' } },
      schema: {
        summary: 'Look at a node: its tables, engines, files and ports; ask again until finished',
        tags: ['cluster'],
        params: nodeParams,
        querystring: noQuery,
        response: { 200: examination, ...problemReply },
      },
    },
    async (request) => ports.examineNode(request.params.node),
  );
}
