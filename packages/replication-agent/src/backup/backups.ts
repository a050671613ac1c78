import { statSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  BackupError,
  readCluster,
  sealBackup,
  writeNewFile,
  type BackupSource,
  type Manifest,
} from '@countersign/backup';
import type { Log } from '@countersign/cluster';
import { openDatabase } from '@countersign/database';
import { readBackupStatus, writeBackupStatus, type BackupStatus } from '@countersign/operations';
import type { AgentConfig, BackupPlan } from '../config.ts';
import type { AgentEvents } from '../events.ts';
import { backupName, keepBackups } from './keep-backups.ts';

type BackupsOptions = {
  config: Pick<
    AgentConfig,
    'node' | 'version' | 'database' | 'backup' | 'backupStatusFile' | 'identity'
  >;
  /** The cluster's keys as a backup holds them; the agent itself keeps none of them. */
  askKeys(): Promise<string>;
  events: AgentEvents;
  log: Log;
};

const LOOK_EVERY_MS = 10_000;
/** After one that did not work. */
const AGAIN_MS = 60_000;
const HOUR_MS = 3_600_000;
/** A backup as planned may be late by this much before anybody is told. */
const LATE_MS = HOUR_MS;

/** Backups of this node: one at a time, over a connection of their own, given up when the agent begins another life. */
export class Backups {
  readonly #options: BackupsOptions;
  readonly #beganAt = Date.now();
  #status: BackupStatus;
  #isBusy = false;
  /** Why the next one could not be made at once. */
  #waitsFor: string | null = null;

  constructor(options: BackupsOptions) {
    this.#options = options;
    this.#status = readBackupStatus(options.config.backupStatusFile);
  }

  /** For somebody at the machine. Throws BackupError `not_now`, and what `take` throws. */
  async backUpByHand(
    how: { withEvents: boolean; reason: string | null; signal: AbortSignal },
    take: (lines: AsyncIterable<string>) => Promise<void>,
  ): Promise<void> {
    const { events } = this.#options;
    const to = 'the socket of the node';
    let revision = 0;
    const onManifest = (manifest: Manifest) => (revision = manifest.revision);
    try {
      await this.#read({ ...how, onManifest }, take);
    } catch (error) {
      // Nothing had left the node where it was refused at once.
      if (revision > 0) events.backupFailed({ to, problem: textOf(error) });
      throw error;
    }
    const { withEvents, reason } = how;
    events.backedUp({ by: 'operator at the node', to, revision, withEvents, reason });
    this.#note({ byHandAt: new Date().toISOString() });
  }

  /** Makes those that are planned, until `signal`. */
  async run(signal: AbortSignal): Promise<void> {
    const { log, events, config } = this.#options;
    if (!config.backup) return;
    const { directory } = config.backup;
    while (!signal.aborted) {
      let waitMs = LOOK_EVERY_MS;
      try {
        if (this.#isDue(config.backup)) await this.#backUpAsPlanned(config.backup, signal);
      } catch (error) {
        if (signal.aborted) return;
        const text = textOf(error);
        this.#waitsFor = text;
        log.warn({ problem: text }, 'no backup was made');
        if (!isNotNow(error)) {
          waitMs = AGAIN_MS;
          // Once for each reason: it is tried every minute.
          const isNew = this.#status.problem?.text !== text;
          if (isNew) events.backupFailed({ to: directory, problem: text });
          this.#note({ problem: { at: new Date().toISOString(), text } });
        }
      }
      await sleep(waitMs, undefined, { signal }).catch(() => undefined);
    }
  }

  /** What an operator should know, a line each. */
  problems(): string[] {
    const { backup } = this.#options.config;
    if (!backup) return [];
    const { last, problem } = this.#status;
    const lateAfterMs = backup.everyHours * HOUR_MS + LATE_MS;
    const since = last ? Date.parse(last.at) : this.#beganAt;
    const isLate = Date.now() - since > lateAfterMs;
    if (!problem && !isLate) return [];
    const age = last ? `its last backup is of ${last.at}` : 'it has made no backup yet';
    const text = problem?.text ?? this.#waitsFor;
    const why = text ? `: ${text}` : '';
    return [`${age}, one is due every ${backup.everyHours} h${why}`];
  }

  #isDue({ everyHours }: BackupPlan): boolean {
    const { last } = this.#status;
    const ageMs = last ? Date.now() - Date.parse(last.at) : Infinity;
    // A clock that was set back must not end the backups.
    return ageMs >= everyHours * HOUR_MS || ageMs < -HOUR_MS;
  }

  async #backUpAsPlanned(plan: BackupPlan, signal: AbortSignal): Promise<void> {
    const { config, events, log } = this.#options;
    const { directory, recipient, withEvents, keep } = plan;
    // Not made here: where a disk is not mounted, the one below it is not to be filled.
    if (!statSync(directory, { throwIfNoEntry: false })?.isDirectory()) {
      throw new BackupError('unwritable', `the folder ${directory} is not there`);
    }
    const at = new Date();
    const name = backupName(config.node, at);
    const file = join(directory, name);
    let revision = 0;
    const onManifest = (manifest: Manifest) => (revision = manifest.revision);
    const written = await this.#read({ withEvents, signal, onManifest }, (lines) =>
      writeNewFile(file, sealBackup(lines, { recipient })),
    );
    this.#waitsFor = null;
    this.#note({ last: { at: at.toISOString(), file, revision, ...written }, problem: null });
    const { sizeBytes } = written;
    events.backedUp({ by: null, to: file, revision, withEvents, sizeBytes, reason: null });
    log.info({ file, revision, sizeBytes }, 'backup made');
    const clusterId = config.identity?.clusterId ?? null;
    const own = { directory, node: config.node, clusterId };
    const files = await keepBackups({ ...own, keep, newest: name });
    if (files.length > 0) events.backupsRemoved({ files });
  }

  async #read<T>(
    how: Pick<BackupSource, 'withEvents' | 'onManifest'> & { signal: AbortSignal },
    take: (lines: AsyncIterable<string>) => Promise<T>,
  ): Promise<T> {
    if (this.#isBusy) {
      throw new BackupError(
        'not_now',
        'another backup is being made at this node: try again later',
      );
    }
    this.#isBusy = true;
    const { config, askKeys } = this.#options;
    const { node, version, database, identity } = config;
    const db = openDatabase({ ...database, max: 1, applicationName: 'countersign agent backup' });
    try {
      const clusterId = identity?.clusterId ?? null;
      const source = { node, version, clusterId, readKeys: askKeys };
      const { signal, ...what } = how;
      return await readCluster(db, { ...source, ...what }, (lines) =>
        take(untilAborted(lines, signal)),
      );
    } finally {
      this.#isBusy = false;
      await db.close();
    }
  }

  #note(news: Partial<BackupStatus>): void {
    this.#status = { ...this.#status, ...news };
    try {
      writeBackupStatus(this.#options.config.backupStatusFile, this.#status);
    } catch (error) {
      this.#options.log.warn({ error: String(error) }, 'what is known of backups was not kept');
    }
  }
}

async function* untilAborted(
  lines: AsyncIterable<string>,
  signal: AbortSignal,
): AsyncGenerator<string> {
  for await (const line of lines) {
    if (signal.aborted) {
      const why = 'this node stops, or the log moves or is rebuilt: try again when it is done';
      throw new BackupError('not_now', why);
    }
    yield line;
  }
}

function isNotNow(error: unknown): boolean {
  return error instanceof BackupError && error.code === 'not_now';
}

function textOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
