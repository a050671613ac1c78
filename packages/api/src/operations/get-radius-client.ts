import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import {
  findRadiusClient,
  radiusClientView,
  radiusParams,
  viewRadiusClient,
} from '../radius-view.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function getRadiusClient(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/radius/clients/:name',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'One RADIUS client',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        response: { 200: radiusClientView, ...problemReply },
      },
    },
    async (request) => {
      const all = await ports.readSettings();
      return viewRadiusClient(findRadiusClient(all, request.params.name), all);
    },
  );
}
