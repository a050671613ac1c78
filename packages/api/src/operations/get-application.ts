import type { ApiServer } from '../api-server.ts';
import {
  applicationParams,
  applicationView,
  findOneApplication,
  viewApplication,
} from '../application-view.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function getApplication(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/applications/:name',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'One application, with the settings that are its own',
        tags: ['applications'],
        params: applicationParams,
        querystring: noQuery,
        response: { 200: applicationView, ...problemReply },
      },
    },
    async (request) => viewApplication(await findOneApplication(ports, request.params.name)),
  );
}
