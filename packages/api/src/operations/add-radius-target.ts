import { newRadiusTarget } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { radiusTargetWriteReply, replyToRadiusTargetWrite } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function addRadiusTarget(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/radius/targets',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Add a RADIUS target: servers that are asked for a first factor',
        tags: ['radius'],
        querystring: noQuery,
        body: newRadiusTarget,
        response: { 201: radiusTargetWriteReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const target = request.body;
      const { name, secret } = target;
      const done = await runCommand(ports, request, {
        name: 'radius-target.add',
        args: { target },
      });
      return reply.code(201).send(await replyToRadiusTargetWrite(ports, { done, name, secret }));
    },
  );
}
