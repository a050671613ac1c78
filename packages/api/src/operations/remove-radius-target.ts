import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusParams } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export function removeRadiusTarget(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/radius/targets/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Remove a RADIUS target that is no first factor of any client',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { name } = request.params;
      return runCommand(ports, request, { name: 'radius-target.remove', args: { name } });
    },
  );
}
