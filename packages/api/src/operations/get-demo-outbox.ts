import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, OutboxEntry } from '../ports.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

const entry = z.object({
  kind: z.enum(['text', 'mail']),
  at: timestamp,
  id: z.string(),
  to: z.string(),
  subject: z.string().nullable(),
  text: z.string(),
}) satisfies z.ZodType<OutboxEntry>;

/** Codes stand here in the clear: it exists in a demo alone. */
export function getDemoOutbox(
  api: ApiServer,
  readOutbox: NonNullable<ApiPorts['readDemoOutbox']>,
): void {
  api.get(
    '/api/v1/demo/outbox',
    {
      config: { access: { scope: 'users:read' } },
      schema: {
        summary: 'Texts and mails of the demo, oldest first: at most the last 200',
        tags: ['demo'],
        querystring: noQuery,
        response: { 200: z.object({ entries: z.array(entry) }), ...problemReply },
      },
    },
    async () => ({ entries: await readOutbox() }),
  );
}
