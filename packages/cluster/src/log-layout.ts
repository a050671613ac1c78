/** Where a log server is reached. */
export type LogServerAddress = {
  name: string;
  host: string;
  clientPort: number;
  routePort: number;
  /** Of a machine that runs nothing else. */
  isWitness?: true;
};

/**
 * Which servers form the log together. Every set begins with empty stores and a name of its own, so that servers
 * of different sets refuse each other.
 */
export type LogLayout = {
  /** `1` for the set a cluster begins with. */
  tag: string;
  servers: LogServerAddress[];
  /** The node that fills a set made later; null in the first. */
  by: string | null;
  /** When `promote --force` made this set: what may have been lost is refused from there on. */
  disasterAt: string | null;
  /** Tag of the set whose log was closed for this one: whatever stands there, `by` has. */
  after?: string;
};

export const FIRST_LAYOUT_TAG = '1';

/** Tag of the only layout that a NATS of the operator's own has: its servers come and go as he wishes. */
export const OPERATORS_TAG = 'operators';

/** Whether the log is in a NATS of the operator's own instead of servers that the nodes run. */
export function isOperators({ tag }: Pick<LogLayout, 'tag'>): boolean {
  return tag === OPERATORS_TAG;
}

/** Copies of every stream: two servers are no safer than one. */
export function replicasOf(layout: LogLayout): number {
  return layout.servers.length >= 3 ? 3 : 1;
}

/** A server's own name: the same node with a fresh store is another server. */
export function serverNameOf(node: string, tag: string): string {
  return tag === FIRST_LAYOUT_TAG ? node : `${node}.${tag}`;
}

export function nodeOfServer(serverName: string): string {
  return serverName.split('.', 1)[0]!;
}

/** What {@link serverNameOf} put behind the node. */
export function tagOfServer(serverName: string): string {
  const dot = serverName.indexOf('.');
  return dot === -1 ? FIRST_LAYOUT_TAG : serverName.slice(dot + 1);
}

/**
 * Whether `node` runs one of the layout's servers. Not where it has lived before: its store went when it left, and a
 * server that forgot what it agreed to must not vote again.
 */
export function runsServerOf(
  layout: LogLayout,
  node: string,
  leftTags: readonly string[],
): boolean {
  return layout.servers.some(({ name }) => name === node) && !leftTags.includes(layout.tag);
}

/** The layout's servers as this node reaches them: by the addresses it was configured with where it was. */
export function reachableServers(
  layout: LogLayout,
  configured: readonly LogServerAddress[],
): LogServerAddress[] {
  // Each node has addresses of its own for those of the operator.
  if (isOperators(layout)) return [...configured];
  return layout.servers.map(
    (server) => configured.find(({ name }) => name === server.name) ?? server,
  );
}

/** `host:port` for clients on `node`: its own server first, then in the given order. */
export function clientAddresses(servers: readonly LogServerAddress[], node: string): string[] {
  return servers
    .toSorted((a, b) => Number(b.name === node) - Number(a.name === node))
    .map(({ host, clientPort }) => formatHostPort(host, clientPort));
}

export function formatHostPort(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
