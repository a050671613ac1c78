/** What the supervisor hands to an auth worker in its first IPC message: `{ type: 'start', config }`. */
export type WorkerConfig = {
  node: string;
  version: string;
  /** 0, 1, … : names the worker in logs and connections. */
  index: number;
  database: DatabaseAddress;
  /** `host:port` of the log servers, this node's own first. */
  nats: { servers: string[]; user: string; password: string };
  clusterKeyFile: string;
  http: { host: string; port: number; trustedProxies: string[] };
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
