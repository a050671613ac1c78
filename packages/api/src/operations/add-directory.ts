import { newDirectory } from '@countersign/verification';
import type { ApiServer } from '../api-server.ts';
import {
  DIRECTORY_BODY_MAX_BYTES,
  directoryWriteReply,
  replyToDirectoryWrite,
} from '../directory-view.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

export function addDirectory(api: ApiServer, ports: ApiPorts, directories: DirectoryPorts): void {
  api.post(
    '/api/v1/directories',
    {
      bodyLimit: DIRECTORY_BODY_MAX_BYTES,
      config: { access: { scope: 'settings:write' } },
      schema: {
        summary: 'Add a directory that people come from; what is left out is as usual for its type',
        tags: ['directories'],
        querystring: noQuery,
        body: newDirectory,
        response: { 201: directoryWriteReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const directory = request.body;
      const command = { name: 'directory.add', args: { directory } } as const;
      const done = await runCommand(ports, request, command);
      return reply.code(201).send(await replyToDirectoryWrite(directories, done, directory.name));
    },
  );
}
