import { join } from 'node:path';

import type { DiskReport, LogServerHealth } from '@countersign/replication-agent';

import { LogServerCare } from './care-for-log-server.ts';
import { ownLogServer, type NodeConfig } from './config.ts';
import { readDisks, type WatchedFolders } from './disk-space.ts';
import type { SupervisorEvents } from './supervisor-events.ts';

// A log server has to be out of the way before its disk is full to the last byte.
const everyMs = 250;
const tellEveryMs = 1_000;

/** What a nats-server writes at an orderly end has to fit. */
const orderlyEndBytes = 1024 * 1024;

export interface StorageWatch {
  /** What the agent says about writes to this node's log server. */
  noteHealth(health: LogServerHealth): void;
  close(): void;
}

/**
 * Looks at the room on the node's disks, tells the agent, and keeps the log server off a full disk.
 */
export function watchStorage(options: {
  config: NodeConfig;
  tellAgent(message: { type: 'disks'; disks: DiskReport[] }): void;
  logServer: { restart(why: string): void; setRoom(room: 'enough' | 'little' | 'none'): void };
  events: SupervisorEvents;
}): StorageWatch {
  const { config, tellAgent, logServer, events } = options;
  const folders: WatchedFolders = {};
  if (!config.database) folders.database = join(config.dataDirectory, 'postgres');
  if (ownLogServer(config)) folders.log = join(config.dataDirectory, 'nats');
  const care = new LogServerCare();
  let toldStates = '';
  let toldAt = -Infinity;
  let isLooking = false;

  const look = async () => {
    // A disk that hangs keeps one look waiting, not one more each time.
    if (isLooking) return;
    isLooking = true;
    const disks = await readDisks(folders);
    isLooking = false;
    const now = performance.now();
    const log = disks.find(({ parts }) => parts.includes('log'));
    if (log) {
      const why = care.noteDisk(log.state, now);
      const isSpent = log.freeBytes < orderlyEndBytes;
      logServer.setRoom(care.hasRoom ? 'enough' : isSpent ? 'none' : 'little');
      if (why !== null) logServer.restart(why);
    }
    const states = JSON.stringify(disks.map(({ parts, state }) => [parts, state]));
    if (states !== toldStates) events.diskSpace(disks);
    if (states !== toldStates || now - toldAt >= tellEveryMs) {
      toldAt = now;
      tellAgent({ type: 'disks', disks });
    }
    toldStates = states;
  };
  const timer = setInterval(() => void look(), everyMs);
  return {
    noteHealth: (health) => {
      const why = care.noteHealth(health, performance.now());
      if (why !== null) logServer.restart(why);
    },
    close: () => clearInterval(timer),
  };
}
