import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { applicationParams } from '../application-view.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export function removeApplication(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/applications/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Remove an application; who asks under its name gets the settings of the company',
        tags: ['applications'],
        params: applicationParams,
        querystring: noQuery,
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const { name } = request.params;
      return runCommand(ports, request, { name: 'application.remove', args: { name } });
    },
  );
}
