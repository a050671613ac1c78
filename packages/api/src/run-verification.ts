import type { FastifyRequest } from 'fastify';
import { callerOf } from './authenticate-caller.ts';
import type { ApiPorts, VerificationAttempt } from './ports.ts';
import { ProblemError } from './problem.ts';
import { idempotencyKeyOf } from './run-command.ts';
import { applicationFor, replyToCaller, type VerificationReply } from './verification-reply.ts';

/** What every step of a verification may bring. */
type Body = { pin?: string; newPin?: string; application?: string; clientIp?: string };

/** One step over HTTP: it begins, or answers a question. What the caller may not say for the user is refused first. */
export async function runVerification(
  ports: ApiPorts,
  request: FastifyRequest & { body: Body },
  step: Pick<VerificationAttempt, 'username' | 'password' | 'code' | 'method' | 'challenge'>,
): Promise<VerificationReply> {
  const { pin, newPin, application, clientIp } = request.body;
  const caller = callerOf(request);
  if (clientIp !== undefined && !caller.scopes.has('assert:client-ip')) {
    throw new ProblemError(403, 'forbidden', 'clientIp needs the scope assert:client-ip.');
  }
  const allowedApplication = applicationFor(caller, application);
  const idempotencyKey = idempotencyKeyOf(request);
  if (ports.verify === undefined) {
    throw new ProblemError(503, 'not_ready', 'Nothing is verified at this address.');
  }
  const outcome = await ports.verify({
    ...step,
    caller,
    door: 'http',
    pin: pin ?? null,
    newPin: newPin ?? null,
    application: allowedApplication,
    clientIp: clientIp ?? null,
    remoteAddress: request.remoteAddress,
    idempotencyKey,
  });
  return replyToCaller(caller, outcome, request.startedAtMs);
}
