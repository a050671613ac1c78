import type { ServerResponse } from 'node:http';
import { radiusName, usernameKey } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { isStillAllowed } from '../authenticate-caller.ts';
import type { ApiPorts, RadiusWatchLine } from '../ports.ts';
import { findRadiusClient, radiusFrontOf } from '../radius-view.ts';
import { problemReply } from '../schemas.ts';

/** What a reader has not taken; more is counted in its place. */
const UNREAD_MAX_BYTES = 1024 * 1024;
const CHECK_EVERY_MS = 15_000;

/** JSON lines until whoever reads goes away, or may not read any more. What they may know is what events tell. */
export function watchRadius(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/radius/watch',
    {
      config: { access: { scope: 'events:read' } },
      schema: {
        summary: "What arrives at this node's RADIUS ports, as it arrives: one JSON object a line",
        description:
          'The first line is `watching`, from which on all is told; `quiet` comes where nothing else does, and ' +
          '`lost` says how many lines were not read fast enough.',
        tags: ['radius'],
        querystring: z.strictObject({
          client: radiusName.optional().describe('Only what comes from this client.'),
        }),
        response: problemReply,
      },
    },
    async (request, reply) => {
      const front = radiusFrontOf(ports);
      const { client } = request.query;
      if (client !== undefined) findRadiusClient(await ports.readSettings(), client);
      const over = new AbortController();
      const end = () => over.abort();
      const lines = new LineWriter(reply.raw);
      const check = async () => {
        const isAllowed = await isStillAllowed(request, ports).catch(() => false);
        if (!isAllowed) end();
      };
      const checking = setInterval(() => void check(), CHECK_EVERY_MS).unref();
      reply.raw.once('close', end);
      try {
        await front.watch({
          signal: over.signal,
          onLine(line) {
            if (over.signal.aborted || !isOf(line, client)) return;
            if (!reply.sent) {
              reply.hijack();
              lines.begin();
            }
            lines.write(line);
          },
        });
      } catch (error) {
        // What has begun can only end.
        if (!reply.sent) throw error;
      } finally {
        clearInterval(checking);
        reply.raw.off('close', end);
      }
      if (!reply.sent) {
        reply.hijack();
        lines.begin();
      }
      lines.end();
    },
  );
}

function isOf(line: RadiusWatchLine, client: string | undefined): boolean {
  if (line.kind !== 'seen' || client === undefined) return true;
  return line.client !== null && usernameKey(line.client) === usernameKey(client);
}

/** Never waits for its reader: what does not fit is counted, and the count is told when there is room. */
class LineWriter {
  readonly #raw: ServerResponse;
  #lost = 0;

  constructor(raw: ServerResponse) {
    this.#raw = raw;
  }

  begin(): void {
    this.#raw.writeHead(200, {
      'content-type': 'application/x-ndjson',
      'cache-control': 'no-store',
      'x-content-type-options': 'nosniff',
      // nginx would keep lines until it has many.
      'x-accel-buffering': 'no',
    });
    this.#raw.on('drain', () => this.#tellLost());
  }

  write(line: RadiusWatchLine): void {
    if (this.#raw.writableLength > UNREAD_MAX_BYTES) {
      this.#lost += line.kind === 'lost' ? line.count : line.kind === 'seen' ? 1 : 0;
      return;
    }
    this.#tellLost();
    this.#put(line);
  }

  end(): void {
    this.#raw.end();
  }

  #tellLost(): void {
    if (this.#lost === 0) return;
    const count = this.#lost;
    this.#lost = 0;
    this.#put({ kind: 'lost', count });
  }

  #put(line: RadiusWatchLine): void {
    this.#raw.write(`${JSON.stringify(line)}\n`);
  }
}
