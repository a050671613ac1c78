import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { readApprovals } from '../read-approvals.ts';
import type { DirectoryPorts } from '../ports.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

const decision = z
  .object({ what: z.enum(['approved', 'rejected']), at: timestamp, by: z.string() })
  .nullable();

const approval = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('plan'),
    hash: z.string(),
    directory: z.string(),
    at: timestamp,
    count: z.int(),
    of: z.int().describe("Of the directory's users."),
    first: z.array(
      z.object({ username: z.string(), what: z.enum(['disable', 'remove', 'phone']) }),
    ),
    decision,
  }),
  z.object({
    kind: z.literal('phone'),
    hash: z.string(),
    directory: z.string(),
    at: timestamp,
    username: z.string(),
    from: z.string().nullable().describe('The number that has verified; null: it is gone.'),
    to: z.string(),
    decision,
  }),
]);
export type Approval = z.output<typeof approval>;

export function listApprovals(api: ApiServer, directories: DirectoryPorts): void {
  api.get(
    '/api/v1/approvals',
    {
      config: { access: { scope: 'users:read' } },
      schema: {
        summary: 'What the synchronisation of directories may do only if an administrator says so',
        tags: ['directories'],
        querystring: noQuery,
        response: {
          200: z.object({ approvals: z.array(approval), isMore: z.boolean() }),
          ...problemReply,
        },
      },
    },
    async () => {
      const { approvals, isMore } = await readApprovals(directories);
      return { approvals: approvals.map(({ approval: one }) => one), isMore };
    },
  );
}
