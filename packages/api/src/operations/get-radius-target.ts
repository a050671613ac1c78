import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import {
  findRadiusTarget,
  radiusTargetView,
  radiusParams,
  viewRadiusTarget,
} from '../radius-view.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function getRadiusTarget(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/radius/targets/:name',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'One RADIUS target',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        response: { 200: radiusTargetView, ...problemReply },
      },
    },
    async (request) => {
      const all = await ports.readSettings();
      return viewRadiusTarget(findRadiusTarget(all, request.params.name));
    },
  );
}
