import { existsSync, readdirSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';

import { startNatsServer, startPostgres } from '@countersign/engines';

import {
  formatHostPort,
  PARKED_BUCKET_BYTES,
  reachableServers,
  serverNameOf,
  type LogLayout,
} from '@countersign/cluster';

import { ownLogServer, type NodeConfig } from './config.ts';
import { readDisks } from './disk-space.ts';
import { KeptRunning, type RunningPart } from './keep-running.ts';
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

export interface NatsCredentials {
  user: string;
  password: string;
}

/** `little`: no store any more, but room for an orderly end; `none`: not even that. */
export type Room = 'enough' | 'little' | 'none';

/** A store and a log the node can use, whoever runs them. */
export interface Engines {
  /** Rejects when there is no database to begin with; later it may come and go. */
  database: Promise<DatabaseAddress>;
  nats: NatsCredentials;
  /** Runs this node's log server as one of these, or not at all. */
  moveTo(layout: LogLayout | null): Promise<void>;
  /** This node's own nats-server; nothing happens where there is none. */
  logServer: {
    restart(why: string): void;
    /** How much is left on its disk: what it may use, and how it is stopped. */
    setRoom(room: Room): void;
  };
  stop(): Promise<void>;
}

export interface EmbeddedEnginesOptions {
  config: NodeConfig;
  natsPassword: string;
  /** Undefined where this node runs no log server. */
  natsBinary: string | undefined;
  /** Null: this node's log server is not to run for now. */
  layout: LogLayout | null;
  runFile: RunFile;
  events: SupervisorEvents;
}

export const NATS_USER = 'countersign';

/** Starts the node's own PostgreSQL and, if it is one of the log servers, its own nats-server. */
export function startEmbeddedEngines(options: EmbeddedEnginesOptions): Engines {
  const { config, natsPassword } = options;
  const credentials = { user: NATS_USER, password: natsPassword };
  const postgres = keepPostgres(options);
  let left: Room = 'enough';
  const room = () => left;
  let nats = keepNats({ ...options, credentials, room });
  // One move after the other: each stops what the one before it started.
  let moving: Promise<void> = Promise.resolve();
  return {
    database: postgres.address,
    nats: credentials,
    moveTo: (layout) => {
      moving = moving.then(async () => {
        await nats?.stop();
        nats = keepNats({ ...options, layout, credentials, room });
        removeOtherStores(join(config.dataDirectory, 'nats'), layout?.tag);
      });
      return moving;
    },
    logServer: {
      restart: (why) => nats?.restart(why),
      setRoom: (now) => (left = now),
    },
    stop: async () => {
      await moving;
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

/** A worker uses up to 9; the agent and its duties take theirs from the rest, which is also for people's own clients. */
function connectionsFor(workers: number): number {
  return 44 + 9 * workers;
}

/** Null where this node's log server is none of the layout's. */
function keepNats(
  options: EmbeddedEnginesOptions & { credentials: NatsCredentials; room: () => Room },
): KeptRunning | null {
  const { config, layout, natsBinary, runFile, events, room } = options;
  const own = ownLogServer(config);
  if (!own || !natsBinary || !layout?.servers.some(({ name }) => name === own.name)) return null;
  const { tag } = layout;
  const others = reachableServers(layout, config.logServers).filter(
    ({ name }) => name !== own.name,
  );
  return new KeptRunning({
    start: async (onExit): Promise<RunningPart> => {
      const [disk] = await readDisks({ log: join(config.dataDirectory, 'nats') });
      const engine = await startNatsServer({
        binary: natsBinary,
        storeDirectory: join(config.dataDirectory, 'nats', tag),
        logFile: join(config.dataDirectory, 'logs', 'nats-server.log'),
        // A server with a fresh store is another one, and sets of servers must refuse each other.
        serverName: serverNameOf(own.name, tag),
        clusterName: `countersign-${tag}`,
        host: own.host,
        clientPort: own.clientPort,
        ...(others.length > 0 && {
          cluster: {
            host: own.host,
            port: own.routePort,
            routes: others.map((server) => formatHostPort(server.host, server.routePort)),
            noAdvertise: true,
          },
        }),
        credentials: options.credentials,
        env: goSettings(),
        maxStoreBytes: storeBytes(config.limits),
        hasJetStream: room() === 'enough' && disk?.state !== 'full',
        onExit: (exit) => {
          runFile.update({ natsPid: null });
          onExit(exit);
        },
      });
      runFile.update({ natsPid: engine.pid });
      events.partRuns('nats-server', engine.pid);
      return { stop: () => (room() === 'none' ? engine.kill() : engine.stop()) };
    },
    onEnd: (how, backOffMs) => events.partEnded('nats-server', how, backOffMs),
  });
}

/** How many cores and how much memory an operator gives to the log server: settings of its Go runtime. */
function goSettings(): NodeJS.ProcessEnv {
  const names = ['GOMAXPROCS', 'GOMEMLIMIT'];
  return Object.fromEntries(
    names.flatMap((name) => (process.env[name] ? [[name, process.env[name]]] : [])),
  );
}

/** What other sets of log servers left here: everything of it is in PostgreSQL by now, or given up. */
function removeOtherStores(folder: string, tag: string | undefined): void {
  if (!existsSync(folder)) return;
  for (const name of readdirSync(folder)) {
    if (name === tag || name === `${tag}.conf`) continue;
    rmSync(join(folder, name), { recursive: true, force: true });
  }
}

/**
 * The streams' limits twice, because the next incarnation is made while the last still stands, and a quarter more for
 * the small buckets and for what is being compacted. Only a limit: it is not set aside.
 */
function storeBytes(limits: NodeConfig['limits']): number {
  const { changesBytes, statesBytes, eventsBytes } = limits;
  return Math.ceil((changesBytes + statesBytes + eventsBytes + PARKED_BUCKET_BYTES) * 2.25);
}
