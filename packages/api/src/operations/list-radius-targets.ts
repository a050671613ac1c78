import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusTargetView, viewRadiusTarget } from '../radius-view.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function listRadiusTargets(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/radius/targets',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All RADIUS targets by name; secrets are never shown',
        tags: ['radius'],
        querystring: noQuery,
        response: { 200: z.object({ targets: z.array(radiusTargetView) }), ...problemReply },
      },
    },
    async () => {
      const all = await ports.readSettings();
      const byName = all.radiusTargets.toSorted((a, b) => a.name.localeCompare(b.name));
      return { targets: byName.map((each) => viewRadiusTarget(each)) };
    },
  );
}
