import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, DirectoryPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { readApprovals } from '../read-approvals.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, writeReply } from '../schemas.ts';

/** Of exactly what was looked at: whatever changed meanwhile has another hash, and is not decided. */
export function decideApproval(api: ApiServer, ports: ApiPorts, directories: DirectoryPorts): void {
  for (const what of ['approve', 'reject'] as const) {
    api.post(
      `/api/v1/approvals/:hash/${what}`,
      {
        config: { access: { scope: 'users:write' } },
        schema: {
          summary:
            what === 'approve'
              ? 'Let the synchronisation do what it holds back'
              : 'Have the synchronisation not do what it holds back',
          tags: ['directories'],
          params: z.strictObject({
            hash: z.string().regex(/^[0-9a-f]{64}$/, 'must be the whole hash of an approval'),
          }),
          querystring: noQuery,
          response: { 200: z.object(writeReply), ...problemReply },
        },
      },
      async (request) => {
        const { approvals } = await readApprovals(directories);
        const found = approvals.find(({ approval }) => approval.hash === request.params.hash);
        if (!found) {
          const detail = 'Nothing with this hash waits: it was decided, or is another plan by now.';
          throw new ProblemError(404, 'unknown_approval', detail);
        }
        return runCommand(ports, request, found[what]);
      },
    );
  }
}
