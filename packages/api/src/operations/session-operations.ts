import { PASSWORD_LENGTH_MAX, ROLES } from '@countersign/verification';
import type { FastifyRequest } from 'fastify';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import { holdUntilNextMark } from '../hold-until-next-mark.ts';
import type { ApiPorts, Caller, SessionPorts, SignInOutcome } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { endSessions, runCommandAs } from '../run-command.ts';
import {
  noQuery,
  problemReply,
  replyToStop,
  stoppedReply,
  timestamp,
  username,
  writeReply,
} from '../schemas.ts';

const PATH = '/api/v1/sessions';
const tags = ['sessions'];
const open = { access: { open: true } } as const;
/** Longer than any password, code or invitation that can be right. */
const password = z.string().min(1).max(PASSWORD_LENGTH_MAX);
const code = z.string().min(1).max(32);
const invitation = z.string().min(1).max(128);

const sessionReply = z.object({
  token: z.string().describe('Sent as a bearer token, like an API key.'),
  username: z.string(),
  roles: z.array(z.enum(ROLES)),
  expiresAt: timestamp,
  freshUntil: timestamp.describe('Until then the second factor counts as fresh.'),
});

const whoReply = z.object({
  name: z.string(),
  scopes: z.array(z.string()),
  session: z.object({ expiresAt: timestamp, secondFactorAt: timestamp }).nullable(),
});

export function addSessionOperations(api: ApiServer, ports: ApiPorts): void {
  api.get(
    `${PATH}/current`,
    {
      // Whoever is anybody may ask who they are.
      config: { access: { anyScope: true } },
      schema: {
        summary: 'Who is asking, and what they may do',
        tags,
        querystring: noQuery,
        response: { 200: whoReply, ...problemReply },
      },
    },
    async (request) => viewCaller(callerOf(request)),
  );
  api.delete(
    `${PATH}/current`,
    {
      config: { access: { anyScope: true } },
      schema: {
        summary: 'End the session that asks, at once and on every node',
        tags,
        querystring: noQuery,
        response: { 200: stoppedReply, ...problemReply },
      },
    },
    async (request) => {
      return replyToStop(await endSessions(ports, request, {}));
    },
  );
  const { sessions } = ports;
  if (sessions) addSignIn(api, ports, sessions);
}

function addSignIn(api: ApiServer, ports: ApiPorts, sessions: SessionPorts): void {
  api.post(
    PATH,
    {
      config: open,
      schema: {
        summary: 'Sign in as an administrator, with password and code at once',
        tags,
        querystring: noQuery,
        body: z.strictObject({ username, password, code }),
        response: { 201: sessionReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { remoteAddress } = request;
      const outcome = await sessions.signIn({ ...request.body, remoteAddress });
      return reply.code(201).send(await sessionOf(request, outcome));
    },
  );
  api.post(
    `${PATH}/current/step-up`,
    {
      config: { access: { anyScope: true } },
      schema: {
        summary: 'Show a code again: the session in the reply has a fresh second factor',
        tags,
        querystring: noQuery,
        body: z.strictObject({ code }),
        response: { 201: sessionReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const { proof } = callerOf(request);
      if (proof.kind !== 'session') throw NO_SESSION;
      const { remoteAddress, body } = request;
      const outcome = await sessions.stepUp({ token: proof.token, ...body, remoteAddress });
      return reply.code(201).send(await sessionOf(request, outcome));
    },
  );
  api.post(
    '/api/v1/invitations/look',
    {
      config: open,
      schema: {
        summary: 'Whom an invitation is for',
        tags,
        querystring: noQuery,
        body: z.strictObject({ invitation }),
        response: { 200: z.object({ username: z.string(), issuer: z.string() }), ...problemReply },
      },
    },
    async (request) => {
      const invited = await invitedBy(request, sessions, request.body.invitation);
      const { settings } = await ports.readSettings();
      return { username: invited.name, issuer: settings.company.name };
    },
  );
  api.post(
    '/api/v1/invitations/accept',
    {
      config: open,
      schema: {
        summary: 'Accept an invitation: set password and authenticator, once',
        tags,
        querystring: noQuery,
        body: z.strictObject({
          invitation,
          password: z.string().max(1024),
          secret: z
            .string()
            .max(128)
            .describe('Base32, 160 bits or more, of a TOTP authenticator: SHA1, 6 digits, 30 s.'),
          code: code.describe('What the authenticator shows now. It is not good a second time.'),
        }),
        response: { 201: z.object({ username: z.string(), ...writeReply }), ...problemReply },
      },
    },
    async (request, reply) => {
      const { invitation: secret, ...args } = request.body;
      const invited = await invitedBy(request, sessions, secret);
      const command = { name: 'administrator.accept', args } as const;
      const { revision, applied } = await runCommandAs(ports, request, invited, command);
      return reply.code(201).send({ username: invited.name, revision, applied });
    },
  );
}

/** A denial says nothing more, and comes when every other would. */
async function sessionOf(request: FastifyRequest, outcome: SignInOutcome) {
  if (outcome.kind === 'signed_in') return outcome;
  if (outcome.kind === 'not_ready') throw new ProblemError(503, 'not_ready', outcome.detail);
  await holdUntilNextMark(request.startedAtMs);
  throw new ProblemError(401, 'sign_in_denied', 'The sign-in was denied.');
}

async function invitedBy(
  request: FastifyRequest,
  sessions: SessionPorts,
  secret: string,
): Promise<Caller> {
  const invited = await sessions.findInvited(secret);
  if (invited) {
    return {
      id: `invitation ${invited.id}`,
      name: invited.username,
      scopes: new Set(),
      applications: null,
      proof: { kind: 'invitation', secret },
    };
  }
  await holdUntilNextMark(request.startedAtMs);
  throw new ProblemError(
    401,
    'invalid_invitation',
    'The invitation is unknown, used or over: ask for another one.',
  );
}

function viewCaller({ name, scopes, session }: Caller): z.output<typeof whoReply> {
  return {
    name,
    scopes: [...scopes],
    session: session
      ? {
          expiresAt: new Date(session.expiresAt).toISOString(),
          secondFactorAt: new Date(session.secondFactorAt).toISOString(),
        }
      : null,
  };
}

const NO_SESSION = new ProblemError(409, 'no_session', 'Only a session can be stepped up.');
