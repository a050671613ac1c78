import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams } from '../directory-view.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { problemReply, writeReply } from '../schemas.ts';

export function removeDirectory(api: ApiServer, ports: ApiPorts): void {
  api.delete(
    '/api/v1/directories/:name',
    {
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary:
          'Remove a directory; while users are of it only with keepUsers=true: they stay, and nothing synchronises them',
        tags: ['directories'],
        params: directoryParams,
        querystring: z.strictObject({ keepUsers: z.enum(['true', 'false']).default('false') }),
        response: { 200: z.object({ ...writeReply, keptUsers: z.int() }), ...problemReply },
      },
    },
    async (request) => {
      const { name } = request.params;
      const keepUsers = request.query.keepUsers === 'true';
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'directory.remove',
        args: { name, keepUsers },
      });
      return { revision, applied, keptUsers: Number(result.keptUsers ?? 0) };
    },
  );
}
