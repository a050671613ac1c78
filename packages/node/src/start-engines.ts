import { readFileSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { startNatsServer, startPostgres } from '@countersign/engines';

import { logServersByDistance, ownLogServer, type LogServer, type NodeConfig } from './config.ts';
import { KeptRunning, type RunningPart } from './keep-running.ts';
import { NodeError } from './node-error.ts';
import type { RunFile } from './run-file.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

/** Where the agent and the workers find PostgreSQL; the same for the supervisor's whole life. */
export interface DatabaseAddress {
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
}

export interface NatsAddress {
  /** `host:port`, the nearest first. */
  servers: string[];
  user: string;
  password: string;
}

/** A store and a log the node can use, whoever runs them. */
export interface Engines {
  /** Rejects when there is no database to begin with; later it may come and go. */
  database: Promise<DatabaseAddress>;
  nats: NatsAddress;
  stop(): Promise<void>;
}

export interface EmbeddedEnginesOptions {
  config: NodeConfig;
  natsPassword: string;
  /** Undefined where this node runs no log server. */
  natsBinary: string | undefined;
  runFile: RunFile;
  events: SupervisorEvents;
}

const natsUser = 'countersign';

/** Starts the node's own PostgreSQL and, if it is one of the log servers, its own nats-server. */
export function startEmbeddedEngines(options: EmbeddedEnginesOptions): Engines {
  const { config, natsPassword, natsBinary } = options;
  const credentials = { user: natsUser, password: natsPassword };
  const postgres = keepPostgres(options);
  const own = ownLogServer(config);
  const nats = own && natsBinary ? keepNats({ ...options, own, natsBinary, credentials }) : null;
  return {
    database: postgres.address,
    nats: {
      servers: logServersByDistance(config).map(clientAddress),
      ...credentials,
    },
    stop: async () => {
      await nats?.stop();
      await postgres.stop();
    },
  };
}

function keepPostgres({ config, runFile, events }: EmbeddedEnginesOptions): {
  address: Promise<DatabaseAddress>;
  stop(): Promise<void>;
} {
  const dataDirectory = join(config.dataDirectory, 'postgres');
  // Where the path is too long for a socket, PostgreSQL gets a new short one at its first start;
  // later starts must come back to it, because the agent and the workers know no other.
  let address: DatabaseAddress | undefined;
  const kept = new KeptRunning({
    mustStart: true,
    start: async (onExit): Promise<RunningPart> => {
      const engine = await startPostgres({
        dataDirectory,
        ...(address && { socketDirectory: address.host }),
        logFile: join(config.dataDirectory, 'logs', 'postgres.log'),
        onExit: (exit) => {
          runFile.update({ postgresPid: null });
          onExit(exit);
        },
      });
      runFile.update({ postgresPid: engine.pid });
      address ??= engine.connection;
      events.partRuns('PostgreSQL', engine.pid);
      return engine;
    },
    onEnd: (how, backOffMs) => events.partEnded('PostgreSQL', how, backOffMs),
  });
  return {
    address: kept.firstStart.then(() => address as DatabaseAddress),
    stop: async () => {
      await kept.stop();
      if (address && dirname(address.host) !== config.dataDirectory) {
        rmSync(address.host, { recursive: true, force: true });
      }
    },
  };
}

function keepNats(
  options: EmbeddedEnginesOptions & {
    own: LogServer;
    natsBinary: string;
    credentials: { user: string; password: string };
  },
): KeptRunning {
  const { config, own, runFile, events } = options;
  const others = config.logServers.filter((server) => server !== own);
  return new KeptRunning({
    start: async (onExit): Promise<RunningPart> => {
      const engine = await startNatsServer({
        binary: options.natsBinary,
        storeDirectory: join(config.dataDirectory, 'nats'),
        logFile: join(config.dataDirectory, 'logs', 'nats-server.log'),
        serverName: own.name,
        // Servers of different incarnations must refuse each other.
        clusterName: `countersign-${readIncarnation(config.dataDirectory)}`,
        host: own.host,
        clientPort: own.clientPort,
        ...(others.length > 0 && {
          cluster: {
            host: own.host,
            port: own.routePort,
            routes: others.map((server) => formatAddress(server.host, server.routePort)),
            noAdvertise: true,
          },
        }),
        credentials: options.credentials,
        maxStoreBytes: storeBytes(config.limits),
        onExit: (exit) => {
          runFile.update({ natsPid: null });
          onExit(exit);
        },
      });
      runFile.update({ natsPid: engine.pid });
      events.partRuns('nats-server', engine.pid);
      return engine;
    },
    onEnd: (how, backOffMs) => events.partEnded('nats-server', how, backOffMs),
  });
}

/** The streams' limits and a quarter more, for the small buckets and for what is being compacted. */
function storeBytes(limits: NodeConfig['limits']): number {
  return Math.ceil((limits.changesBytes + limits.statesBytes + limits.eventsBytes) * 1.25);
}

/** Which life of the log this node belongs to; the file is missing in the first. */
function readIncarnation(dataDirectory: string): number {
  const file = join(dataDirectory, 'incarnation');
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 1;
    throw error;
  }
  const number = Number(text.trim());
  if (Number.isSafeInteger(number) && number > 0) return number;
  throw new NodeError(`${file} does not hold the number of an incarnation`);
}

function clientAddress({ host, clientPort }: LogServer): string {
  return formatAddress(host, clientPort);
}

function formatAddress(host: string, port: number): string {
  return host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`;
}
