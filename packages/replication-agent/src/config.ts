import type { DiskState, LogLayout, LogServerAddress, LogSignIn } from '@countersign/cluster';
import type { ExaminedNode } from '@countersign/doctor';
import type { HandedKeys } from '@countersign/keys';
import type { CertificateNotice } from '@countersign/tls';
import type { Founding } from './members/tend-members.ts';
import type { KeyRingDocument } from '@countersign/verification';

export const AGENT_KEYS = [
  'document',
  'seed',
  'command',
  'command-id',
  'event',
  'attempt-id',
  'pin',
  'spare-code',
  'new-secret',
  'socket-proof',
  'session',
  'session-proof',
  'authority',
] as const;

/** What the supervisor hands to the agent in its first IPC message: `{ type: 'start', config }`. */
export type AgentConfig = {
  node: string;
  version: string;
  /** Folder for what only the agent writes; exists, 0700. */
  dataDirectory: string;
  database: {
    host: string;
    port: number;
    user: string;
    database: string;
    password?: string;
    /** PEM; left out: not encrypted, by a socket or on loopback. */
    authority?: string;
  };
  nats: LogSignIn;
  /** Null: the cluster is open on loopback. */
  identity: {
    caPem: string;
    certificatePem: string;
    keyPem: string;
    clusterId: string;
    /** Only on the node that founded the cluster, until it stands in the log. */
    founding: Founding | null;
  } | null;
  /** Which log servers this node follows to begin with. */
  layout: LogLayout;
  /** For `doctor`. */
  examined: ExaminedNode;
  /** Every log server it was configured with: where others may be found. */
  logServers: LogServerAddress[];
  /** Its own, in use or not; null where it has none. */
  logServer: LogServerAddress | null;
  runsLogServer: boolean;
  /** Tags of the layouts it has left, with their stores. */
  leftLogs: string[];
  /** Where its stores are, each in a folder named by the layout's tag. */
  storesDirectory: string;
  limits: { changesBytes: number; statesBytes: number; eventsBytes: number };
  keys: HandedKeys<(typeof AGENT_KEYS)[number]>;
  keyRing: KeyRingReport;
  isPromotable: boolean;
  /** Where clients reach this node, for people; null = not told. */
  url: string | null;
  /** Backups that this node makes by itself; null: none. */
  backup: BackupPlan | null;
  /** Where it notes what became of backups; its workers read it. */
  backupStatusFile: string;
  /** Local administration socket, 0600. */
  socketPath: string;
  /** Hosts of gateways for texts that may be at any address. */
  textGateways: string[];
  /** As they stand to begin with; `{ type: 'certificates', notices }` tells whenever that changes. */
  certificates: CertificateNotice[];
  /** A demo's file, where mails and texts go instead; null anywhere else. */
  outboxFile: string | null;
  logLevel: string;
};

/** What an agent may know of its node's key ring. */
export type KeyRingReport = {
  active: string;
  generations: { id: string; madeAt: string; isRetired: boolean }[];
  /** Why the ring is not as the cluster's document wants it, in one line. */
  problem: string | null;
};

/** From the supervisor, whenever the ring has changed or could not be: on the disk before. */
export type KeysMessage = {
  type: 'keys';
  keys: HandedKeys<(typeof AGENT_KEYS)[number]>;
  keyRing: KeyRingReport;
};

/** To the supervisor: how its ring should be. */
export type KeyRingMessage = { type: 'key-ring'; document: KeyRingDocument };

/** A generation that nobody has yet, sealed for supervisors under the active one. */
export type SealedGeneration = { id: string; madeAt: string; sealed: string };
/** From the supervisor, to `make-generation`. */
export type GenerationMessage = { type: 'generation'; generation: SealedGeneration };
/** From the supervisor, to `whole-keys-wanted`: the cluster's keys as a backup holds them. */
export type WholeKeysMessage = { type: 'whole-keys'; text: string };

/** Every so often a backup into that folder, the newest few of which are kept. */
export type BackupPlan = {
  directory: string;
  everyHours: number;
  keep: number;
  /** A public key of age: this node can make backups and not read them. */
  recipient: string;
  withEvents: boolean;
};

/** What the supervisor tells about the node's disks, once a second: `{ type: 'disks', disks }`. */
export type DiskReport = {
  /** What lies on this disk. */
  parts: ('log' | 'database')[];
  state: DiskState;
  freeBytes: number;
  totalBytes: number;
};

/** Whether writes reach this node's log server, for the supervisor: `{ type: 'log-server-health', health }`. */
export type LogServerHealth =
  | 'working'
  /** Not up to date, but nearer than before. */
  | 'catching-up'
  /** The others take writes without it. */
  | 'behind'
  /** No writes are taken at all, or nobody says. */
  | 'silent';
