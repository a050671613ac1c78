import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { applicationView, viewApplication } from '../application-view.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function listApplications(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/applications',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All applications by name',
        tags: ['applications'],
        querystring: noQuery,
        response: {
          200: z.object({ applications: z.array(applicationView) }),
          ...problemReply,
        },
      },
    },
    async () => {
      const { applications } = await ports.readSettings();
      const byName = [...applications].toSorted(([a], [b]) => (a < b ? -1 : 1));
      return { applications: byName.map(([, each]) => viewApplication(each)) };
    },
  );
}
