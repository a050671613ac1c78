import { directoryFields, directoryName } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import {
  DIRECTORY_BODY_MAX_BYTES,
  directoryParams,
  directoryWriteReply,
  replyToDirectoryWrite,
} from '../directory-view.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function setDirectory(api: ApiServer, ports: ApiPorts, directories: DirectoryPorts): void {
  api.patch(
    '/api/v1/directories/:name',
    {
      bodyLimit: DIRECTORY_BODY_MAX_BYTES,
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary:
          'Change a directory; where its password would go elsewhere, it has to be given again',
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        body: directoryFields.extend({ name: directoryName.optional() }),
        response: { 200: directoryWriteReply, ...problemReply },
      },
    },
    async (request) => {
      const { body: changes, params } = request;
      if (Object.keys(changes).length === 0) throw invalidRequest('body names nothing to change');
      const done = await runCommand(ports, request, {
        name: 'directory.set',
        args: { name: params.name, changes },
      });
      return replyToDirectoryWrite(directories, done, changes.name ?? params.name);
    },
  );
}
