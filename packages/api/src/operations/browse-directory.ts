import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams, findOneDirectory } from '../directory-view.ts';
import type { DirectoryPorts } from '../ports.ts';
import { plainText, problemReply } from '../schemas.ts';

const named = z.array(z.object({ dn: z.string(), name: z.string() }));
const isMore = z.boolean().describe('There are more than are told.');
const dn = plainText({ minBytes: 1, maxBytes: 4096 });
const tags = ['directories'];
const access = { scope: 'settings:read' } as const;

/** What a directory has that people can be taken from. */
export function browseDirectory(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/directories/:name/containers',
    {
      config: { access },
      schema: {
        summary: 'Containers right below one, or right below the base',
        tags,
        params: directoryParams,
        querystring: z.strictObject({ under: dn.optional() }),
        response: { 200: z.object({ containers: named, isMore }), ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return directories.listContainers(document, request.query.under ?? null);
    },
  );
  api.get(
    '/api/v1/directories/:name/groups',
    {
      config: { access },
      schema: {
        summary: 'Groups with a text in their name',
        tags,
        params: directoryParams,
        querystring: z.strictObject({
          search: plainText({ minBytes: 0, maxBytes: 256 }).default(''),
        }),
        response: { 200: z.object({ groups: named, isMore }), ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return directories.listGroups(document, request.query.search);
    },
  );
}
