import { PHONE_KINDS } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { directoryParams, findOneDirectory } from '../directory-view.ts';
import type { DirectoryPorts, PersonPreview } from '../ports.ts';
import { countInQuery, plainText, problemReply } from '../schemas.ts';

const text = z.string().nullable();
const person = z.object({
  object: z.string(),
  dn: z.string(),
  username: text,
  firstName: text,
  lastName: text,
  displayName: text,
  mail: text,
  description: text,
  language: text,
  phones: z.array(z.object({ kind: z.enum(PHONE_KINDS), number: z.string(), extension: text })),
  isDisabled: z.boolean(),
  item: text.describe('The sync item that would take the person.'),
  user: text.describe('The user that the person is already.'),
  problem: text.describe('Why the person cannot become a user.'),
  dropped: z.array(z.object({ attribute: z.string(), why: z.string() })),
}) satisfies z.ZodType<PersonPreview>;

export function previewPeople(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/directories/:name/people',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'People of a directory, and what each would become; changes nothing',
        tags: ['directories'],
        params: directoryParams,
        querystring: z.strictObject({
          search: plainText({ minBytes: 1, maxBytes: 256 }).optional(),
          under: plainText({ minBytes: 1, maxBytes: 4096 }).optional(),
          limit: countInQuery({ max: 200, default: 50 }),
        }),
        response: {
          200: z.object({ people: z.array(person), isMore: z.boolean() }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { search, under, limit } = request.query;
      const { document } = await findOneDirectory(directories, request.params.name);
      return directories.previewPeople(document, {
        limit: Number(limit),
        ...(search !== undefined && { text: search }),
        ...(under !== undefined && { under }),
      });
    },
  );
}
