import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams } from '../directory-view.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

export const IMPORT_OBJECTS_MAX = 200;
const IMPORT_TIMEOUT_MS = 25_000;

const imported = z.object({
  object: z.string(),
  username: z.string().nullable(),
  outcome: z.enum(['added', 'changed', 'unchanged', 'refused']),
  detail: z.string().optional(),
});

export function importPeople(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/directories/:name/import',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Make users of people, each by itself; the master reads them from the directory',
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        body: z.strictObject({
          objects: z
            .array(z.string().regex(/^[0-9a-z-]{1,64}$/))
            .min(1)
            .max(IMPORT_OBJECTS_MAX),
        }),
        response: {
          200: z.object({ ...writeReply, results: z.array(imported) }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const args = { name: request.params.name, objects: request.body.objects };
      const command = { name: 'directory.import', args } as const;
      const { revision, applied, result } = await runCommand(
        ports,
        request,
        command,
        IMPORT_TIMEOUT_MS,
      );
      return { revision, applied, results: z.array(imported).parse(result.results) };
    },
  );
}
