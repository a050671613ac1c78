import { AUTHENTICATORS_MAX } from '@countersign/verification';
import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import { describeIssues } from '../describe-issues.ts';
import type { ApiPorts, BulkResult } from '../ports.ts';
import { invalidRequest } from '../problem.ts';
import { runCommand } from '../run-command.ts';
import { noQuery, problemReply, username, writeReply } from '../schemas.ts';
import { userFields } from '../user-fields.ts';
import { enrolment, misplacedField } from './enroll-authenticator.ts';

const USERS_MAX = 500;
/** Secrets made here come back with the reply, which must fit into one message like the request. */
const NEW_SECRETS_MAX = 500;
const BODY_LIMIT_BYTES = 900 * 1024;
/** Several requests at once share the master: 500 users take it about 0.5 s. */
const BULK_TIMEOUT_MS = 15_000;

const newUser = z.strictObject({
  username,
  ...userFields,
  authenticators: z.array(enrolment).max(AUTHENTICATORS_MAX).optional(),
});
type NewUser = z.output<typeof newUser>;

const result = z.object({
  status: z.int(),
  id: z.string().optional(),
  revision: z.int().optional(),
  authenticators: z.array(z.object({ id: z.string(), otpauth: z.string().optional() })).optional(),
  code: z.string().optional(),
  detail: z.string().optional(),
});

export function addUsers(api: ApiServer, ports: ApiPorts): void {
  api.post(
    '/api/v1/users/bulk',
    {
      config: { access: { scope: 'users:write' } },
      bodyLimit: BODY_LIMIT_BYTES,
      schema: {
        summary: 'Add up to 500 users, each by itself: one result for each, in their order',
        description:
          'A repeat with the same Idempotency-Key gets the first results of those that were added and tries the others again.',
        tags: ['users'],
        querystring: noQuery,
        // Each is judged alone, so that one bad line does not stop the others.
        body: z.array(z.looseObject({})).min(1).max(USERS_MAX),
        response: {
          200: z.object({ results: z.array(result), ...writeReply }),
          ...problemReply,
        },
      },
    },
    async (request) => {
      const judged = request.body.map(judge);
      const users = judged.flatMap((each) => ('user' in each ? [each.user] : []));
      if (newSecrets(users) > NEW_SECRETS_MAX) {
        throw invalidRequest(`at most ${NEW_SECRETS_MAX} secrets are made in one request`);
      }
      if (users.length === 0) {
        const results = judged.flatMap((each) => ('refusal' in each ? [each.refusal] : []));
        const { revision } = await ports.readSettings();
        return { results, revision, applied: true };
      }
      const done = await runCommand(
        ports,
        request,
        { name: 'user.add-many', args: { users } },
        BULK_TIMEOUT_MS,
      );
      const added = (done.result.results as BulkResult[]).values();
      const results = judged.map((each) =>
        'refusal' in each ? each.refusal : added.next().value!,
      );
      return { results, revision: done.revision, applied: done.applied };
    },
  );
}

function judge(value: unknown): { user: NewUser } | { refusal: BulkResult } {
  const refuse = (detail: string) => ({
    refusal: { status: 400, code: 'invalid_request', detail },
  });
  const parsed = newUser.safeParse(value);
  if (!parsed.success) return refuse(describeIssues(parsed.error.issues, 'user'));
  for (const asked of parsed.data.authenticators ?? []) {
    const misplaced = misplacedField(asked);
    if (misplaced) return refuse(misplaced);
  }
  return { user: parsed.data };
}

function newSecrets(users: NewUser[]): number {
  const asked = users.flatMap((user) => user.authenticators ?? []);
  return asked.filter(({ type, secret }) => type !== 'phone' && secret === undefined).length;
}
