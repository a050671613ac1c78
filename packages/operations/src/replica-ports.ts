import type { ApiPorts } from '@countersign/api';
import type { Incarnation, Membership, NatsLink } from '@countersign/cluster';
import {
  eventsAfter,
  findUser,
  listStandingAdministrators,
  listApiKeys,
  listEvents,
  listUsers,
  readPerson,
  readSettings,
  type Database,
} from '@countersign/database';
import { readClusterView } from './read-cluster.ts';

export type ReplicaPortsOptions = {
  db: Database;
  link: NatsLink;
  membership: Membership;
  incarnation: Incarnation;
  node: string;
  version: string;
};

export type ReplicaPorts = Pick<
  ApiPorts,
  | 'node'
  | 'version'
  | 'readCluster'
  | 'findUser'
  | 'readPerson'
  | 'listUsers'
  | 'listAdministrators'
  | 'listApiKeys'
  | 'readSettings'
  | 'listEvents'
  | 'eventsAfter'
  | 'isMaster'
>;

/** The ports that only read: from this node's replica and from what its links hear. */
export function replicaPorts(options: ReplicaPortsOptions): ReplicaPorts {
  const { db, membership, node, version } = options;
  const lastLog = { state: null };
  return {
    node,
    version,
    readCluster: () => readClusterView({ ...options, lastLog }),
    findUser: (username) => findUser(db, username),
    readPerson: (username) => readPerson(db, username),
    listUsers: (page) => listUsers(db, page),
    listAdministrators: () => listStandingAdministrators(db),
    listApiKeys: () => listApiKeys(db),
    readSettings: () => readSettings(db),
    listEvents: (filter) => listEvents(db, filter),
    eventsAfter: (filter) => eventsAfter(db, filter),
    isMaster: () => membership.master()?.node === node,
  };
}
