import { isIP } from 'node:net';
import { readSettings } from '@countersign/database';
import {
  flawOfNames,
  IdentityError,
  isSignedByToken,
  isUserPublicKey,
  issueCertificate,
  MAX_MEMBERS,
  signNextMembers,
  splitCertificates,
  type IssuedCertificate,
  type JoinRequest,
  type Member,
} from '@countersign/identity';
import {
  SPENT_TOKENS_MAX,
  type JoinTokenDocument,
  type MembersDocument,
} from '@countersign/verification';
import { z } from 'zod';
import {
  openAuthority,
  readAuthority,
  readJoinToken,
  readMembers,
} from '../members/member-documents.ts';
import { NOT_SECURED } from './add-join-token.ts';
import { refuse, type Plan, type PlanContext, type Refusal } from './plan.ts';

const text = (max: number) => z.string().min(1).max(max);
const publicKey = z.string().refine(isUserPublicKey, 'is no public key of an nkey user');

export const joinNodeArgs = z.strictObject({
  request: z.strictObject({
    clusterId: text(40),
    tokenId: text(64),
    role: z.enum(['node', 'witness']),
    name: text(63),
    hosts: z.array(text(253)).max(16),
    certificateRequest: text(2048),
    agentKey: publicKey.nullable(),
    workerKey: publicKey.nullable(),
    supervisorKey: publicKey,
  }),
  /** By the token, over all of it. */
  signature: text(128),
});

const NO_SUCH_TOKEN = refuse(401, 'unauthorized', 'this cluster has no such join token');
const HOUR_MS = 3_600_000;
const DAY_MS = 24 * HOUR_MS;

/**
 * Uses a join token up and lets its bearer in: one change of the member list. Whoever brings the request and by whatever
 * right: without the token's own signature nobody comes in.
 */
export async function joinNode(
  context: PlanContext,
  { request, signature }: z.output<typeof joinNodeArgs>,
): Promise<Plan> {
  const [authority, stored, token] = await Promise.all([
    readAuthority(context),
    readMembers(context),
    readJoinToken(context, request.tokenId),
  ]);
  if (!authority || !stored) return NOT_SECURED;
  const { document } = stored;
  const { members } = document.list;
  if (!token || !isSignedByToken(request, signature, token.publicKey)) return NO_SUCH_TOKEN;
  const isNeeded = ({ expiresAt }: { expiresAt: string }) =>
    Date.parse(expiresAt) > context.now.getTime() - HOUR_MS;
  const spentTokens = document.spentTokens.filter(isNeeded);
  const refusal =
    refuseToken(context, token, { list: document.list, spentTokens }, request) ??
    refuseMember(request, members, authority);
  if (refusal) return refusal;
  const { settings } = await readSettings(context.db);
  const opened = openAuthority(authority, context.keys.authority);
  const nowMs = context.now.getTime();
  const issued = await issueOrRefuse({
    authority: opened,
    requestPem: request.certificateRequest,
    name: request.name,
    hosts: request.hosts,
    otherNodes: members.map(({ name }) => name),
    lifeMs: settings.certificates.nodeDays * DAY_MS,
    nowMs,
  });
  if ('kind' in issued) return issued;
  const { name, role, hosts, agentKey, workerKey, supervisorKey } = request;
  const member: Member = {
    ...{ name, role, agentKey, workerKey, supervisorKey, hosts },
    certificateSerial: issued.serial,
    keyDigest: issued.keyDigest,
    certificateExpiresAt: issued.expiresAt,
  };
  const content: MembersDocument = {
    ...document,
    list: signNextMembers(opened, document.list, [...members, member], nowMs),
    spentTokens: [...spentTokens, { id: token.id, expiresAt: token.expiresAt }],
  };
  return {
    kind: 'change',
    document: { kind: 'members', id: 'members', removed: false, content },
    result: { name, role, certificatePem: splitCertificates(issued.certificatePem)[0] },
    event: {
      userId: null,
      username: null,
      details: { node: name, role, hosts: hosts.join(', '), joinToken: request.tokenId },
    },
  };
}

function refuseToken(
  { now }: PlanContext,
  token: JoinTokenDocument,
  { list, spentTokens }: Pick<MembersDocument, 'list' | 'spentTokens'>,
  request: JoinRequest,
): Refusal | null {
  if (request.clusterId !== list.clusterId) return NO_SUCH_TOKEN;
  if (spentTokens.some(({ id }) => id === token.id)) {
    return refuse(409, 'join_token_used', 'this join token was used already: make another one');
  }
  if (Date.parse(token.expiresAt) <= now.getTime()) {
    return refuse(403, 'join_token_expired', 'this join token has expired: make another one');
  }
  if (token.role !== request.role) {
    const detail = `this join token is for a ${token.role}, not for a ${request.role}`;
    return refuse(403, 'join_token_role', detail);
  }
  if (spentTokens.length >= SPENT_TOKENS_MAX) {
    return refuse(409, 'too_many_joins', 'too many nodes joined in one hour: wait');
  }
  return null;
}

function refuseMember(
  request: JoinRequest,
  members: readonly Member[],
  { clusterId }: { clusterId: string },
): Refusal | null {
  const { name, hosts, role, agentKey, workerKey, supervisorKey } = request;
  if (members.some((member) => member.name === name)) {
    const how = `countersign node remove ${name}`;
    return refuse(
      409,
      'node_exists',
      `${name} is a member already: choose another name, or ${how}`,
    );
  }
  if (members.length >= MAX_MEMBERS) {
    return refuse(409, 'too_many_nodes', `there are ${MAX_MEMBERS} members: remove some first`);
  }
  const flaw = flawOfNames({ name, hosts, otherNodes: members.map((member) => member.name) });
  if (flaw) return refuse(400, 'invalid_request', flaw);
  // Nodes may share a name, such as a balancer's. A witness with it could pass for a node that people sign in at.
  const others = members.filter((member) => member.role !== role).flatMap((member) => member.hosts);
  const claimed = hosts.find((host) => others.includes(host) && !isLoopback(host));
  if (claimed) {
    return refuse(400, 'invalid_request', `${claimed} cannot be a host of a witness and of a node`);
  }
  const keys = [agentKey, workerKey, supervisorKey];
  const isWhole =
    role === 'node'
      ? keys.every((key) => key !== null) && new Set(keys).size === keys.length
      : agentKey === null && workerKey === null;
  if (!isWhole) return refuse(400, 'invalid_request', `these are not the keys of a ${role}`);
  const taken = new Set(members.flatMap((one) => [one.agentKey, one.workerKey, one.supervisorKey]));
  if (keys.some((key) => key !== null && taken.has(key))) {
    return refuse(409, 'key_exists', `a member of the cluster ${clusterId} has one of these keys`);
  }
  return null;
}

/** Of several members that are tried on one machine. */
function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || (isIP(host) === 4 && host.startsWith('127.'));
}

export async function issueOrRefuse(
  about: Parameters<typeof issueCertificate>[0],
): Promise<IssuedCertificate | Refusal> {
  try {
    return await issueCertificate(about);
  } catch (error) {
    if (!(error instanceof IdentityError) || error.code !== 'refused') throw error;
    return refuse(400, 'invalid_request', error.message);
  }
}
