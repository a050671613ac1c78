import { chmodSync, existsSync, unlinkSync } from 'node:fs';
import { buildApi, ProblemError, type ApiPorts, type NodeExamination } from '@countersign/api';
import type { Incarnation, LogLayout, Membership, NatsLink, StopFacts } from '@countersign/cluster';
import type { Database } from '@countersign/database';
import type { PurposeKey } from '@countersign/keys';
import {
  askExamination,
  OpenDirectories,
  replicaPorts,
  runCommand,
  sealerOf,
} from '@countersign/operations';
import { RIGHTS, type StopFact } from '@countersign/verification';
import type { Logger } from 'pino';
import { BackupError } from '@countersign/backup';
import type { Backups } from './backup/backups.ts';
import { proveSocket } from './authorise.ts';
import type { AgentConfig } from './config.ts';
import type { Disaster } from './disaster.ts';
import { DisasterError } from './disaster.ts';

/**
 * The API on the node's own 0600 socket, for whoever administers this machine. Served by the agent because its
 * word counts at the master, and a worker's does not. It cannot verify anybody.
 */
export async function serveSocket(options: {
  config: AgentConfig;
  keys: Record<'command' | 'command-id' | 'socket-proof' | 'attempt-id' | 'seed', PurposeKey>;
  db: Database;
  link: NatsLink;
  membership: Membership;
  incarnation: Incarnation;
  disaster: Disaster;
  stopFacts: StopFacts<StopFact>;
  backups: Backups;
  /** When this life ends: what is under way is given up then. */
  stopping: AbortSignal;
  /** What only an operator at the node may do was asked for: live there from now on. */
  onMove(layout: LogLayout): void;
  /** Of this node itself, also while the log is away. */
  examine(): Promise<NodeExamination>;
  log: Logger;
}): Promise<{ close(): Promise<void> }> {
  const { config, keys, db, link, membership, incarnation, disaster } = options;
  const path = {
    db,
    node: config.node,
    stopFacts: options.stopFacts,
    link,
    membership,
    sealer: sealerOf(keys.command),
    attemptKey: keys['attempt-id'],
    commandIdKey: keys['command-id'],
  };
  const directories = new OpenDirectories({
    db,
    node: config.node,
    seedKey: keys.seed,
    log: options.log,
  });
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
            scopes: new Set(RIGHTS),
            applications: null,
            proof: { kind: 'socket', node: config.node },
          }
        : null,
    runCommand: (request) =>
      runCommand(path, request, (commandId) =>
        proveSocket(keys['socket-proof'], config.node, { ...request, commandId }),
      ),
    directories,
    operator: {
      describePromotion: () => told(disaster.describePromotion()),
      forcePromotion: async (token) => {
        const { layout, missed } = await told(disaster.promote(token));
        options.onMove(layout);
        return { missed };
      },
      describeRejoin: () => told(disaster.describeRejoin()),
      rejoin: async (token) => {
        const { layout, file } = await told(disaster.rejoin(token));
        options.onMove(layout);
        return { file };
      },
      backUp: (how, take) => {
        const { backups, stopping: signal } = options;
        return told(backups.backUpByHand({ ...how, signal }, (lines) => take(lines, signal)));
      },
    },
    examineNode: (node) => (node === config.node ? options.examine() : askExamination(path, node)),
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
  return {
    async close() {
      await server.close();
      await directories[Symbol.asyncDispose]();
    },
  };
}

async function told<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof BackupError) throw new ProblemError(409, error.code, error.message);
    if (error instanceof DisasterError) throw new ProblemError(409, error.code, error.message);
    throw error;
  }
}
