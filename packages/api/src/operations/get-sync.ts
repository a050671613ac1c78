import { directorySyncDocument } from '@countersign/verification';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams, findOneDirectory } from '../directory-view.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

const STATUS_TIMEOUT_MS = 2000;

const { last, held } = directorySyncDocument.shape;
const counts = last.unwrap().shape.counts;

const running = z.object({
  kind: z.enum(['full', 'changes']),
  dryRun: z.boolean(),
  startedAt: timestamp,
  phase: z.string(),
  done: z.int(),
  of: z.int().nullable().describe('null: not known yet.'),
  counts,
});

const dryRun = z.object({
  startedAt: timestamp,
  endedAt: timestamp,
  problem: z.string().nullable(),
  counts,
  first: z.array(z.object({ username: z.string(), what: z.string(), why: z.string().nullish() })),
});

/** What the master alone knows. */
const live = z.object({
  running: running.nullable(),
  nextAt: timestamp.nullable(),
  lastDryRun: dryRun.nullable(),
  problem: z.string().nullish().describe('Why it does not go on, as the master knows.'),
});

const syncStatus = live.extend({
  masterAnswers: z.boolean().describe('false: whether one is running is not known.'),
  enabled: z.boolean(),
  intervalMinutes: z.int(),
  lastFullAt: timestamp.nullable(),
  last,
  held,
});

export function getSync(api: ApiServer, ports: ApiPorts, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/directories/:name/sync',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary:
          'How the synchronisation of a directory stands: what runs, what was last, what waits',
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        response: { 200: syncStatus, ...problemReply },
      },
    },
    async (request) => {
      const told = await askMaster(ports, request, request.params.name);
      // Afterwards: this node has applied by then what the master had when it answered.
      const { document, sync } = await findOneDirectory(directories, request.params.name);
      return {
        ...(told ?? { running: null, nextAt: null, lastDryRun: null }),
        masterAnswers: told !== null,
        enabled: document.sync.enabled,
        intervalMinutes: document.sync.intervalMinutes,
        lastFullAt: sync?.lastFullAt ?? null,
        last: sync?.last ?? null,
        held: sync?.held ?? null,
      };
    },
  );
}

/** Null: no master tells. What is in the replica is worth showing all the same. */
async function askMaster(
  ports: ApiPorts,
  request: unknown,
  name: string,
): Promise<z.output<typeof live> | null> {
  try {
    const { result } = await runCommand(
      ports,
      request as FastifyRequest,
      { name: 'directory.status', args: { name } },
      STATUS_TIMEOUT_MS,
    );
    return live.parse(result);
  } catch (error) {
    if (error instanceof ProblemError && error.status >= 500) return null;
    throw error;
  }
}
