import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, timestamp, writeReply } from '../schemas.ts';

export function addJoinToken(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/cluster/join-tokens',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary: 'Make a token with which one machine joins the cluster; it is shown only here',
        description:
          'Good once, for `lifeSeconds`. Whoever joins as a node knows all that the cluster knows, so this needs every right.',
        tags: ['cluster'],
        querystring: noQuery,
        body: z.strictObject({
          role: z.enum(['node', 'witness']).default('node'),
          lifeSeconds: z.int().min(60).max(86_400).default(600),
        }),
        response: {
          // null to a repeat where it was revoked meanwhile.
          201: z.object({
            id: z.string(),
            role: z.string(),
            expiresAt: timestamp,
            token: z.string().nullable(),
            ...writeReply,
          }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'join-token.add',
        args: request.body,
      });
      const {
        id,
        role,
        expiresAt,
        token = null,
      } = result as {
        id: string;
        role: string;
        expiresAt: string;
        token?: string;
      };
      return reply.code(201).send({ id, role, expiresAt, token, revision, applied });
    },
  );
}
