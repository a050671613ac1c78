import type { ApiServer } from '../api-server.ts';
import {
  directoryParams,
  findOneDirectory,
  listedDirectory,
  viewDirectory,
  viewLastSync,
} from '../directory-view.ts';
import type { DirectoryPorts } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function getDirectory(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/directories/:name',
    {
      config: { access: { scope: 'settings:read' } },
      schema: {
        summary: 'One directory, with its sync items in the order of their priority',
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        response: { 200: listedDirectory, ...problemReply },
      },
    },
    async (request) => {
      const { document, sync } = await findOneDirectory(directories, request.params.name);
      return { ...viewDirectory(document), lastSync: viewLastSync(sync) };
    },
  );
}
