import type { Command } from 'commander';
import { callApi } from './call-api.ts';
import type { ApiCall } from './call-api.ts';
import { findServers } from './find-servers.ts';
import type { ConnectionOptions } from './find-servers.ts';

/** What a command needs of the global options: somebody to ask, and how to print. */
export type Session = { json: boolean; call: (call: ApiCall) => Promise<unknown> };

export function openSession(command: Command): Session {
  const options = command.optsWithGlobals<ConnectionOptions & { json?: boolean }>();
  const connection = findServers(options, process.env, process.cwd());
  return { json: options.json ?? false, call: (call) => callApi(connection, call) };
}
