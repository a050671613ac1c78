import { radiusClientFields, radiusName } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { radiusClientWriteReply, radiusParams, replyToRadiusClientWrite } from '../radius-view.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function setRadiusClient(api: ApiServer, ports: ApiPorts): void {
  api.patch(
    '/api/v1/radius/clients/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary:
          'Change a RADIUS client; where it gets another address, its secret has to be given again',
        tags: ['radius'],
        params: radiusParams,
        querystring: noQuery,
        body: radiusClientFields.extend({ name: radiusName.optional() }),
        response: { 200: radiusClientWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { body: changes, params } = request;
      if (Object.keys(changes).length === 0) throw invalidRequest('body names nothing to change');
      const { name = params.name, secret } = changes;
      const done = await runCommand(ports, request, {
        name: 'radius-client.set',
        args: { name: params.name, changes },
      });
      return replyToRadiusClientWrite(ports, { done, name, secret });
    },
  );
}
