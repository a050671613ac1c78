export interface NatsSettings {
  serverName: string;
  clusterName: string;
  host: string;
  clientPort: number;
  /** Where JetStream keeps its files. */
  storeDirectory: string;
  /** How much JetStream may keep on disk. */
  maxStoreBytes: number;
  /** False leaves JetStream out: the server only passes messages on. */
  hasJetStream?: boolean;
  /** Clients and the other servers of the cluster sign in with these. */
  credentials: { user: string; password: string };
  /** Left out: a single server. Servers of different cluster names refuse each other. */
  cluster?: {
    host: string;
    port: number;
    /** The other servers, `host:port` each. */
    routes: readonly string[];
    /** Clients keep to the addresses they were configured with. */
    noAdvertise: true;
  };
}

// Servers pass each other's addresses on and would connect by those besides the configured routes,
// round a relay or firewall. Nobody listens on the discard port, so only the routes remain.
const unreachableAddress = '127.0.0.1:9';

/** The configuration file of one nats-server; it holds the password. */
export function renderNatsConfig(settings: NatsSettings): string {
  const { credentials } = settings;
  const lines = [
    `server_name: ${quote(settings.serverName)}`,
    `listen: ${quote(formatAddress(settings.host, settings.clientPort))}`,
    // Lets a stream be asked for on this very server.
    `server_tags: [${quote(settings.serverName)}]`,
    'max_payload: 1MB',
    'max_connections: 1024',
    'ping_interval: "5s"',
    'write_deadline: "5s"',
    `authorization { user: ${quote(credentials.user)}, password: ${quote(credentials.password)} }`,
  ];
  return [...lines, ...renderJetStream(settings), ...renderCluster(settings), ''].join('\n');
}

function renderJetStream({ hasJetStream, storeDirectory, maxStoreBytes }: NatsSettings): string[] {
  if (hasJetStream === false) return [];
  return [
    'jetstream {',
    `  store_dir: ${quote(storeDirectory)}`,
    `  max_file_store: ${maxStoreBytes}`,
    '  max_memory_store: 16MB',
    '  sync_interval: "1s"',
    '}',
  ];
}

function renderCluster({ cluster, clusterName, credentials }: NatsSettings): string[] {
  if (!cluster) return [];
  const signIn = `${encodeURIComponent(credentials.user)}:${encodeURIComponent(credentials.password)}`;
  return [
    'cluster {',
    `  name: ${quote(clusterName)}`,
    `  listen: ${quote(formatAddress(cluster.host, cluster.port))}`,
    `  advertise: ${quote(unreachableAddress)}`,
    '  no_advertise: true',
    '  connect_retries: 120',
    `  authorization { user: ${quote(credentials.user)}, password: ${quote(credentials.password)} }`,
    '  routes: [',
    ...cluster.routes.map((route) => `    ${quote(`nats-route://${signIn}@${route}`)}`),
    '  ]',
    '}',
  ];
}

/** `host:port`, with brackets round an IPv6 address. */
export function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}

function quote(text: string): string {
  return JSON.stringify(text);
}
