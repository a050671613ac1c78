import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { DisasterReport, OperatorPorts, RejoinReport } from '../ports.ts';
import { noQuery, problemReply } from '../schemas.ts';
import { backupNode } from './backup-node.ts';

const confirmed = z.strictObject({ token: z.string().max(64) });
const access = { scope: 'cluster:write' } as const;

const disasterReport = z.object({
  node: z.string(),
  incarnation: z.int(),
  revision: z.int(),
  epoch: z.int(),
  appliedAt: z.string(),
  logServers: z.array(z.string()),
  answering: z.array(z.string()),
  lastHeard: z.array(
    z.object({ node: z.string(), at: z.string(), revision: z.int(), online: z.boolean() }),
  ),
  refused: z.string().nullable(),
  review: z.object({ blockedUsers: z.array(z.string()), apiKeys: z.array(z.string()) }),
  token: z.string(),
}) satisfies z.ZodType<DisasterReport>;

const rejoinReport = z.object({
  node: z.string(),
  incarnation: z.int(),
  revision: z.int(),
  to: z.object({
    node: z.string(),
    incarnation: z.int(),
    revision: z.int(),
    master: z.string().nullable(),
  }),
  drops: z.array(
    z.object({
      revision: z.int(),
      kind: z.string(),
      id: z.string(),
      name: z.string(),
      removed: z.boolean(),
      at: z.string(),
      actor: z.string(),
      commandId: z.string().nullable(),
    }),
  ),
  token: z.string(),
}) satisfies z.ZodType<RejoinReport>;

const promotionStarted = z.object({ started: z.boolean(), missed: z.string().nullable() });

/** Served on a node's own socket alone: whoever uses them sits at the machine. */
export function addOperatorOperations(api: ApiServer, operator: OperatorPorts): void {
  const tags = ['node'];
  backupNode(api, operator);
  api.get(
    '/api/v1/node/forced-promotion',
    {
      config: { access },
      schema: {
        summary: 'What is known before going on from this node alone',
        tags,
        querystring: noQuery,
        response: { 200: disasterReport, ...problemReply },
      },
    },
    async () => operator.describePromotion(),
  );
  api.post(
    '/api/v1/node/forced-promotion',
    {
      config: { access },
      schema: {
        summary: "Rebuild the cluster's log from this node alone",
        tags,
        querystring: noQuery,
        body: confirmed,
        response: { 200: promotionStarted, ...problemReply },
      },
    },
    async (request) => {
      const { missed } = await operator.forcePromotion(request.body.token);
      return { started: true, missed };
    },
  );
  api.get(
    '/api/v1/node/rejoin',
    {
      config: { access },
      schema: {
        summary: 'What this node would give up to follow the cluster again',
        tags,
        querystring: noQuery,
        response: { 200: rejoinReport, ...problemReply },
      },
    },
    async () => operator.describeRejoin(),
  );
  api.post(
    '/api/v1/node/rejoin',
    {
      config: { access },
      schema: {
        summary: 'Save what only this node has, and follow the cluster again',
        tags,
        querystring: noQuery,
        body: confirmed,
        response: { 200: z.object({ file: z.string() }), ...problemReply },
      },
    },
    async (request) => operator.rejoin(request.body.token),
  );
}
