import type { FastifyRequest } from 'fastify';
import { callerOf } from './authenticate-caller.ts';
import type { ApiPorts, Caller, CommandName, StopFact } from './ports.ts';
import { invalidRequest, ProblemError } from './problem.ts';

/** How long a caller waits for the master. Longer than the 2 s a hand-over may hold a write. */
export const COMMAND_TIMEOUT_MS = 10_000;

/** Whoever wants somebody stopped does not wait for a master that hangs. */
const STOP_TIMEOUT_MS = 1_000;

export type StoppedHere = { asStopFact: true; fact: StopFact };

export type CommandDone = { revision: number; applied: boolean; result: Record<string, unknown> };

/** Carries a wish to the master. Returns when it is done; every other ending throws a ProblemError. */
export async function runCommand(
  ports: ApiPorts,
  request: FastifyRequest,
  command: { name: CommandName; args: Record<string, unknown> },
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<CommandDone> {
  return runCommandAs(ports, request, callerOf(request), command, timeoutMs);
}

/** As {@link runCommand}, on a route that is open: the command itself proves who asks. */
export async function runCommandAs(
  ports: ApiPorts,
  request: FastifyRequest,
  caller: Caller,
  command: { name: CommandName; args: Record<string, unknown> },
  timeoutMs = COMMAND_TIMEOUT_MS,
): Promise<CommandDone> {
  const reply = await ask(ports, request, caller, command, timeoutMs);
  if ('asStopFact' in reply) throw new Error(`${command.name} was accepted without the master`);
  return reply;
}

/** As {@link runCommand}, for what must take effect at once: without a master this node does it. */
export async function runStop(
  ports: ApiPorts,
  request: FastifyRequest,
  command: { name: CommandName; args: Record<string, unknown> },
): Promise<CommandDone | StoppedHere> {
  return ask(ports, request, callerOf(request), command, STOP_TIMEOUT_MS);
}

/** Ends sessions at once: the caller's own, or all of an administrator. */
export async function endSessions(
  ports: ApiPorts,
  request: FastifyRequest,
  args: { username?: string },
): Promise<StoppedHere> {
  const done = await runStop(ports, request, { name: 'session.revoke', args });
  if (!('asStopFact' in done)) throw new Error('sessions end by stop facts');
  return done;
}

async function ask(
  ports: ApiPorts,
  request: FastifyRequest,
  caller: Caller,
  command: { name: CommandName; args: Record<string, unknown> },
  timeoutMs: number,
): Promise<CommandDone | StoppedHere> {
  const reply = await ports.runCommand({
    ...command,
    caller,
    idempotencyKey: idempotencyKeyOf(request),
    timeoutMs,
  });
  if (reply.kind === 'done') return reply;
  if (reply.kind === 'stopped') return { asStopFact: true, fact: reply.fact };
  if (reply.kind === 'refused') throw new ProblemError(reply.status, reply.code, reply.detail);
  if (reply.kind === 'master_offline') throw masterOffline(reply);
  throw new ProblemError(
    504,
    'outcome_unknown',
    'The change was sent but not confirmed. Repeat it with the same Idempotency-Key to learn its outcome.',
  );
}

/** The caller's key for "this is the same request", or null. Throws a ProblemError if it is malformed. */
export function idempotencyKeyOf(request: FastifyRequest): string | null {
  const key = request.headers['idempotency-key'];
  if (key === undefined) return null;
  if (typeof key !== 'string' || !/^[\x21-\x7e]{1,255}$/.test(key)) {
    throw invalidRequest('idempotency-key must be 1 to 255 visible ASCII characters');
  }
  return key;
}

function masterOffline(reply: { lastMaster: string | null; since: string | null }): ProblemError {
  const last = reply.lastMaster === null ? '' : ` The last master was ${reply.lastMaster}.`;
  const since = reply.since === null ? '' : ` There has been none since ${reply.since}.`;
  return new ProblemError(
    503,
    'master_offline',
    `No master: nothing can be changed, verification goes on.${last}${since}` +
      ' To make a node master: countersign promote NODE',
    { fields: { lastMaster: reply.lastMaster, since: reply.since } },
  );
}
