import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { CliError } from './cli-error.ts';

export type Server = { url: string } | { socketPath: string };
/** Where to ask, in this order, and with which key; a local socket needs none. */
export type Connection = { servers: Server[]; apiKey: string | null };

export type ConnectionOptions = { server?: string; apiKey?: string; apiKeyFile?: string };

export const LOCAL_SOCKET = '/var/lib/countersign/countersign.sock';
const DEMO_FILE = join('demo-data', 'demo.json');

/**
 * Options go before the environment, that before the node on this machine, and last comes a demo
 * running in this directory.
 * @throws CliError if there is nothing to connect to, or a key is missing
 */
export function findServers(
  options: ConnectionOptions,
  env: NodeJS.ProcessEnv,
  directory: string,
): Connection {
  const named = options.server ?? env.COUNTERSIGN_SERVER;
  if (named) return { servers: parseUrls(named), apiKey: findApiKey(options, env) };

  const socketPath = env.COUNTERSIGN_SOCKET;
  if (socketPath) return { servers: [{ socketPath }], apiKey: null };
  if (existsSync(LOCAL_SOCKET)) return { servers: [{ socketPath: LOCAL_SOCKET }], apiKey: null };

  const demoFile = join(directory, DEMO_FILE);
  if (existsSync(demoFile)) return readDemo(demoFile);
  throw new CliError(
    'no server to ask: give --server URL and --api-key-file FILE, or set COUNTERSIGN_SERVER and COUNTERSIGN_API_KEY',
  );
}

function parseUrls(text: string): Server[] {
  return text.split(',').map((part) => {
    const url = part.trim();
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol)) {
      throw new CliError(`not an http(s) address: ${url}`, { exitCode: 2 });
    }
    return { url: new URL(url).origin };
  });
}

function findApiKey(options: ConnectionOptions, env: NodeJS.ProcessEnv): string {
  const key = options.apiKey ?? readKeyFile(options.apiKeyFile) ?? env.COUNTERSIGN_API_KEY;
  if (key) return key;
  throw new CliError('an API key is needed: give --api-key-file FILE or set COUNTERSIGN_API_KEY', {
    exitCode: 2,
  });
}

function readKeyFile(path: string | undefined): string | undefined {
  if (path === undefined) return undefined;
  try {
    return readFileSync(path, 'utf8').trim();
  } catch (error) {
    throw new CliError(`cannot read the API key from ${path}`, { cause: error });
  }
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
