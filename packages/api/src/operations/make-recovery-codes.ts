import { RECOVERY_CODES_MAX } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, usernameParams, writeReply } from '../schemas.ts';

export function makeRecoveryCodes(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/recovery-codes',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Make recovery codes in place of all earlier ones; they are shown only here',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z
          .strictObject({ count: z.int().min(1).max(RECOVERY_CODES_MAX).optional() })
          .nullish(),
        response: {
          // A repeat shows none of those that were replaced meanwhile.
          201: z.object({ codes: z.array(z.string()), ...writeReply }),
          ...problemReply,
        },
      },
    },
    async (request, reply) => {
      const { revision, applied, result } = await runCommand(ports, request, {
        name: 'user.make-recovery-codes',
        args: { username: request.params.username, ...request.body },
      });
      const codes = Array.isArray(result.codes) ? result.codes.map(String) : [];
      return reply.code(201).send({ codes, revision, applied });
    },
  );
}
