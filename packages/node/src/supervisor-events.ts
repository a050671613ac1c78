import { fstatSync } from 'node:fs';
import { join } from 'node:path';

import { formatHostPort, type LogLayout } from '@countersign/cluster';
import { quote } from '@countersign/doctor/finding';
import { RotatingLog } from '@countersign/engines';
import type { MemberList } from '@countersign/identity';
import { writePrivateFile } from '@countersign/private-files';
import type { DiskReport } from '@countersign/replication-agent';
import pino from 'pino';

import type { Certificates } from './certificate-watch.ts';
import { speaksHttps } from './check-exposure.ts';
import type { LogServer, NodeConfig } from './config.ts';
import { longestBackOffMs } from './keep-running.ts';

/** What a supervisor tells the process that started it, if that listens. */
export type SupervisorMessage =
  | { type: 'first-api-key'; key: string }
  | { type: 'first-invitation'; code: string }
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
    log,
    nodeStarts() {
      log.info({ supervisorPid: process.pid, dataDirectory }, 'node starts');
      say('starts');
    },
    witnessStarts() {
      log.info({ supervisorPid: process.pid, dataDirectory }, 'witness starts');
      say('starts as a witness');
    },
    witnessRuns(layout: LogLayout, own: LogServer) {
      const servers = layout.servers.map((server) => server.name).join(', ');
      log.info({ tag: layout.tag, servers }, 'witness runs a log server');
      say(`runs a log server at ${formatHostPort(own.host, own.clientPort)}, one of ${servers}`);
    },
    witnessWaits(layout: LogLayout) {
      const servers = layout.servers.map((server) => server.name).join(', ');
      log.info({ tag: layout.tag, servers }, 'witness waits');
      say(`waits: the log is at ${servers}, and moves here once there are two nodes for it`);
    },
    witnessAlone(forMs: number) {
      const seconds = Math.round(forMs / 1000);
      log.warn({ seconds }, 'no log server of a node lets this witness in');
      say(
        `has reached no log server of a node for ${seconds} s: they are down, or it was removed from the cluster`,
      );
    },
    witnessFailed(error: unknown) {
      log.fatal({ err: error }, 'witness cannot start');
    },
    refusedByWitness(why: string) {
      log.warn({ why }, 'what a node told was not taken over');
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
    membersTakenUp() {
      log.info("the log server has taken up the node's identity anew");
    },
    logServerMute() {
      log.warn('the other log servers do not hear this one: it is started again');
    },
    partHung(part: string, silentMs: number) {
      log.error({ part, silentMs: Math.round(silentMs) }, 'part hangs, it is killed');
      say(`${part} has not been heard for ${Math.round(silentMs / 1000)} s; it is killed`);
    },
    certificates(before: Certificates, now: Certificates) {
      if (before.pair && now.pair?.certificatePem !== before.pair.certificatePem) {
        log.info({ certificates: now.notices }, 'HTTPS shows another certificate');
        say('shows another certificate for HTTPS');
      }
      for (const { name: certificate, expiresAt, problem } of now.notices) {
        const known = before.notices.find((notice) => notice.name === certificate)?.problem;
        if (problem === null || problem === known) continue;
        log.warn({ certificate, expiresAt }, problem);
        say(problem);
      }
    },
    diskSpace(disks: readonly DiskReport[]) {
      for (const disk of disks) {
        const level = disk.state === 'ok' ? 'info' : 'warn';
        log[level]({ ...disk }, `disk is ${disk.state}`);
      }
    },
    nodeRuns(durationMs: number, socketPath: string) {
      const { host, port } = config.http;
      const url = `${speaksHttps(config) ? 'https' : 'http'}://${formatHostPort(host, port)}`;
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
    firstInvitation(code: string) {
      // Never logged either: whoever has it becomes owner.
      log.info('the first administrator was invited');
      if (process.connected) return void tellParent({ type: 'first-invitation', code });
      const file = join(dataDirectory, 'first-invitation');
      writePrivateFile(file, `${code}\n`);
      const accept = `countersign admin accept --server ${ownUrl(config)} --invitation-file ${quote(file)}`;
      say(`invited its first administrator, for a day: ${accept}`);
    },
    membersChanged({ version, members }: MemberList) {
      log.info({ version, members: members.map(({ name }) => name) }, 'members changed');
    },
    certificateRenewed() {
      log.info("the node's certificate was renewed");
    },
    refusedFromAgent(what: string, error: unknown) {
      log.warn({ what, error: String(error) }, 'what the agent told was not taken over');
    },
    keyRingChanged(active: string, generations: number) {
      log.info({ active, generations }, 'the key ring has changed');
    },
    keyRingFailed(problem: string) {
      log.error({ problem }, 'the key ring cannot be changed');
    },
    natsAway() {
      log.warn('no server of nats.urls answers: the node goes on without the log, and tries again');
      say('no server of nats.urls answers: it goes on without the log, and tries again');
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

/** Where somebody on this machine reaches the node by a name that its certificate is for. */
function ownUrl(config: NodeConfig): string {
  const { name, http, logServers, url } = config;
  const host = logServers.find((server) => server.name === name)?.host ?? http.host;
  return url ?? `${speaksHttps(config) ? 'https' : 'http'}://${formatHostPort(host, http.port)}`;
}
