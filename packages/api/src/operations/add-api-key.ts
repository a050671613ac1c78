import { API_SCOPES, apiKeyDocument } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { name, noQuery, problemReply, writeReply } from '../schemas.ts';

const { applications, networks } = apiKeyDocument.shape;

export function addApiKey(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/api-keys',
    {
      config: { access: { scope: 'api-keys:write' } },
      schema: {
        summary: 'Make an API key, which is shown only here; it can do no more than its maker',
        description:
          'Without applications it speaks for every one, without networks it is taken from anywhere, without expiresAt it does not expire.',
        tags: ['API keys'],
        querystring: noQuery,
        body: z.strictObject({
          name,
          scopes: z.array(z.enum(API_SCOPES)).min(1).max(API_SCOPES.length),
          applications: applications.optional(),
          networks: networks.optional(),
          expiresAt: z.iso.datetime().max(30).nullable().optional(),
        }),
        response: {
          // null to a repeat where it was revoked meanwhile.
          201: z.object({ id: z.string(), key: z.string().nullable(), ...writeReply }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'api-key.add',
        args: request.body,
      });
      const key = typeof result.key === 'string' ? result.key : null;
      return reply.code(201).send({ id: String(result.id), key, revision, applied });
    },
  );
}
