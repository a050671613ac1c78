import { applicationName, parseOverride } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import {
  applicationFields,
  applicationWriteReply,
  replyToApplicationWrite,
} from '../application-view.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';
import { parseSettings } from '../setting-values.ts';

export function addApplication(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/applications',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Add an application: who asks for verifications, with settings of its own',
        tags: ['applications'],
        querystring: noQuery,
        body: z.strictObject({ name: applicationName, ...applicationFields }),
        response: { 201: applicationWriteReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { settings = {}, ...rest } = request.body;
      const args = { ...rest, settings: parseSettings(settings, parseOverride) };
      const done = await runCommand(ports, request, { name: 'application.add', args });
      return reply.code(201).send(await replyToApplicationWrite(ports, done, rest.name));
    },
  );
}
