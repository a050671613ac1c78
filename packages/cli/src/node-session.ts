import type { ClusterView } from '@countersign/api';
import { escapeUntrusted } from '@countersign/verification';
import type { Command } from 'commander';
import { callApi, type ApiCall } from './call-api.ts';
import { CliError } from './cli-error.ts';
import { findServers, parseUrl, type Connection, type ConnectionOptions } from './find-servers.ts';
import { streamApi, type StreamCall } from './stream-api.ts';

/** What a command needs that asks one node about itself. */
export type NodeSession = {
  json: boolean;
  call(call: ApiCall): Promise<unknown>;
  /** JSON lines until the node ends them: see {@link streamApi}. */
  stream(call: StreamCall, onLine: (line: unknown) => void): Promise<void>;
};

/** The node of that name, at the address that the cluster knows of it; without a name the first that answers. */
export async function openNodeSession(
  command: Command,
  node: string | undefined,
): Promise<NodeSession> {
  const options = command.optsWithGlobals<ConnectionOptions & { json?: boolean }>();
  const given = findServers(options, process.env, process.cwd());
  const connection = node === undefined ? given : await connectionTo(node, given);
  return {
    json: options.json ?? false,
    call: (call) => callApi(connection, call),
    stream: (call, onLine) => streamApi(connection, call, onLine),
  };
}

async function connectionTo(node: string, given: Connection): Promise<Connection> {
  const { apiKey } = given;
  if (apiKey === null) {
    throw new CliError('another node takes an API key: give --server and --api-key-file', {
      exitCode: 2,
    });
  }
  const view = (await callApi(given, { method: 'GET', path: '/api/v1/cluster' })) as ClusterView;
  const found = view.nodes.find(({ name }) => name === node);
  if (!found) throw new CliError(`there is no node ${escapeUntrusted(node)}`);
  if (found.url === null || !/^https?:/.test(found.url)) {
    throw new CliError(`the cluster knows no address of ${node}: give it with --server`);
  }
  return { ...given, servers: [parseUrl(found.url)] };
}
