import { newDirectory } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { DIRECTORY_BODY_MAX_BYTES, directoryParams, findOneDirectory } from '../directory-view.ts';
import type { DirectoryPorts, DirectoryTestReport } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';

const report = z.object({
  ok: z.boolean(),
  fault: z.enum(['unreachable', 'certificate', 'credentials', 'base_dn', 'rights']).nullable(),
  line: z.string().describe('What is wrong, or what was found, in one line.'),
  servers: z.array(z.object({ url: z.string(), ok: z.boolean(), line: z.string() })),
  seen: z.object({
    server: z.string().nullable(),
    namingContexts: z.array(z.string()),
    people: z.int().nullable(),
    groups: z.int().nullable(),
    containers: z.int().nullable(),
    changes: z.string().nullable(),
  }),
}) satisfies z.ZodType<DirectoryTestReport>;

/** By the node that is asked. It opens connections to where it is told: hence the right to write settings. */
export function testDirectory(api: ApiServer, directories: DirectoryPorts): void {
  const access = { scope: 'settings:write' } as const;
  const tags = ['directories'];
  api.post(
    '/api/v1/directories/:name/test',
    {
      config: { access },
      schema: {
        summary: 'Test a directory from this node: servers, certificate, account, base DN, rights',
        tags,
        params: directoryParams,
        querystring: noQuery,
        response: { 200: report, ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return directories.test(document);
    },
  );
  api.post(
    '/api/v1/directories/test',
    {
      bodyLimit: DIRECTORY_BODY_MAX_BYTES,
      config: { access },
      schema: {
        summary: 'Test a directory before it is added; nothing of it is kept',
        tags,
        querystring: noQuery,
        body: newDirectory,
        response: { 200: report, ...problemReply },
      },
    },
    async (request) => directories.test(request.body),
  );
}
