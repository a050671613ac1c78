import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts } from '../ports.ts';
import { ProblemError } from '../problem.ts';
import { runCommandAs } from '../run-command.ts';
import { noQuery, problemReply } from '../schemas.ts';

const BODY_LIMIT_BYTES = 16 * 1024;
/** At once in one worker: a cluster grows by one node at a time. */
const MAX_AT_ONCE = 4;
/** Of those whose token this node has not heard of, which is only in the token itself: strangers, or very new ones. */
const UNKNOWN_AT_ONCE = 1;
const ED25519_SIGNATURE = /^[A-Za-z0-9+/]{86}==$/;
const NKEY_USER = /^U[A-Z2-7]{55}$/;
const CERTIFICATE_REQUEST = /^-----BEGIN CERTIFICATE REQUEST-----[\sA-Za-z0-9+/=]+-----END/;

const text = (max: number) => z.string().min(1).max(max);
const nkeyUser = z.string().regex(NKEY_USER);

/** From a machine that is nobody yet: what counts is that a join token has signed the request. */
export function joinCluster(api: ApiServer, ports: ApiPorts): void {
  const underWay = { known: 0, unknown: 0 };
  api.post(
    '/api/v1/cluster/join',
    {
      bodyLimit: BODY_LIMIT_BYTES,
      config: { access: { open: true } },
      schema: {
        summary: 'Join the cluster with a join token',
        description:
          'Used by `countersign join`. The token itself is not sent: its secret signs the request, which is good once. A repeat with the same Idempotency-Key gets the same answer.',
        tags: ['cluster'],
        querystring: noQuery,
        body: z.strictObject({
          request: z.strictObject({
            clusterId: text(40),
            tokenId: z.uuid().lowercase(),
            role: z.enum(['node', 'witness']),
            name: text(63),
            hosts: z.array(text(253)).max(16),
            certificateRequest: text(2048).regex(CERTIFICATE_REQUEST),
            agentKey: nkeyUser.nullable(),
            workerKey: nkeyUser.nullable(),
            supervisorKey: nkeyUser,
          }),
          signature: z.string().regex(ED25519_SIGNATURE),
        }),
        response: { 200: z.looseObject({ name: z.string(), role: z.string() }), ...problemReply },
      },
    },
    async (request) => {
      const { tokenId } = request.body.request;
      // What strangers send travels to the master only one at a time, and never in the place of a joiner.
      const isKnown = (await ports.knowsJoinToken?.(tokenId).catch(() => false)) ?? true;
      const place = isKnown ? 'known' : 'unknown';
      if (underWay[place] >= (isKnown ? MAX_AT_ONCE : UNKNOWN_AT_ONCE)) {
        throw new ProblemError(503, 'busy', 'Others are joining: try again in a moment.');
      }
      underWay[place] += 1;
      try {
        const caller = {
          id: `join token ${tokenId}`,
          name: `join token ${tokenId}`,
          scopes: new Set<never>(),
          applications: null,
          proof: { kind: 'join-token' as const },
        };
        const { result } = await runCommandAs(ports, request, caller, {
          name: 'node.join',
          args: request.body,
        });
        return { ...result, name: String(result.name), role: String(result.role) };
      } finally {
        underWay[place] -= 1;
      }
    },
  );
}
