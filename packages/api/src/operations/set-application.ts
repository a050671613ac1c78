import { applicationName, parseOverride } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import {
  applicationFields,
  applicationParams,
  applicationWriteReply,
  replyToApplicationWrite,
} from '../application-view.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';
import { parseSettings } from '../setting-values.ts';

export function setApplication(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/applications/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Change an application: its name, and what of its settings is named',
        tags: ['applications'],
        params: applicationParams,
        querystring: noQuery,
        body: z.strictObject({ name: applicationName.optional(), ...applicationFields }),
        response: { 200: applicationWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { body, params } = request;
      if (Object.keys(body).length === 0) throw invalidRequest('body names nothing to change');
      const { settings = {}, ...rest } = body;
      const changes = { ...rest, settings: parseSettings(settings, parseOverride) };
      const done = await runCommand(ports, request, {
        name: 'application.set',
        args: { name: params.name, changes },
      });
      return replyToApplicationWrite(ports, done, body.name ?? params.name);
    },
  );
}
