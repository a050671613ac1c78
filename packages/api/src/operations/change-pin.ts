import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { holdUntilNextMark } from '../hold-until-next-mark.ts';
import type { ApiPorts } from '../ports.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, pinText, problemReply, usernameParams, writeReply } from '../schemas.ts';

export function changePin(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/pin/change',
    {
      config: { access: { scope: 'verify' } },
      schema: {
        summary: "Change a user's PIN for the user, who gives the old one",
        description:
          'A wrong PIN, a user without one and a user who does not exist get the same answer. After 5 of them within 10 minutes nothing more is judged.',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({ pin: pinText, newPin: pinText }),
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const args = { username: request.params.username, ...request.body };
      try {
        const { revision, applied } = await runCommand(ports, request, {
          name: 'user.change-pin',
          args,
        });
        return { revision, applied };
      } catch (error) {
        await holdUntilNextMark(request.startedAtMs);
        throw error;
      }
    },
  );
}
