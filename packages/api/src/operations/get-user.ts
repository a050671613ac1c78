import type { ApiServer } from '../api-server.ts';
import { findUser } from '../find-user.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply, usernameParams } from '../schemas.ts';
import { userView, viewOneUser } from '../user-view.ts';

export function getUser(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/users/:username',
    {
      config: { access: { scope: 'users:read' } },
      schema: {
        summary: 'Show a user',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: { 200: userView, ...problemReply },
      },
    },
    async (request) => viewOneUser(ports, await findUser(ports, request.params.username)),
  );
}
