import { existsSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { callApi, type ApiCall } from './call-api.ts';
import { CliError } from './cli-error.ts';
import { LOCAL_SOCKET } from './find-servers.ts';

export type LocalSession = {
  json: boolean;
  socketPath: string;
  call: (call: ApiCall) => Promise<unknown>;
};

/**
 * What only an operator at the machine may ask for goes over the node's own socket, never over the network.
 * @throws CliError where there is none
 */
export function openLocalSession(command: Command, node?: string): LocalSession {
  const { json = false, socket } = command.optsWithGlobals<{ json?: boolean; socket?: string }>();
  const demo = node === undefined ? undefined : join('demo-data', node, 'countersign.sock');
  const candidates = [socket, process.env.COUNTERSIGN_SOCKET, demo, LOCAL_SOCKET];
  const named = socket ?? process.env.COUNTERSIGN_SOCKET;
  const found = named ?? candidates.find((path) => path !== undefined && existsSync(path));
  if (found === undefined) {
    throw new CliError(
      'this takes the administration socket of the node: run it there, or give --socket PATH',
      { exitCode: 2 },
    );
  }
  const connection = { servers: [{ socketPath: found }], apiKey: null };
  return { json, socketPath: found, call: (call) => callApi(connection, call) };
}
