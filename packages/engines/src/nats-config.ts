/** A client that may sign in with its nkey, and the subjects it may use; a second word is a queue group. */
export interface NatsUser {
  /** Public key. */
  nkey: string;
  /** In the servers' own account instead of the one that holds the log. */
  isSystem: boolean;
  publish: readonly string[];
  subscribe: readonly string[];
}

export type NatsAccess =
  /** Clients and the other servers sign in with these; for loopback only. */
  | { user: string; password: string }
  /** TLS both ways for clients and routes. */
  | {
      authorityFile: string;
      certificateFile: string;
      keyFile: string;
      users: readonly NatsUser[];
      /** SHA-256 (lower case hex) of the public keys (SPKI, DER) of the servers that may be routes. */
      routeKeys: readonly string[];
    };

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
  access: NatsAccess;
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

/** The configuration file of one nats-server; it may hold a password. */
export function renderNatsConfig(settings: NatsSettings): string {
  const lines = [
    `server_name: ${quote(settings.serverName)}`,
    `listen: ${quote(formatAddress(settings.host, settings.clientPort))}`,
    // Lets a stream be asked for on this very server.
    `server_tags: [${quote(settings.serverName)}]`,
    'max_payload: 1MB',
    'max_connections: 1024',
    'ping_interval: "5s"',
    'write_deadline: "5s"',
    ...renderAccess(settings),
  ];
  return [...lines, ...renderJetStream(settings), ...renderCluster(settings), ''].join('\n');
}

function renderAccess({ access, hasJetStream }: NatsSettings): string[] {
  if ('password' in access) return [renderPassword(access)];
  const users = (isSystem: boolean) =>
    renderNatsUsers(access.users.filter((user) => user.isSystem === isSystem));
  return [
    // Encrypted from the first byte: not even the greeting is for strangers.
    ...renderTls(access, ['  handshake_first: true']),
    'accounts {',
    '  $SYS {',
    ...users(true),
    '  }',
    '  APP {',
    ...(hasJetStream === false ? [] : ['    jetstream: enabled']),
    ...users(false),
    '  }',
    '}',
  ];
}

/** The lines that let these in to an account. */
export function renderNatsUsers(users: readonly NatsUser[]): string[] {
  return ['    users: [', ...users.flatMap(renderUser), '    ]'];
}

function renderPassword({ user, password }: { user: string; password: string }): string {
  return `authorization { user: ${quote(user)}, password: ${quote(password)} }`;
}

function renderUser({ nkey, publish, subscribe }: NatsUser): string[] {
  const list = (subjects: readonly string[]) => `[${subjects.map(quote).join(', ')}]`;
  return [
    `      { nkey: ${nkey}, permissions: {`,
    `        publish: { allow: ${list(publish)} }, subscribe: { allow: ${list(subscribe)} }`,
    '      } }',
  ];
}

/** The server takes TLS 1.2 and 1.3. */
function renderTls(
  files: { authorityFile: string; certificateFile: string; keyFile: string },
  more: readonly string[],
): string[] {
  return [
    'tls {',
    `  cert_file: ${quote(files.certificateFile)}`,
    `  key_file: ${quote(files.keyFile)}`,
    `  ca_file: ${quote(files.authorityFile)}`,
    '  verify: true',
    '  timeout: 5',
    ...more,
    '}',
  ];
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

function renderCluster({ cluster, clusterName, access }: NatsSettings): string[] {
  if (!cluster) return [];
  const isOpen = 'password' in access;
  const signIn = isOpen
    ? `${encodeURIComponent(access.user)}:${encodeURIComponent(access.password)}@`
    : '';
  return [
    'cluster {',
    `  name: ${quote(clusterName)}`,
    `  listen: ${quote(formatAddress(cluster.host, cluster.port))}`,
    `  advertise: ${quote(unreachableAddress)}`,
    '  no_advertise: true',
    '  connect_retries: 120',
    // A certificate outlives its node's membership, a place among these keys does not.
    ...(isOpen
      ? [`  ${renderPassword(access)}`]
      : renderTls(access, [`  pinned_certs: [${access.routeKeys.map(quote).join(', ')}]`])),
    '  routes: [',
    ...cluster.routes.map((route) => `    ${quote(`nats-route://${signIn}${route}`)}`),
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
