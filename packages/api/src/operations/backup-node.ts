import { once } from 'node:events';
import type { ServerResponse } from 'node:http';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { OperatorPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

/** Whoever reads may have to wait for a disk. */
const STALLED_MS = 60_000;

/** Served on a node's own socket alone: what it sends holds every secret of the cluster. */
export function backupNode(api: ApiServer, operator: OperatorPorts): void {
  api.post(
    '/api/v1/node/backup',
    {
      config: { access: { scope: 'cluster:write' } },
      schema: {
        summary:
          'Everything this node knows, at one revision, for a backup: one JSON object a line',
        description:
          'The last line is `end`, or `failed` with a message where the rest could not be had. ' +
          'Nothing of it is encrypted: it goes over the socket of this machine and nowhere else.',
        tags: ['node'],
        querystring: noQuery,
        body: z.strictObject({
          events: z.boolean().default(false),
          reason: z.string().max(500).nullable().default(null),
        }),
        response: problemReply,
      },
    },
    async (request, reply) => {
      const { events, reason } = request.body;
      await operator
        .backUp({ withEvents: events, reason }, async (lines, signal) => {
          const iterator = lines[Symbol.asyncIterator]();
          // What is refused is refused here, before anything was sent.
          const first = await iterator.next();
          reply.hijack();
          const { raw } = reply;
          raw.writeHead(200, {
            'content-type': 'application/x-ndjson',
            'cache-control': 'no-store',
          });
          try {
            for (let next = first; !next.done; next = await iterator.next()) {
              await write(raw, next.value, signal);
            }
          } catch (error) {
            const message = error instanceof Error ? error.message : String(error);
            // Who takes nothing is told nothing.
            if (raw.writableNeedDrain) raw.destroy();
            else raw.end(`${JSON.stringify({ failed: { message: message.slice(0, 2000) } })}\n`);
            throw error;
          } finally {
            await iterator.return?.(undefined);
          }
          raw.end();
        })
        .catch((error: unknown) => {
          // What has begun can only end.
          if (!reply.sent) throw error;
        });
    },
  );
}

async function write(raw: ServerResponse, text: string, stopping: AbortSignal): Promise<void> {
  if (raw.destroyed) throw new Error('whoever asked for the backup went away');
  if (raw.write(text)) return;
  const over = new AbortController();
  const signal = AbortSignal.any([over.signal, stopping]);
  const stalled = setTimeout(() => over.abort(), STALLED_MS);
  try {
    await Promise.race([once(raw, 'drain', { signal }), once(raw, 'close', { signal })]);
  } catch (cause) {
    throw new Error('whoever asked for the backup does not take it', { cause });
  } finally {
    clearTimeout(stalled);
    over.abort();
  }
}
