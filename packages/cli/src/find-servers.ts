import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from './cli-error.ts';
import { readNamedFile } from './read-named-file.ts';
import { findAuthorities } from './find-authorities.ts';
import { readSession } from './session-file.ts';

export type Server = { url: string } | { socketPath: string };
/** Where to ask, in this order, and with which key; a local socket needs none. */
export type Connection = {
  servers: Server[];
  /** Or a session, which is sent the same way. */
  apiKey: string | null;
  /** PEM; missing: those the system believes. */
  authorities?: string[] | undefined;
  /** Why, in the words of whoever asks. */
  reason?: string;
  /** A node has given the session anew. */
  onRenewed?: (token: string) => void;
};

export type ConnectionOptions = {
  server?: string;
  apiKey?: string;
  apiKeyFile?: string;
  clusterCa?: string;
};

export const LOCAL_SOCKET = '/var/lib/countersign/countersign.sock';
const DEMO_FILE = join('demo-data', 'demo.json');

/**
 * Options go before the environment, that before a session of `countersign login`, that before the node on this
 * machine, and last comes a demo running in this directory.
 * @throws CliError if there is nothing to connect to, or a key is missing
 */
export function findServers(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
  directory: string,
): Connection {
  const named = options.server ?? env.COUNTERSIGN_SERVER;
  if (named) {
    const servers = parseUrls(named);
    const apiKey = findApiKey(options, env) ?? findSession(servers, env);
    return { servers, apiKey, authorities: findAuthorities(options, env) };
  }

  const socketPath = env.COUNTERSIGN_SOCKET;
  if (socketPath) return { servers: [{ socketPath }], apiKey: null };
  const session = readSession(env);
  if (session) {
    const servers = session.servers.map((url) => parseUrl(url));
    return { servers, apiKey: session.token, authorities: findAuthorities(options, env) };
  }
  if (existsSync(LOCAL_SOCKET)) return { servers: [{ socketPath: LOCAL_SOCKET }], apiKey: null };

  const demoFile = join(directory, DEMO_FILE);
  if (existsSync(demoFile)) return readDemo(demoFile);
  throw new CliError(
    `no server to ask: no node runs here that you may ask (${LOCAL_SOCKET}; another one: COUNTERSIGN_SOCKET). Start it, or give --server URL and --api-key-file FILE, or countersign login NAME --server URL`,
  );
}

/** Where somebody signs in, who has no key yet: as {@link findServers}, but never a local socket. */
export function findSignIn(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
  directory: string,
): Connection {
  const named = options.server ?? env.COUNTERSIGN_SERVER;
  if (named) {
    const authorities = findAuthorities(options, env);
    return { servers: parseUrls(named), apiKey: null, authorities };
  }
  const demoFile = join(directory, DEMO_FILE);
  if (existsSync(demoFile)) return { ...readDemo(demoFile), apiKey: null };
  throw new CliError('no server to ask: give --server URL or set COUNTERSIGN_SERVER', {
    exitCode: 2,
  });
}

function parseUrls(text: string): Server[] {
  return text.split(',').map((part) => {
    const url = part.trim();
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new CliError(`not an http(s) address: ${url}`, { exitCode: 2 });
    }
    return parseUrl(url);
  });
}

/** @throws CliError for one that the API key must not be sent to */
export function parseUrl(url: string): { url: string } {
  const { origin, protocol, hostname } = new URL(url);
  if (protocol === 'http:' && !isThisMachine(hostname)) {
    const why = 'http:// is for this machine alone, others could read the API key on its way';
    throw new CliError(`${origin}: ${why}: give https://`, { exitCode: 2 });
  }
  return { url: origin };
}

function isThisMachine(host: string): boolean {
  return host === 'localhost' || host === '[::1]' || /^127\.\d+\.\d+\.\d+$/.test(host);
}

function findApiKey(options: ConnectionOptions, env: NodeJS.ProcessEnv): string | null {
  return options.apiKey ?? readKeyFile(options.apiKeyFile) ?? (env.COUNTERSIGN_API_KEY || null);
}

/** A session is sent where it came from and nowhere else. */
function findSession(servers: readonly Server[], env: NodeJS.ProcessEnv): string {
  const session = readSession(env);
  const isOfAll = servers.every((one) => 'url' in one && session?.servers.includes(one.url));
  if (session && isOfAll) return session.token;
  throw new CliError(
    'an API key is needed: give --api-key-file FILE or set COUNTERSIGN_API_KEY, or countersign login NAME',
    { exitCode: 2 },
  );
}

function readKeyFile(path: string | undefined): string | undefined {
  return path === undefined ? undefined : readNamedFile(path, 'the API key').trim();
}

function readDemo(path: string): Connection {
  try {
    const demo = JSON.parse(readFileSync(path, 'utf8')) as {
      apiKey: string;
      nodes: { url: string }[];
    };
    const servers = demo.nodes.map(({ url }) => ({ url: new URL(url).origin }));
    return { servers, apiKey: demo.apiKey };
  } catch (error) {
    throw new CliError(`${path} is not the file of a running demo`, { cause: error });
  }
}
