import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import type { ApiPorts } from '../ports.ts';
import { invalidRequest, ProblemError } from '../problem.ts';
import { name, problemReply } from '../schemas.ts';
import {
  applicationFor,
  replyToCaller,
  verificationReply,
  type VerificationReply,
} from '../verification-reply.ts';
import { sealedChallenge, verificationParams } from './answer-verification.ts';

const HEADER = 'countersign-challenge';

export function pollVerification(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/verifications/:id',
    {
      config: { access: { scope: 'verify' } },
      schema: {
        summary: 'How a question stands, for the key that asked it; its challenge in a header',
        tags: ['verifications'],
        params: verificationParams,
        querystring: z.strictObject({ application: name.optional() }),
        headers: z.object({ [HEADER]: sealedChallenge.optional() }),
        response: { 200: verificationReply, ...problemReply },
      },
    },
    async (request): Promise<VerificationReply> => {
      const caller = callerOf(request);
      const sealed = request.headers[HEADER];
      if (typeof sealed !== 'string') throw invalidRequest('send the header Countersign-Challenge');
      if (ports.pollVerification === undefined) {
        throw new ProblemError(503, 'not_ready', 'Nothing is verified at this address.');
      }
      const outcome = await ports.pollVerification({
        caller,
        door: 'http',
        application: applicationFor(caller, request.query.application),
        challenge: { id: request.params.id, sealed },
      });
      return replyToCaller(caller, outcome, request.startedAtMs);
    },
  );
}
