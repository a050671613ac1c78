import { z } from 'zod';
import { id, instant, nodeName } from './document-fields.ts';

/** Who belongs to a cluster whose nodes are not all on one machine: what of it stands in the log. */

export const SPENT_TOKENS_MAX = 256;
export const JOIN_TOKENS_MAX = 64;

const MEMBERS_MAX = 64;
const role = z.enum(['node', 'witness']);
const clusterId = z.string().regex(/^[0-9a-f]{20}$/);
const publicNkey = z.string().regex(/^U[A-Z2-7]{55}$/);

const member = z.strictObject({
  name: nodeName,
  role,
  agentKey: publicNkey.nullable(),
  workerKey: publicNkey.nullable(),
  supervisorKey: publicNkey,
  certificateSerial: z.string().regex(/^[0-9a-f]{1,40}$/),
  keyDigest: z.string().regex(/^[0-9a-f]{64}$/),
  hosts: z.array(z.string().min(1).max(253)).max(16),
  certificateExpiresAt: instant,
});

/** The cluster's CA. Its key is sealed once more inside: whoever reads documents cannot sign. */
export const authorityDocument = z.strictObject({
  id: z.literal('authority'),
  clusterId,
  certificatesPem: z.string().min(1).max(16_384),
  sealedKey: z.base64().min(4).max(2048),
});
export type AuthorityDocument = z.infer<typeof authorityDocument>;

/** The signed list of members; using a token up and letting its bearer in is one change of it. */
export const membersDocument = z.strictObject({
  id: z.literal('members'),
  list: z.strictObject({
    clusterId,
    version: z.int().min(1),
    members: z.array(member).min(1).max(MEMBERS_MAX),
    signature: z.base64().max(256),
  }),
  /** Used, and not expired when the list was last written. */
  spentTokens: z.array(z.strictObject({ id, expiresAt: instant })).max(SPENT_TOKENS_MAX),
  /** When a member was removed that knows the cluster key, until the key is changed. */
  rotationDueSince: instant.nullable(),
  /** A node was removed that may be hostile: people's sessions count again under a key made later. */
  hostileSince: instant.optional(),
});
export type MembersDocument = z.infer<typeof membersDocument>;

export const joinTokenDocument = z.strictObject({
  id,
  role,
  /** Ed25519 (base64url): it says nothing of the secret that its bearer signs with. */
  publicKey: z.string().regex(/^[\w-]{43}$/),
  createdAt: instant,
  expiresAt: instant,
});
export type JoinTokenDocument = z.infer<typeof joinTokenDocument>;
