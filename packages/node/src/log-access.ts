import { createHash } from 'node:crypto';
import { join } from 'node:path';

import {
  inboxPrefixOf,
  permissionsOf,
  type LogRole,
  type LogSignIn,
  type TlsFiles,
} from '@countersign/cluster';
import type { NatsAccess, NatsUser } from '@countersign/engines';
import { IDENTITY_FILES, readIdentity, type Identity, type Member } from '@countersign/identity';
import { deriveKeys, passwordFor, type KeyRing } from '@countersign/keys';

import { natsPassword, natsTls, type OperatorsNats } from './nats-urls.ts';
import { NodeError } from './node-error.ts';

/** How this node's processes sign in at the log servers, and whom its own server lets in. */
export interface LogAccess {
  agent: LogSignIn;
  worker: LogSignIn;
  /** At a NATS of the operator's own nobody reads it. */
  server: NatsAccess;
  /** Null on a node without an identity. */
  clusterId: string | null;
}

const NATS_USER = 'countersign';

export const identityFolderOf = (dataDirectory: string) => join(dataDirectory, 'identity');

/**
 * By the node's identity as it is on the disk now; without one, by a password out of the cluster key.
 * Throws IdentityError or NodeError where the identity is damaged or another node's.
 */
export function readLogAccess(about: {
  dataDirectory: string;
  nodeName: string;
  clusterKey: KeyRing;
  /** Null: the nodes run the log servers. */
  nats?: OperatorsNats | null;
}): LogAccess {
  const { nats = null } = about;
  const folder = identityFolderOf(about.dataDirectory);
  const identity = readIdentity(folder);
  if (!identity) return openLogAccess(about.clusterKey, nats);
  if (identity.nodeName !== about.nodeName) {
    throw new NodeError(`${folder} is the identity of ${identity.nodeName}, not ${about.nodeName}`);
  }
  return securedLogAccess(identity, folder, nats);
}

/**
 * How a witness tells the nodes that it is there, and whom its log server lets in.
 * Throws IdentityError where the identity is damaged.
 */
export function readWitnessAccess(dataDirectory: string): { own: LogSignIn; server: NatsAccess } {
  const folder = identityFolderOf(dataDirectory);
  const identity = readIdentity(folder);
  if (!identity) throw new NodeError(`${folder} is missing`);
  const { server, tls } = securedLogAccess(identity, folder, null);
  const { supervisorSeed: seed, nodeName } = identity;
  return { own: { seed, inboxPrefix: inboxPrefixOf(nodeName, 'witness'), tls }, server };
}

/** Where everything listens on loopback. */
function openLogAccess(clusterKey: KeyRing, nats: OperatorsNats | null): LogAccess {
  const password = passwordFor(deriveKeys(clusterKey, ['nats-password'])['nats-password']);
  const server = { user: NATS_USER, password };
  // It has no id, but no other cluster has its key.
  const mark = createHash('sha256').update(`countersign streams of ${password}`).digest('hex');
  const signIn = nats ? { ...natsPassword(nats), streamsOf: `open-${mark.slice(0, 16)}` } : server;
  return { agent: signIn, worker: signIn, server, clusterId: null };
}

function securedLogAccess(
  identity: Identity,
  folder: string,
  nats: OperatorsNats | null,
): LogAccess & { tls: TlsFiles } {
  const { nodeName, agentSeed, workerSeed } = identity;
  const { members } = identity.members;
  const tls: TlsFiles = {
    authorityFile: join(folder, IDENTITY_FILES.caPem),
    certificateFile: join(folder, IDENTITY_FILES.certificatePem),
    keyFile: join(folder, IDENTITY_FILES.keyPem),
    membersFile: join(folder, IDENTITY_FILES.members),
  };
  const signIn = (seed: string, role: LogRole) => {
    const own = { seed, inboxPrefix: inboxPrefixOf(nodeName, role) };
    return nats ? { ...own, tls: natsTls(nats), streamsOf: identity.clusterId } : { ...own, tls };
  };
  return {
    tls,
    clusterId: identity.clusterId,
    agent: signIn(agentSeed, 'agent'),
    worker: signIn(workerSeed, 'worker'),
    server: {
      ...tls,
      users: members.flatMap(usersOf),
      routeKeys: members.map(({ keyDigest }) => keyDigest),
    },
  };
}

/** Whom the log servers let in for this member, and what they let each say and hear. */
export function usersOf({ name, agentKey, workerKey, supervisorKey }: Member): NatsUser[] {
  const user = (nkey: string, role: LogRole) => {
    return { nkey, isSystem: role === 'supervisor', ...permissionsOf(role, name) };
  };
  // A witness has one key, and only looks which log servers there are.
  if (agentKey === null || workerKey === null) return [user(supervisorKey, 'witness')];
  return [user(agentKey, 'agent'), user(workerKey, 'worker'), user(supervisorKey, 'supervisor')];
}
