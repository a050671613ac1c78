import { usernameKey } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { countInQuery, plainText, problemReply, username } from '../schemas.ts';
import { userView, viewUsers } from '../user-view.ts';

export function listUsers(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/users',
    {
      config: { access: { scope: 'users:read' } },
      schema: {
        summary: 'List users by name; pass `next` as `after` for the next page',
        tags: ['users'],
        querystring: z.strictObject({
          after: username.optional(),
          limit: countInQuery({ max: 500, default: 100 }),
          search: plainText({ minBytes: 1, maxBytes: 256 }).optional(),
          /** Only those who skip the second step now. */
          exempt: z.literal('true').optional(),
        }),
        response: {
          200: z.object({ users: z.array(userView), next: z.string().nullable() }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { after, search, exempt } = request.query;
      const limit = Number(request.query.limit);
      const found = await ports.listUsers({
        limit,
        ...(after === undefined ? {} : { after: usernameKey(after) }),
        ...(search === undefined ? {} : { search }),
        ...(exempt === undefined ? {} : { exempt: true }),
      });
      return {
        users: await viewUsers(ports, found),
        next: found.length < limit ? null : (found.at(-1)?.document.username ?? null),
      };
    },
  );
}
