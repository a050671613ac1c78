import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

import type { LogLayout } from '@countersign/cluster';
import { startPostgres } from '@countersign/engines';

import type { NodeConfig } from './config.ts';
import { readDatabaseAddress, type OwnDatabase } from './database-url.ts';
import { KeptLogServer, type Room } from './keep-log-server.ts';
import { KeptRunning, type RunningPart } from './keep-running.ts';
import type { LogAccess } from './log-access.ts';
import type { RunFile } from './run-file.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

/** Where the agent and the workers find PostgreSQL; the same for the supervisor's whole life. */
export interface DatabaseAddress {
  host: string;
  port: number;
  user: string;
  database: string;
  password?: string;
  /** PEM; left out: not encrypted, by a socket or on loopback. */
  authority?: string;
}

/** A store and a log the node can use, whoever runs them. */
export interface Engines {
  /** Rejects when there is no database to begin with; later it may come and go. */
  database: Promise<DatabaseAddress>;
  log: LogAccess;
  /** Runs this node's log server as one of these, or not at all. */
  moveTo(layout: LogLayout | null): Promise<void>;
  /** This node's own nats-server; nothing happens where there is none. */
  logServer: {
    restart(why: string): void;
    /** Lets in whom the node's identity names now. */
    reload(): void;
    /** How much is left on its disk: what it may use, and how it is stopped. */
    setRoom(room: Room): void;
  };
  stop(): Promise<void>;
}

export interface EmbeddedEnginesOptions {
  config: NodeConfig;
  log: LogAccess;
  /** As it is now: who may sign in changes while the node runs. */
  readLog(): LogAccess;
  /** Undefined where this node runs no log server. */
  natsBinary: string | undefined;
  /** Null: this node's log server is not to run for now. */
  layout: LogLayout | null;
  runFile: RunFile;
  events: SupervisorEvents;
}

/** Starts the node's own PostgreSQL and, if it is one of the log servers, its own nats-server. */
export function startEmbeddedEngines(options: EmbeddedEnginesOptions): Engines {
  const { config } = options;
  const { readLog, natsBinary, layout, runFile, events } = options;
  const postgres = keepPostgres(options);
  const logServer = new KeptLogServer({
    config,
    readAccess: () => readLog().server,
    natsBinary,
    layout,
    runFile,
    events,
  });
  return {
    database: postgres.address,
    log: options.log,
    moveTo: (next) => logServer.moveTo(next),
    logServer,
    stop: async () => {
      await logServer.stop();
      await postgres.stop();
    },
  };
}

function keepPostgres({ config, runFile, events }: EmbeddedEnginesOptions): {
  address: Promise<DatabaseAddress>;
  stop(): Promise<void>;
} {
  if (config.database) {
    return { address: openedAddress(config.database), stop: () => Promise.resolve() };
  }
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
        settings: { max_connections: String(connectionsFor(config.workers)) },
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

/** What is wrong with its files is said when the node starts. */
async function openedAddress(database: OwnDatabase): Promise<DatabaseAddress> {
  return readDatabaseAddress(database);
}

/** A worker uses up to 9; the agent and its duties take theirs from the rest, which is also for people's own clients. */
export function connectionsFor(workers: number): number {
  return 44 + 9 * workers;
}
