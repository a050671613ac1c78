import type { DiskState, LogLayout, LogServerAddress } from '@countersign/cluster';
import type { HandedKeys } from '@countersign/keys';

export const AGENT_KEYS = [
  'document',
  'seed',
  'command',
  'event',
  'attempt-id',
  'pin',
  'spare-code',
  'new-secret',
  'socket-proof',
] as const;

/** What the supervisor hands to the agent in its first IPC message: `{ type: 'start', config }`. */
export type AgentConfig = {
  node: string;
  version: string;
  /** Folder for what only the agent writes; exists, 0700. */
  dataDirectory: string;
  database: { host: string; port: number; user: string; database: string; password?: string };
  nats: { user: string; password: string };
  /** Which log servers this node follows to begin with. */
  layout: LogLayout;
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
  isPromotable: boolean;
  /** Where clients reach this node, for people; null = not told. */
  url: string | null;
  /** Local administration socket, 0600. */
  socketPath: string;
  /** Hosts of gateways for texts that may be at any address. */
  textGateways: string[];
  /** A demo's file, where mails and texts go instead; null anywhere else. */
  outboxFile: string | null;
  logLevel: string;
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
