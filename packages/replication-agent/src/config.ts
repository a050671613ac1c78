import type { HandedKeys } from '@countersign/keys';

export const AGENT_KEYS = [
  'document',
  'seed',
  'command',
  'event',
  'attempt-id',
  'socket-proof',
] as const;

/** What the supervisor hands to the agent in its first IPC message: `{ type: 'start', config }`. */
export type AgentConfig = {
  node: string;
  version: string;
  /** Folder for what only the agent writes; exists, 0700. */
  dataDirectory: string;
  database: { host: string; port: number; user: string; database: string; password?: string };
  /** `host:port` of the log servers, this node's own first. */
  nats: { servers: string[]; user: string; password: string };
  /** Copies of every stream: 3 from three log servers on, else 1. */
  logReplicas: number;
  limits: { changesBytes: number; statesBytes: number; eventsBytes: number };
  keys: HandedKeys<(typeof AGENT_KEYS)[number]>;
  isPromotable: boolean;
  /** Where clients reach this node, for people; null = not told. */
  url: string | null;
  /** Local administration socket, 0600. */
  socketPath: string;
  logLevel: string;
};
