import { newRadiusClient } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusClientWriteReply, replyToRadiusClientWrite } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function addRadiusClient(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/radius/clients',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Add a RADIUS client: who may ask, from where, for which application',
        tags: ['radius'],
        querystring: noQuery,
        body: newRadiusClient,
        response: { 201: radiusClientWriteReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const client = request.body;
      const { name, secret } = client;
      const done = await runCommand(ports, request, {
        name: 'radius-client.add',
        args: { client },
      });
      return reply.code(201).send(await replyToRadiusClientWrite(ports, { done, name, secret }));
    },
  );
}
