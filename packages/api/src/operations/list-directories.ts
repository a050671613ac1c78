import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { listedDirectory, viewDirectory, viewLastSync } from '../directory-view.ts';
import type { DirectoryPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function listDirectories(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/directories',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'All directories by name; passwords are never shown',
        tags: ['directories'],
        querystring: noQuery,
        response: { 200: z.object({ directories: z.array(listedDirectory) }), ...problemReply },
      },
    },
    async () => {
      const all = await directories.list();
      const byName = all.toSorted((a, b) => a.document.name.localeCompare(b.document.name));
      return {
        directories: byName.map(({ document, sync }) => {
          return { ...viewDirectory(document), lastSync: viewLastSync(sync) };
        }),
      };
    },
  );
}
