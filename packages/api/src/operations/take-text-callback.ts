import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { noQuery, problemReply } from '../schemas.ts';

const BODY_LIMIT_BYTES = 16 * 1024;

/** From outside and without a key: what counts is the signature over the public address in the settings. */
export function takeTextCallback(
  api: ApiServer,
  takeCallback: NonNullable<ApiPorts['takeTextCallback']>,
): void {
  api.register(async (scope) => {
    const form = 'application/x-www-form-urlencoded';
    scope.addContentTypeParser(form, { parseAs: 'string' }, (_request, body, done) =>
      done(null, body),
    );
    scope.post(
      '/api/v1/text-callbacks/twilio',
      {
        bodyLimit: BODY_LIMIT_BYTES,
        config: { access: { open: true } },
        schema: {
          summary: 'Where a provider of texts tells what became of them',
          tags: ['texts'],
          querystring: noQuery,
          consumes: [form],
          body: z.string(),
          response: { 204: z.null(), ...problemReply },
        },
      },
      async (request, reply) => {
        const signature = request.headers['x-twilio-signature'];
        const body = request.body as string;
        const outcome = await takeCallback({
          body,
          signature: typeof signature === 'string' ? signature : undefined,
        });
        if (outcome === 'taken') return reply.code(204).send(null);
        if (outcome === 'malformed') {
          throw new ProblemError(400, 'invalid_request', 'This is no status of a text.');
        }
        throw new ProblemError(403, 'forbidden', 'No provider of ours has signed this.');
      },
    );
  });
}
