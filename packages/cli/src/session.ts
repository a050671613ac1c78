import type { Command } from 'commander';
import { callApi } from './call-api.ts';
import type { ApiCall } from './call-api.ts';
import { findServers } from './find-servers.ts';
import type { ConnectionOptions } from './find-servers.ts';
import { renewSession } from './session-file.ts';

/** What a command needs of the global options: somebody to ask, and how to print. */
export type Session = { json: boolean; call: (call: ApiCall) => Promise<unknown> };

export function openSession(command: Command): Session {
  const options = command.optsWithGlobals<ConnectionOptions & { json?: boolean; why?: string }>();
  const found = findServers(options, process.env, process.cwd());
  const connection = options.why === undefined ? found : { ...found, reason: options.why };
  connection.onRenewed = (token) => {
    const sent = connection.apiKey;
    connection.apiKey = token;
    renewSession(process.env, { sent, token });
  };
  return { json: options.json ?? false, call: (call) => callApi(connection, call) };
}
