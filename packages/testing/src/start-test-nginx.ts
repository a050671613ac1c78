import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';

import { spawnSupervised } from '@countersign/engines';

import { waitFor } from './wait-for.ts';

export interface TestNginx {
  pid: number;
  /** What it wrote so far; one line for each session that is over, with the server that had it. */
  log(): Promise<string>;
  stop(): Promise<void>;
}

const folders = [...(process.env['PATH'] ?? '').split(delimiter), '/usr/sbin'];
const binary = folders.map((folder) => join(folder, 'nginx')).find(existsSync);
const streamModule = '/usr/lib/nginx/modules/ngx_stream_module.so';

/** Whether Debian's packages `nginx-light` and `libnginx-mod-stream`, or their like, are installed. */
export const hasNginxStream = binary !== undefined && existsSync(streamModule);

const startDeadlineMs = 15_000;

/**
 * A real nginx that balances UDP between servers in turn: each datagram is a session of its own, which ends with its
 * answer. `bind` is what it sends from (as its directive `proxy_bind`), `namespace` the file of a network namespace.
 */
export async function startTestNginx(options: {
  listen: string;
  servers: readonly string[];
  bind: string;
  namespace?: string;
  /** How long an answer is waited for. */
  timeoutSeconds?: number;
}): Promise<TestNginx> {
  const folder = await mkdtemp(join(tmpdir(), 'countersign-nginx-'));
  const configFile = join(folder, 'nginx.conf');
  const logFile = join(folder, 'nginx.log');
  await writeFile(configFile, renderConfig(options, folder));
  const nginx = [binary ?? 'nginx', '-c', configFile, '-e', 'stderr', '-p', folder];
  const enter = options.namespace ? ['/usr/bin/nsenter', `--net=${options.namespace}`] : [];
  const [command = 'nginx', ...args] = [...enter, ...nginx];
  const server = await spawnSupervised({ command, args, logFile, stopSignal: 'SIGTERM' });
  const log = () => readFile(logFile, 'utf8');
  const stop = async () => {
    await server.stop();
    await rm(folder, { recursive: true, force: true });
  };
  try {
    const isReady = async () => (await log()).includes('getrlimit(RLIMIT_NOFILE)');
    const ended = server.exited.then(() => Promise.reject(new Error('nginx ended')));
    await Promise.race([waitFor('nginx', isReady, { timeoutMs: startDeadlineMs }), ended]);
  } catch (error) {
    const text = await log();
    await stop();
    throw new Error(`nginx did not start:\n${text.slice(-2_000)}`, { cause: error });
  }
  return { pid: server.pid, log, stop };
}

// As docs/integrations/radius.md advises, with a shorter time-out.
function renderConfig(
  {
    listen,
    servers,
    bind,
    timeoutSeconds = 20,
  }: { listen: string; servers: readonly string[]; bind: string; timeoutSeconds?: number },
  folder: string,
): string {
  return `
load_module ${streamModule};
daemon off;
# One process, so that none is left when we die.
master_process off;
pid ${folder}/nginx.pid;
error_log stderr notice;
events {
  worker_connections 512;
}
stream {
  log_format session '$remote_addr:$remote_port to $upstream_addr, $upstream_bytes_received bytes back';
  access_log /dev/stderr session;
  upstream radius {
${servers.map((server) => `    server ${server} max_fails=0;`).join('\n')}
  }
  server {
    listen ${listen} udp;
    proxy_pass radius;
    proxy_bind ${bind};
    proxy_requests 1;
    proxy_responses 1;
    proxy_timeout ${timeoutSeconds}s;
  }
}
`;
}
