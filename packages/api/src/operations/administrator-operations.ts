import { administratorState, ROLES, type AdministratorDocument } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { endSessions, runCommand, runStop, type CommandDone } from '../run-command.ts';
import {
  name,
  noQuery,
  problemReply,
  replyToStop,
  stoppedReply,
  timestamp,
  username,
  usernameParams,
  writeReply,
} from '../schemas.ts';

const PATH = '/api/v1/administrators';
const tags = ['administrators'];
const read = { access: { scope: 'administrators:read' } } as const;
const write = { access: { scope: 'administrators:write' } } as const;
const roles = z.array(z.enum(ROLES)).min(1).max(ROLES.length);

const administratorView = z.object({
  id: z.string(),
  username: z.string(),
  displayName: z.string().nullable(),
  mail: z.string().nullable(),
  roles,
  state: z.enum(['invited', 'active', 'disabled']),
  /** Null: none is open. */
  invitedUntil: timestamp.nullable(),
  createdAt: timestamp,
});

/** The code is shown once; null to a repeat where it was used or replaced meanwhile. */
const invitationReply = z.object({
  id: z.string(),
  invitation: z.string().nullable(),
  expiresAt: timestamp.nullable(),
  ...writeReply,
});

/** For people's sessions and the local socket: no API key has these scopes. */
export function addAdministratorOperations(api: ApiServer, ports: ApiPorts): void {
  api.get(
    PATH,
    {
      config: read,
      schema: {
        summary: 'Everybody who runs the cluster',
        tags,
        querystring: noQuery,
        response: {
          200: z.object({ administrators: z.array(administratorView) }),
          ...problemReply,
        },
      },
    },
    async () => ({ administrators: (await ports.listAdministrators()).map(viewAdministrator) }),
  );
  api.post(
    PATH,
    {
      config: write,
      schema: {
        summary: 'Add an administrator, with an invitation that is shown only here',
        tags,
        querystring: noQuery,
        body: z.strictObject({
          username,
          displayName: name.optional(),
          mail: name.optional(),
          roles,
        }),
        response: { 201: invitationReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const command = { name: 'administrator.add', args: request.body } as const;
      return reply.code(201).send(replyToInvitation(await runCommand(ports, request, command)));
    },
  );
  api.patch(
    `${PATH}/:username`,
    {
      config: write,
      schema: {
        summary: 'Change roles, name or mail of an administrator, disable, enable or unlock one',
        tags,
        params: usernameParams,
        querystring: noQuery,
        body: z.strictObject({
          displayName: name.nullable().optional(),
          mail: name.nullable().optional(),
          roles: roles.optional(),
          disabled: z.boolean().optional(),
          unlock: z.literal(true).optional(),
        }),
        response: { 200: z.object(writeReply), ...problemReply },
      },
    },
    async (request) => {
      const args = { username: request.params.username, changes: request.body };
      const done = await runCommand(ports, request, { name: 'administrator.set', args });
      return { revision: done.revision, applied: done.applied };
    },
  );
  api.delete(
    `${PATH}/:username`,
    {
      config: write,
      schema: {
        summary: 'Remove an administrator for good, with all sessions; without a master too',
        tags,
        params: usernameParams,
        querystring: noQuery,
        response: { 200: z.object(writeReply), 202: stoppedReply, ...problemReply },
      },
    },
    async (request, reply) => {
      const done = await runStop(ports, request, {
        name: 'administrator.remove',
        args: request.params,
      });
      if ('asStopFact' in done) return reply.code(202).send(replyToStop(done));
      return { revision: done.revision, applied: done.applied };
    },
  );
  api.delete(
    `${PATH}/:username/sessions`,
    {
      config: write,
      schema: {
        summary: 'End every session that an administrator has now; without a master too',
        tags,
        params: usernameParams,
        querystring: noQuery,
        response: { 200: stoppedReply, ...problemReply },
      },
    },
    async (request) => {
      return replyToStop(await endSessions(ports, request, request.params));
    },
  );
  addInvitation('invitation', {
    access: write.access,
    command: 'administrator.invite',
    summary: 'Invite an administrator anew, to set another password and authenticator',
  });
  addInvitation('recovery', {
    access: { scope: 'socket' },
    command: 'administrator.recover',
    summary: 'Invite an owner, existing or new: over the local socket of a node only',
  });

  function addInvitation(
    what: 'invitation' | 'recovery',
    about: {
      access: { scope: 'administrators:write' | 'socket' };
      command: 'administrator.invite' | 'administrator.recover';
      summary: string;
    },
  ): void {
    api.post(
      `${PATH}/:username/${what}`,
      {
        config: { access: about.access },
        schema: {
          summary: about.summary,
          tags,
          params: usernameParams,
          querystring: noQuery,
          response: { 201: invitationReply, ...problemReply },
        },
      },
      async (request, reply) => {
        const command = { name: about.command, args: request.params };
        return reply.code(201).send(replyToInvitation(await runCommand(ports, request, command)));
      },
    );
  }
}

function replyToInvitation({ revision, applied, result }: CommandDone) {
  const text = (value: unknown) => (typeof value === 'string' ? value : null);
  return {
    id: String(result.id),
    invitation: text(result.code),
    expiresAt: text(result.expiresAt),
    revision,
    applied,
  };
}

function viewAdministrator(administrator: AdministratorDocument) {
  const { id, displayName, mail, invitation, createdAt } = administrator;
  return {
    id,
    username: administrator.username,
    displayName: displayName ?? null,
    mail: mail ?? null,
    roles: administrator.roles,
    state: administratorState(administrator),
    invitedUntil: invitation?.expiresAt ?? null,
    createdAt,
  };
}
