import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { callerOf } from '../authenticate-caller.ts';
import type { ApiPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, timestamp, usernameParams, writeReply } from '../schemas.ts';
import { userView, viewOneUser } from '../user-view.ts';

const exported = z.object({
  user: userView,
  /** When they were removed, if they are kept only in case they come back. */
  removedAt: timestamp.nullable(),
  /** What verification itself remembers. */
  verification: z.object({
    lastAccepted: z.record(z.string(), timestamp),
    failures: z.record(
      z.string(),
      z.object({ failures: z.int(), lockouts: z.int(), lockedUntil: timestamp.nullable() }),
    ),
    textsSent: z.array(timestamp),
  }),
  events: z.array(z.record(z.string(), z.unknown())),
  /** There are more events than fit. */
  isCut: z.boolean(),
  exportedAt: timestamp,
});

/** Everything held about somebody, but for secrets: those are nobody's to carry away. */
export function exportUser(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/:username/export',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Everything that is held about a user, without secrets; takes events:read as well',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: { 200: exported, ...problemReply },
      },
    },
    async (request) => {
      if (!callerOf(request).scopes.has('events:read')) {
        throw new ProblemError(403, 'forbidden', 'This needs a key with the scope events:read.');
      }
      const { username } = request.params;
      // The master says whether this may be told, and that it was stands in the events.
      await runCommand(ports, request, { name: 'user.export', args: { username } });
      const person = await ports.readPerson(username);
      if (person === null) throw new ProblemError(404, 'unknown_user', 'There is no such user.');
      const { user, state, events, isCut } = person;
      return {
        user: await viewOneUser(ports, user),
        removedAt: user.document.removedAt ?? null,
        verification: viewState(state),
        events,
        isCut,
        exportedAt: new Date().toISOString(),
      };
    },
  );
  api.post(
    '/api/v1/users/:username/erase',
    {
      config: { access: { scope: 'users:write' } },
      schema: {
        summary: 'Remove a user and, on every node, whatever in events tells who it was; for good',
        tags: ['users'],
        params: usernameParams,
        querystring: noQuery,
        response: {
          200: z.object({ id: z.string(), pseudonym: z.string(), ...writeReply }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const { username } = request.params;
      const done = await runCommand(ports, request, { name: 'user.erase', args: { username } });
      const { revision, applied, result } = done;
      return { id: String(result.id), pseudonym: String(result.pseudonym), revision, applied };
    },
  );
}

type State = NonNullable<Awaited<ReturnType<ApiPorts['readPerson']>>>['state'];

/** Field by field: what a later version adds is not told by accident. */
function viewState(state: State): z.output<typeof exported>['verification'] {
  if (!state) return { lastAccepted: {}, failures: {}, textsSent: [] };
  const seconds = (at: number) => new Date(at * 1000).toISOString();
  const failures = Object.entries(state.methods).map(([factor, counts]) => [
    factor,
    {
      failures: counts.failures,
      lockouts: counts.lockouts,
      lockedUntil: counts.lockedUntil > 0 ? new Date(counts.lockedUntil).toISOString() : null,
    },
  ]);
  const accepted = Object.entries(state.accepted).map(([id, [, at]]) => [id, seconds(at)]);
  return {
    lastAccepted: Object.fromEntries(accepted) as Record<string, string>,
    failures: Object.fromEntries(failures) as z.output<typeof exported>['verification']['failures'],
    textsSent: (state.texts ?? []).map(seconds),
  };
}
