import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusParams } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export function removeRadiusClient(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/radius/clients/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Remove a RADIUS client: what it sends is dropped from then on',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { name } = request.params;
      return runCommand(ports, request, { name: 'radius-client.remove', args: { name } });
    },
  );
}
