import type { LogServerAddress } from '@countersign/cluster';
import type { HandedKeys } from '@countersign/keys';

/** All a worker is given: neither the cluster key nor what opens documents, events or an agent's proof. */
export const WORKER_KEYS = [
  'seed',
  'command',
  'wrong-code',
  'attempt-id',
  'challenge',
  'pin',
  'spare-code',
  'parked',
] as const;

/** What the supervisor hands to an auth worker in its first IPC message: `{ type: 'start', config }`. */
export type WorkerConfig = {
  node: string;
  version: string;
  /** 0, 1, … : names the worker in logs and connections. */
  index: number;
  database: DatabaseAddress;
  nats: { user: string; password: string };
  /** Log servers by the addresses this node reaches them at; which of them count stands in PostgreSQL. */
  logServers: LogServerAddress[];
  keys: HandedKeys<(typeof WORKER_KEYS)[number]>;
  http: { host: string; port: number; trustedProxies: string[] };
  /** Null: this node does not listen for RADIUS. Every worker listens at all of them. */
  radius: { hosts: string[]; authenticationPort: number; accountingPort: number } | null;
  texts: {
    /** So many workers share the node's limits. */
    workers: number;
    /** Hosts of gateways that may be at any address and speak plain http. */
    gateways: string[];
  };
  /** A demo's file, where texts go instead; null anywhere else. */
  outboxFile: string | null;
  logLevel: string;
};

export type DatabaseAddress = {
  /** Host name or the folder of the unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
};
