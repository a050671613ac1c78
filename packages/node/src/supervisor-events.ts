import { fstatSync } from 'node:fs';
import { join } from 'node:path';

import type { LogLayout } from '@countersign/cluster';
import { RotatingLog } from '@countersign/engines';
import type { DiskReport } from '@countersign/replication-agent';
import pino from 'pino';

import type { NodeConfig } from './config.ts';
import { longestBackOffMs } from './keep-running.ts';
import { writePrivateFile } from './write-private-file.ts';

/** What a supervisor tells the process that started it, if that listens. */
export type SupervisorMessage =
  | { type: 'first-api-key'; key: string }
  /** A part of the node ended or did not start; lasting if that goes on and on. */
  | { type: 'problem'; message: string; isLasting: boolean }
  | { type: 'failed'; message: string };

export type SupervisorEvents = ReturnType<typeof openSupervisorEvents>;

/** Everything a supervisor has to say: fields to its log, a line to people, messages to a parent. */
export function openSupervisorEvents(config: NodeConfig) {
  const { name, dataDirectory } = config;
  const log = pino(
    { level: config.log.level, base: { node: name }, timestamp: pino.stdTimeFunctions.isoTime },
    new RotatingLog(join(dataDirectory, 'logs', 'supervisor.log')),
  );
  const say = (line: string) => console.log(`${name} ${line}`);

  return {
    nodeStarts() {
      log.info({ supervisorPid: process.pid, dataDirectory }, 'node starts');
      say('starts');
    },
    partRuns(part: string, pid: number) {
      log.info({ part, pid }, 'part runs');
    },
    partEnded(part: string, how: string, backOffMs: number) {
      const again = `starts again in ${backOffMs / 1000} s`;
      log.error({ part, how, backOffMs }, 'part ended');
      say(`${part} ${how}; it ${again}`);
      const isLasting = backOffMs >= longestBackOffMs;
      void tellParent({ type: 'problem', message: `${part} ${how}`, isLasting });
    },
    logServerMute() {
      log.warn('the other log servers do not hear this one: it is started again');
    },
    partHung(part: string, silentMs: number) {
      log.error({ part, silentMs: Math.round(silentMs) }, 'part hangs, it is killed');
      say(`${part} has not been heard for ${Math.round(silentMs / 1000)} s; it is killed`);
    },
    diskSpace(disks: readonly DiskReport[]) {
      for (const disk of disks) {
        const level = disk.state === 'ok' ? 'info' : 'warn';
        log[level]({ ...disk }, `disk is ${disk.state}`);
      }
    },
    nodeRuns(durationMs: number, socketPath: string) {
      const url = `http://${config.http.host}:${config.http.port}`;
      log.info({ durationMs: Math.round(durationMs), url, socketPath }, 'node runs');
      say(`runs: ${url}, administration socket ${socketPath}`);
    },
    firstApiKey(key: string) {
      // Never logged: the cluster itself keeps only a hash of it.
      log.info('the first API key was made');
      if (process.connected) return void tellParent({ type: 'first-api-key', key });
      if (!isKeptInALog()) return say(`API key (shown once): ${key}`);
      const file = join(dataDirectory, 'first-api-key');
      writePrivateFile(file, `${key}\n`);
      say(`made its first API key: read it from ${file}, then delete that file`);
    },
    logMoves(layout: LogLayout) {
      const servers = layout.servers.map((server) => server.name);
      log.info({ tag: layout.tag, servers }, 'the log moves');
    },
    moveFailed(error: unknown) {
      log.error({ err: error }, 'the log server could not be moved');
      say(`could not move its log server: ${String(error)}`);
    },
    storeLost(tag: string) {
      log.error({ tag }, 'the store of the log server is gone: it stays out until the log moves');
      say(
        'has lost the store of its log server: it follows the others until they take it in again',
      );
    },
    storeOlder(tag: string) {
      log.error({ tag }, 'the store of the log server is an older copy: it is set aside');
      say('was given an older disk: its log server would contradict what it has agreed to');
    },
    nodeStops(signal: string) {
      log.info({ signal }, 'node stops');
      say(`stops (${signal})`);
    },
    nodeStopped(durationMs: number) {
      log.info({ durationMs: Math.round(durationMs) }, 'node stopped');
      say('has stopped');
    },
    nodeKilled(why: string) {
      log.error({ why }, 'node kills what still runs');
      say(`kills what still runs: ${why}`);
    },
    nodeFailed(error: unknown) {
      log.fatal({ err: error }, 'node cannot start');
    },
  };
}

/** Sends to the process that started this one, when it opened a channel for it. */
export function tellParent(message: SupervisorMessage): Promise<void> {
  return new Promise((resolve) => {
    if (!process.connected || !process.send) return resolve();
    process.send(message, undefined, undefined, () => resolve());
  });
}

/** Whether what we print stays in a file or the system's journal, where no key may lie. */
function isKeptInALog(): boolean {
  const stdout = fstatSync(1);
  // systemd sets JOURNAL_STREAM to the device and inode of what it records (systemd.exec(5)).
  return stdout.isFile() || process.env['JOURNAL_STREAM'] === `${stdout.dev}:${stdout.ino}`;
}
