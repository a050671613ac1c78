import { mkdirSync, rmSync } from 'node:fs';
import { dirname } from 'node:path';

import {
  createAuthority,
  createClusterId,
  makeMember,
  signMembers,
  writeDurably,
  writeMembership,
} from '@countersign/identity';
import { deriveKeys, type KeyRing } from '@countersign/keys';
import { sealAuthority, type Founding } from '@countersign/replication-agent';

import { usualServer, writeNodeConfig } from './config.ts';
import { KeptKeyRing } from './key-ring.ts';
import { foundingFileOf } from './node-identity.ts';
import {
  draftFolderOf,
  findConfig,
  finishIdentity,
  firstConfig,
  inNewDataFolder,
  type NewNode,
} from './prepare-membership.ts';

// What the setting certificates.nodeDays says in a new cluster.
const LIFE_MS = 90 * 86_400_000;

/**
 * Founds a cluster on an empty data directory: its key, its CA, and this node as the first member. The founder's first
 * start puts the CA, sealed, into the log. Interrupted anywhere, a second run makes it whole.
 * Throws NodeError, KeyError or IdentityError, one line each.
 */
export async function foundCluster(
  node: NewNode,
): Promise<{ clusterId: string; isConfigNew: boolean; dataDirectory: string }> {
  const { configFile, name, hosts } = node;
  const input = firstConfig(node, [usualServer(name, hosts[0]!)]);
  const { config, isThere } = findConfig(node, input);
  const { dataDirectory } = config;
  return inNewDataFolder(config, { kind: 'founding', hosts }, async () => {
    const { ring } = await KeptKeyRing.prepare({ ...config, found: true });
    const clusterId = await draftFounder({ dataDirectory, name, hosts, ring });
    if (!isThere) {
      mkdirSync(dirname(configFile), { recursive: true });
      writeNodeConfig(configFile, input);
    }
    finishIdentity(dataDirectory, 'founding');
    return { clusterId, isConfigNew: !isThere, dataDirectory };
  });
}

/**
 * Makes a CA, and this node as the first member it has signed, in the folder for drafts; it counts once it has its
 * name. The CA's key is sealed under that ring.
 * @returns the new cluster's id
 */
export async function draftFounder(founder: {
  dataDirectory: string;
  name: string;
  hosts: string[];
  ring: KeyRing;
}): Promise<string> {
  const { dataDirectory, name, hosts, ring } = founder;
  const draft = draftFolderOf(dataDirectory, 'founding');
  // Nobody knows of an earlier one.
  rmSync(draft, { recursive: true, force: true });
  const clusterId = createClusterId();
  const authority = await createAuthority({ clusterId });
  const about = { folder: draft, name, hosts, lifeMs: LIFE_MS };
  const { entry, certificatePem } = await makeMember(authority, about);
  const members = signMembers(authority, { version: 1, members: [entry] });
  writeMembership(draft, { caPem: authority.certificatePem, certificatePem, members });
  const sealed = sealAuthority(authority, deriveKeys(ring, ['authority']).authority);
  const founding: Founding = { authority: sealed, members };
  writeDurably(foundingFileOf(draft), `${JSON.stringify(founding)}\n`);
  return clusterId;
}
