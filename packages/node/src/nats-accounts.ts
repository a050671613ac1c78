import { renderNatsUsers } from '@countersign/engines';
import { readIdentity } from '@countersign/identity';

import { readNodeConfig } from './config.ts';
import { identityFolderOf, usersOf } from './log-access.ts';
import { NodeError } from './node-error.ts';

/**
 * The account of a NATS of the operator's own, for its servers' configuration: each node's agent and workers by their
 * public keys, as this node knows the cluster's members now. Nothing in it is secret.
 * Throws NodeError or IdentityError where the node has no identity.
 */
export function describeNatsAccount(configFile: string): string {
  const { dataDirectory } = readNodeConfig(configFile);
  const identity = readIdentity(identityFolderOf(dataDirectory));
  if (!identity) {
    throw new NodeError(
      `${dataDirectory} has no identity: an open node signs in with nats.user, or without`,
    );
  }
  const { clusterId, members } = identity;
  const users = members.members
    .filter(({ role }) => role === 'node')
    .flatMap(usersOf)
    .filter(({ isSystem }) => !isSystem);
  return [
    `# The nodes of the Countersign cluster ${clusterId}: member list ${members.version}.`,
    '# Public keys and what each may say and hear; nothing here is secret.',
    'COUNTERSIGN {',
    '  jetstream: enabled',
    ...renderNatsUsers(users).map((line) => line.replace(/^ {2}/, '')),
    '}',
  ].join('\n');
}
