import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { holdUntilNextMark } from '../hold-until-next-mark.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username } from '../schemas.ts';
import {
  enrolledReply,
  enrolment,
  misplacedField,
  replyToEnrolment,
} from './enroll-authenticator.ts';

export function enrollWithCode(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/enrolments',
    {
      config: { access: { scope: 'enrol' } },
      schema: {
        summary: 'Register an authenticator by an enrolment code, which is spent by that',
        description:
          'A wrong or expired code and a user who does not exist get the same answer: 403 enrolment_refused.',
        tags: ['authenticators'],
        querystring: noQuery,
        body: enrolment.extend({ username, enrolmentCode: z.string().min(1).max(128) }),
        response: { 201: enrolledReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const misplaced = misplacedField(request.body);
      if (misplaced) throw invalidRequest(misplaced);
      try {
        const done = await runCommand(ports, request, {
          name: 'authenticator.enroll-with-code',
          args: request.body,
        });
        return await reply.code(201).send(replyToEnrolment(done));
      } catch (error) {
        await holdUntilNextMark(request.startedAtMs);
        throw error;
      }
    },
  );
}
