import { existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';

import {
  formatHostPort,
  PARKED_BUCKET_BYTES,
  reachableServers,
  serverNameOf,
  type LogLayout,
} from '@countersign/cluster';
import { startNatsServer, type NatsAccess, type NatsEngine } from '@countersign/engines';

import { ownLogServer, type NodeConfig } from './config.ts';
import { readDisks } from './disk-space.ts';
import { KeptRunning, type RunningPart } from './keep-running.ts';
import type { RunFile } from './run-file.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

/** `little`: no store any more, but room for an orderly end; `none`: not even that. */
export type Room = 'enough' | 'little' | 'none';

export interface LogServerOptions {
  config: Pick<NodeConfig, 'name' | 'dataDirectory' | 'logServers' | 'limits'>;
  /** Whom it lets in, as it is now: that changes while it runs. */
  readAccess(): NatsAccess;
  /** Undefined where no log server is to run at all. */
  natsBinary: string | undefined;
  /** Null: it is not to run for now. */
  layout: LogLayout | null;
  runFile: RunFile;
  events: Pick<SupervisorEvents, 'partRuns' | 'partEnded' | 'membersTakenUp'>;
}

/** This machine's own nats-server: started again whenever it ends, and as one of another set when the log moves. */
export class KeptLogServer {
  readonly #options: LogServerOptions;
  #left: Room = 'enough';
  #nats: ReturnType<typeof keepNats>;
  // One move after the other: each stops what the one before it started.
  #moving: Promise<void> = Promise.resolve();

  constructor(options: LogServerOptions) {
    this.#options = options;
    this.#nats = this.#keep(options.layout);
  }

  /** Runs it as one of these servers, or not at all. */
  moveTo(layout: LogLayout | null): Promise<void> {
    this.#moving = this.#moving.then(async () => {
      await this.#nats?.kept.stop();
      this.#nats = this.#keep(layout);
      removeOtherStores(join(this.#options.config.dataDirectory, 'nats'), layout?.tag);
    });
    return this.#moving;
  }

  restart(why: string): void {
    this.#nats?.kept.restart(why);
  }

  /** Lets in whom the identity on the disk names now. */
  reload(): void {
    this.#nats?.reload();
  }

  /** How much is left on its disk: what it may use, and how it is stopped. */
  setRoom(room: Room): void {
    this.#left = room;
  }

  async stop(): Promise<void> {
    await this.#moving;
    await this.#nats?.kept.stop();
  }

  #keep(layout: LogLayout | null) {
    return keepNats({ ...this.#options, layout, room: () => this.#left });
  }
}

/** Null where this machine's log server is none of the layout's. */
function keepNats(
  options: LogServerOptions & { room: () => Room },
): { kept: KeptRunning; reload(): void } | null {
  const { config, layout, natsBinary, runFile, events, room, readAccess } = options;
  const own = ownLogServer(config);
  if (!own || !natsBinary || !layout?.servers.some(({ name }) => name === own.name)) return null;
  const { tag } = layout;
  const others = reachableServers(layout, config.logServers).filter(
    ({ name }) => name !== own.name,
  );
  let running: NatsEngine | null = null;
  let changes = 0;
  const kept = new KeptRunning({
    start: async (onExit): Promise<RunningPart> => {
      const [disk] = await readDisks({ log: join(config.dataDirectory, 'nats') });
      const changesBefore = changes;
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
        access: readAccess(),
        env: goSettings(),
        maxStoreBytes: storeBytes(config.limits),
        hasJetStream: room() === 'enough' && disk?.state !== 'full',
        onExit: (exit) => {
          running = null;
          runFile.update({ natsPid: null });
          onExit(exit);
        },
      });
      runFile.update({ natsPid: engine.pid });
      events.partRuns('nats-server', engine.pid);
      running = engine;
      if (changes !== changesBefore) void takeUp();
      return { stop: () => (room() === 'none' ? engine.kill() : engine.stop()) };
    },
    onEnd: (how, backOffMs) => events.partEnded('nats-server', how, backOffMs),
  });
  const takeUp = async () => {
    try {
      await running?.reload(readAccess());
      events.membersTakenUp();
    } catch (error) {
      // At its start it takes the new list or says why not; going on with the old one would keep who was removed.
      kept.restart(error instanceof Error ? error.message : String(error));
    }
  };
  const reload = () => {
    changes += 1;
    if (running) void takeUp();
  };
  return { kept, reload };
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
