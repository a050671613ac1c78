import { directoryPassword } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import { directoryParams, findOneDirectory } from '../directory-view.ts';
import type { DirectoryPorts, SignInCheck } from '../ports.ts';
import { noQuery, plainText, problemReply } from '../schemas.ts';

const check = z.discriminatedUnion('outcome', [
  z.object({
    outcome: z.literal('accepted'),
    object: z.string(),
    dn: z.string(),
    user: z.string().nullable().describe('Who that is here; null: nobody.'),
  }),
  z.object({ outcome: z.literal('refused'), reason: z.string() }),
  z.object({ outcome: z.literal('unavailable'), problem: z.string() }),
]) satisfies z.ZodType<SignInCheck>;

/** The password goes to the directory, where a wrong one counts, and nowhere else. */
export function checkSignIn(api: ApiServer, directories: DirectoryPorts): void {
  api.post(
    '/api/v1/directories/:name/check',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: "Try somebody's name and password at a directory: how the first factor comes out",
        tags: ['directories'],
        params: directoryParams,
        querystring: noQuery,
        body: z.strictObject({
          username: plainText({ minBytes: 1, maxBytes: 1024 }),
          password: directoryPassword,
        }),
        response: { 200: check, ...problemReply },
      },
    },
    async (request) => {
      const { document } = await findOneDirectory(directories, request.params.name);
      return directories.checkSignIn(document, {
        ...request.body,
        actor: callerOf(request).name,
      });
    },
  );
}
