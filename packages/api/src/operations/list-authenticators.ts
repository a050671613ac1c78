import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { findUser } from '../find-user.ts';
import type { ApiPorts } from '../ports.ts';
import { noQuery, problemReply, usernameParams } from '../schemas.ts';
import { userView, viewOneUser } from '../user-view.ts';

export function listAuthenticators(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/users/:username/authenticators',
    {
      config: { access: { scope: 'users:read' } },
      schema: {
        summary: "List a user's authenticators, without secrets",
        tags: ['authenticators'],
        params: usernameParams,
        querystring: noQuery,
        response: {
          200: z.object({ authenticators: userView.shape.authenticators }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const user = await findUser(ports, request.params.username);
      const { authenticators } = await viewOneUser(ports, user);
      return { authenticators };
    },
  );
}
