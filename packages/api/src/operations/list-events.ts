import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { parseSince } from '../parse-since.ts';
import type { ApiPorts, StoredEvent } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { countInQuery, name, problemReply, timestamp, username } from '../schemas.ts';

const storedEvent = z.object({
  id: z.string(),
  at: timestamp,
  type: z.string(),
  node: z.string(),
  user: z.string().nullable(),
  actor: z.string().nullable(),
  application: z.string().nullable(),
  clientAddress: z.string().nullable(),
  result: z.string().nullable(),
  reason: z.string().nullable(),
  degraded: z.boolean(),
  durationMs: z.number().nullable(),
  details: z.record(z.string(), z.unknown()),
}) satisfies z.ZodType<StoredEvent>;

export function listEvents(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/events',
    {
      config: { access: { scope: 'events:read' } },
      schema: {
        summary: 'What happened, newest first',
        tags: ['events'],
        querystring: z.strictObject({
          user: username.optional(),
          since: z.string().max(40).optional(),
          type: name.optional(),
          limit: countInQuery({ max: 1000, default: 100 }),
        }),
        response: { 200: z.object({ events: z.array(storedEvent) }), ...problemReply },
      },
    },
    async (request) => {
      const { user, type, since } = request.query;
      const sinceMs = since === undefined ? undefined : parseSince(since, Date.now());
      if (sinceMs === null) {
        throw invalidRequest('since must be an ISO 8601 time or a duration like 15m');
      }
      const events = await ports.listEvents({
        limit: Number(request.query.limit),
        ...(user === undefined ? {} : { user }),
        ...(type === undefined ? {} : { type }),
        ...(sinceMs === undefined ? {} : { sinceMs }),
      });
      return { events };
    },
  );
}
