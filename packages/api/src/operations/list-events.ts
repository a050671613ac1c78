import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { formatCursor, parseCursor } from '../event-cursor.ts';
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
        summary: 'What happened, newest first; with `after` in the order in which it arrived',
        tags: ['events'],
        querystring: z.strictObject({
          user: username.optional(),
          since: z.string().max(40).optional(),
          type: name.optional(),
          /** `start`, `end`, or the `next` of the last reply, from whichever node. */
          after: z.string().max(40).optional(),
          limit: countInQuery({ max: 1000, default: 100 }),
        }),
        response: {
          200: z.object({ events: z.array(storedEvent), next: z.string().optional() }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { user, type, since } = request.query;
      const sinceMs = since === undefined ? undefined : parseSince(since, Date.now());
      if (sinceMs === null) {
        throw invalidRequest('since must be an ISO 8601 time or a duration like 15m');
      }
      const filter = {
        limit: Number(request.query.limit),
        ...(user === undefined ? {} : { user }),
        ...(type === undefined ? {} : { type }),
        ...(sinceMs === undefined ? {} : { sinceMs }),
      };
      if (request.query.after === undefined) return { events: await ports.listEvents(filter) };
      const after = parseCursor(request.query.after);
      if (after === null) throw invalidRequest('after must be start, end, or next of a reply');
      const { events, next } = await ports.eventsAfter({ ...filter, after });
      return { events, next: formatCursor(next) };
    },
  );
}
