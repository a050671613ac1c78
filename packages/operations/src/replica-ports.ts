import type { ApiPorts } from '@countersign/api';
import type { Incarnation, Membership, NatsLink } from '@countersign/cluster';
import { findUsersByKey, listUsers, readSettings, type Database } from '@countersign/database';
import { usernameKey } from '@countersign/verification';
import { describeUser } from './describe-user.ts';
import { listEvents } from './list-events.ts';
import { readClusterView } from './read-cluster.ts';

export type ReplicaPortsOptions = {
  db: Database;
  link: NatsLink;
  membership: Membership;
  incarnation: Incarnation;
  node: string;
  version: string;
};

type ReplicaPorts = Pick<
  ApiPorts,
  | 'node'
  | 'version'
  | 'readCluster'
  | 'findUser'
  | 'listUsers'
  | 'readSettings'
  | 'listEvents'
  | 'isMaster'
>;

/** The ports that only read: from this node's replica and from what its links hear. */
export function replicaPorts(options: ReplicaPortsOptions): ReplicaPorts {
  const { db, membership, node, version } = options;
  return {
    node,
    version,
    readCluster: () => readClusterView(options),
    async findUser(username) {
      const [user, namesake] = await findUsersByKey(db, usernameKey(username));
      if (namesake) return 'ambiguous';
      return user ? describeUser(user) : null;
    },
    listUsers: async (page) => (await listUsers(db, page)).map(describeUser),
    readSettings: () => readSettings(db),
    listEvents: (filter) => listEvents(db, filter),
    isMaster: () => membership.master()?.node === node,
  };
}
