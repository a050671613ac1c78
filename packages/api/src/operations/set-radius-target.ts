import { radiusTargetFields, radiusName } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { radiusTargetWriteReply, radiusParams, replyToRadiusTargetWrite } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function setRadiusTarget(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/radius/targets/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary:
          'Change a RADIUS target; where it gets another server, its secret has to be given again',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        body: radiusTargetFields.extend({ name: radiusName.optional() }),
        response: { 200: radiusTargetWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { body: changes, params } = request;
      if (Object.keys(changes).length === 0) throw invalidRequest('body names nothing to change');
      const { name = params.name, secret } = changes;
      const done = await runCommand(ports, request, {
        name: 'radius-target.set',
        args: { name: params.name, changes },
      });
      return replyToRadiusTargetWrite(ports, { done, name, secret });
    },
  );
}
