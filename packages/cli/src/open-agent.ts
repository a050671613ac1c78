import { Agent } from 'undici';
import type { Server } from './find-servers.ts';

const CONNECT_TIMEOUT_MS = 2_000;

/** How this program connects to one server, for a single call: destroy it after that. */
export function openAgent(
  server: Server,
  options: {
    authorities: string[] | undefined;
    headersTimeout: number;
    bodyTimeout: number;
    maxResponseSize?: number;
  },
): Agent {
  const { authorities, ...limits } = options;
  return new Agent({
    connect: {
      timeout: CONNECT_TIMEOUT_MS,
      ...('socketPath' in server ? { socketPath: server.socketPath } : {}),
      ...(authorities && { ca: authorities }),
    },
    ...limits,
  });
}
