import { z } from 'zod';
import type { ApiServer } from '../api-server.ts';
import type { ApiPorts, ClusterView } from '../ports.ts';
import { noQuery, problemReply, timestamp } from '../schemas.ts';

const clusterView = z.object({
  incarnation: z.object({
    number: z.int(),
    id: z.string(),
    parent: z.string().nullable(),
    baseRevision: z.int(),
    disasterAt: timestamp.nullable(),
  }),
  epoch: z.int(),
  master: z.string().nullable(),
  masterSince: timestamp.nullable(),
  lastMaster: z.string().nullable(),
  failover: z.enum(['automatic', 'manual']),
  quorum: z.boolean(),
  logReplicas: z.int(),
  logServers: z.array(z.object({ name: z.string(), online: z.boolean() })),
  witnesses: z
    .array(
      z.object({
        name: z.string(),
        online: z.boolean(),
        lastSeen: timestamp.nullable(),
        version: z.string().nullable(),
        runsLogServer: z.boolean(),
        certificateExpiresAt: timestamp,
        problems: z.array(z.string()),
      }),
    )
    .optional()
    .describe('Machines that run a log server only, as the master hears them.'),
  operatorsNats: z.literal(true).optional(),
  degraded: z.boolean(),
  pendingStopFacts: z.int(),
  /** Users who skip the second step now; the first 100. */
  exemptUsers: z.array(z.string()),
  unsignedRadius: z
    .array(z.object({ name: z.string(), messageAuthenticator: z.enum(['observe', 'off']) }))
    .optional()
    .describe('RADIUS clients whose requests need no Message-Authenticator.'),
  uncheckedRadius: z
    .array(z.string())
    .optional()
    .describe('RADIUS clients that let in whoever is no user with nothing checked here.'),
  directories: z
    .array(
      z.object({
        name: z.string(),
        problem: z.string().nullable(),
        held: z.object({ count: z.int(), hash: z.string() }).nullable(),
      }),
    )
    .optional()
    .describe('Only those with a problem, or with a plan that waits for an administrator.'),
  keys: z
    .object({
      active: z.string(),
      generations: z.array(
        z.object({ id: z.string(), madeAt: timestamp, nodes: z.array(z.string()) }),
      ),
      rotation: z
        .object({
          from: z.string(),
          to: z.string(),
          reason: z.string(),
          by: z.string(),
          startedAt: timestamp,
          activatedAt: timestamp.nullable(),
          waitsFor: z.array(z.string()),
          seen: z.int(),
          of: z.int(),
          isClean: z.boolean(),
          retiresAt: timestamp.nullable(),
        })
        .nullable(),
    })
    .optional()
    .describe("Generations of the cluster's key, and how far a change of it is. Never a key."),
  answeredBy: z.string(),
  nodes: z.array(
    z.object({
      name: z.string(),
      role: z.enum(['master', 'subordinate']),
      online: z.boolean(),
      revision: z.int(),
      epoch: z.int(),
      digest: z.string(),
      digestComparable: z.boolean(),
      behind: z.int(),
      version: z.string(),
      clockOffsetMs: z.number(),
      promotable: z.boolean(),
      lastSeen: timestamp.nullable(),
      url: z.string().nullable(),
      incarnation: z.int(),
      filling: z.int().nullable(),
      verifies: z.boolean(),
      damage: z.string().nullable(),
      certificates: z
        .array(z.object({ name: z.string(), expiresAt: timestamp }))
        .optional()
        .describe(
          "`https`: the operator's own, for this API. `node`: the node's by the cluster's CA. `ca`: that CA's.",
        ),
      problems: z.array(z.string()),
    }),
  ),
}) satisfies z.ZodType<ClusterView>;

export function getCluster(api: ApiServer, ports: ApiPorts): void {
  api.get(
    '/api/v1/cluster',
    {
      config: { access: { scope: 'cluster:read' } },
      schema: {
        summary: 'The cluster as this node sees it',
        tags: ['cluster'],
        querystring: noQuery,
        response: { 200: clusterView, ...problemReply },
      },
    },
    async () => ports.readCluster(),
  );
}
