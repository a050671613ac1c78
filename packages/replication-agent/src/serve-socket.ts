import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { buildApi, type ApiPorts } from '@countersign/api';
import type { Incarnation, Membership, NatsLink } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import { replicaPorts, runCommand, sealerOf } from '@countersign/operations';
import { API_SCOPES } from '@countersign/verification';
import type { Logger } from 'pino';
import { proveSocket } from './authorise.ts';
import type { AgentConfig } from './config.ts';

/**
 * The API on the node's own 0600 socket, for whoever administers this machine. Served by the agent because its
 * word counts at the master, and a worker's does not. It cannot verify anybody.
 */
export async function serveSocket(options: {
  config: AgentConfig;
  keys: { command: PurposeKey; 'socket-proof': PurposeKey; 'attempt-id': PurposeKey };
  db: Database;
  link: NatsLink;
  membership: Membership;
  incarnation: Incarnation;
  log: Logger;
}): Promise<{ close(): Promise<void> }> {
  const { config, keys, db, link, membership, incarnation } = options;
  const path = {
    db,
    link,
    membership,
    sealer: sealerOf(keys.command),
    attemptKey: keys['attempt-id'],
    incarnationNumber: incarnation.number,
  };
  const ports: ApiPorts = {
    ...replicaPorts({
      db,
      link,
      membership,
      incarnation,
      node: config.node,
      version: config.version,
    }),
    authenticate: async (credentials) =>
      credentials.local
        ? {
            id: `socket ${config.node}`,
            name: `socket of ${config.node}`,
            scopes: new Set(API_SCOPES),
            applications: null,
            proof: { kind: 'socket', node: config.node },
          }
        : null,
    runCommand: (request) =>
      runCommand(path, request, (commandId) =>
        proveSocket(keys['socket-proof'], config.node, { ...request, commandId }),
      ),
    checkReady: async () => ({ ready: false, degraded: false, problems: ['local socket'] }),
    metrics: async () => ({ contentType: 'text/plain', text: '' }),
  };
  const server = buildApi(ports, { logger: options.log, local: true });
  if (existsSync(config.socketPath)) unlinkSync(config.socketPath);
  const before = process.umask(0o177);
  try {
    await server.listen({ path: config.socketPath });
  } finally {
    process.umask(before);
  }
  chmodSync(config.socketPath, 0o600);
  return { close: () => server.close() };
}
