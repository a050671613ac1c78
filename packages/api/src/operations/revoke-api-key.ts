import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runStop } from '../run-command.ts';
import { problemReply, replyToStop, stoppedReply, writeReply } from '../schemas.ts';

export function revokeApiKey(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/api-keys/:id',
    {
      config: { access: { scope: 'api-keys:write' } },
      schema: {
        summary:
          'Revoke an API key for good; the last one with every right only with evenLast=true',
        tags: ['API keys'],
        params: z.strictObject({ id: z.uuid().lowercase() }),
        querystring: z.strictObject({ evenLast: z.enum(['true', 'false']).default('false') }),
        response: { 200: z.object(writeReply), 202: stoppedReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { id } = request.params;
      const evenLast = request.query.evenLast === 'true';
      const done = await runStop(ports, request, {
        name: 'api-key.revoke',
        args: { id, evenLast },
      });
      if ('asStopFact' in done) return reply.code(202).send(replyToStop(done));
      return { revision: done.revision, applied: done.applied };
    },
  );
}
