import type { LogServerAddress, LogSignIn } from '@countersign/cluster';
import type { HandedKeys } from '@countersign/keys';
import type { CertificateNotice, CertificatePair, TlsTerms } from '@countersign/tls';

/** All a worker is given: neither the cluster key nor what opens documents, events or an agent's proof. */
export const WORKER_KEYS = [
  'seed',
  'command',
  'command-id',
  'wrong-code',
  'attempt-id',
  'challenge',
  'pin',
  'spare-code',
  'parked',
  'session',
] as const;

/** What the supervisor hands to an auth worker in its first IPC message: `{ type: 'start', config }`. */
export type WorkerConfig = {
  node: string;
  version: string;
  /** 0, 1, … : names the worker in logs and connections. */
  index: number;
  database: DatabaseAddress;
  nats: LogSignIn;
  /** Log servers by the addresses this node reaches them at; which of them count stands in PostgreSQL. */
  logServers: LogServerAddress[];
  keys: HandedKeys<(typeof WORKER_KEYS)[number]>;
  http: {
    host: string;
    port: number;
    trustedProxies: string[];
    monitoringFrom: string[];
    /** Null: plain HTTP, on loopback. */
    tls: { terms: TlsTerms; pair: CertificatePair } | null;
  };
  /** As they stand to begin with. */
  certificates: CertificateNotice[];
  /** Null: this node does not listen for RADIUS. Every worker listens at all of them. */
  radius: { hosts: string[]; authenticationPort: number; accountingPort: number } | null;
  texts: {
    /** So many workers share the node's limits. */
    workers: number;
    /** Hosts of gateways that may be at any address and speak plain http. */
    gateways: string[];
  };
  /** Where this node's agent notes the backups it made; null where none are planned. */
  backupStatusFile: string | null;
  /** A demo's file, where texts go instead; null anywhere else. */
  outboxFile: string | null;
  logLevel: string;
};

/** What the supervisor tells whenever a certificate was replaced, or there is something to say about one. */
export type CertificatesMessage = {
  type: 'certificates';
  pair: CertificatePair | null;
  notices: CertificateNotice[];
};

/** From the supervisor, whenever the node's key ring has changed. */
export type KeysMessage = { type: 'keys'; keys: WorkerConfig['keys'] };

export type DatabaseAddress = {
  /** Host name or the folder of the unix socket. */
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
  /** PEM; left out: not encrypted, by a socket or on loopback. */
  authority?: string;
};
