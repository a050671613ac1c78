import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusClientView, viewRadiusClient } from '../radius-view.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function listRadiusClients(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/radius/clients',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All RADIUS clients by name; secrets are never shown',
        tags: ['radius'],
        querystring: noQuery,
        response: { 200: z.object({ clients: z.array(radiusClientView) }), ...problemReply },
      },
    },
    async () => {
      const all = await ports.readSettings();
      const byName = all.radiusClients.toSorted((a, b) => a.name.localeCompare(b.name));
      return { clients: byName.map((each) => viewRadiusClient(each, all)) };
    },
  );
}
