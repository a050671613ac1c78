import { existsSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { join, resolve } from 'node:path';

import { removeDrafts, writePrivateFile } from '@countersign/private-files';
import { z } from 'zod';

import type { NodeConfig } from './config.ts';
import { NodeError } from './node-error.ts';
import { parseJson } from './parse-json.ts';

const MARK = 'restore-unfinished.json';
/** What a restore makes in a data directory. */
const MADE = [
  'postgres',
  'postgres.new',
  'socket',
  'logs',
  'nats',
  'log-layout.json',
  'identity',
  'identity.founding',
];
/** What a file system or an operator has there before anything else. */
const HARMLESS = ['lost+found', MARK];

const mark = z.object({
  backup: z.string(),
  startedAt: z.string(),
  clusterKeyFile: z.string(),
  /** Of the operator's own database, from when it was found empty. */
  databaseUrl: z.string().optional(),
});
type Mark = z.infer<typeof mark>;

/** Throws NodeError where a restore began in this data directory and did not end: what lies there is not whole. */
export function refuseUnfinishedRestore(dataDirectory: string): void {
  const file = join(dataDirectory, MARK);
  if (!existsSync(file)) return;
  throw new NodeError(
    `a restore into ${dataDirectory} began and was not finished: run "countersign restore" again, which removes ` +
      'what it had made and begins anew, or empty the folder',
  );
}

/**
 * From here on until {@link endRestore} no node starts there.
 * @returns whether an earlier restore had left something here, which is gone now, and in which database
 * Throws NodeError where anything lies in the data directory that no restore has made, or the key file is there already.
 */
export function beginRestore(
  config: NodeConfig,
  about: { configFile: string; backup: string },
): { left: boolean; leftInDatabase: string | undefined } {
  const { dataDirectory, clusterKeyFile } = config;
  const left = removeEarlier(config);
  removeDrafts(join(dataDirectory, MARK));
  const own = resolve(about.configFile);
  const isHarmless = (name: string) =>
    HARMLESS.includes(name) ||
    /^\.supervisor\..*\.lock$/.test(name) ||
    join(dataDirectory, name) === own;
  const strange = readdirSync(dataDirectory).filter((name) => !isHarmless(name));
  if (strange.length > 0) {
    throw new NodeError(
      `${dataDirectory} is not empty (${strange.slice(0, 3).join(', ')}): a restore begins a new node, ` +
        'give it a folder of its own',
    );
  }
  if (existsSync(clusterKeyFile)) {
    throw new NodeError(
      `the cluster key ${clusterKeyFile} is there already: the backup brings its own, move that one away`,
    );
  }
  const startedAt = new Date().toISOString();
  // Still so until the database was emptied.
  const databaseUrl = left?.databaseUrl;
  writeMark(dataDirectory, {
    backup: about.backup,
    startedAt,
    clusterKeyFile,
    ...(databaseUrl && { databaseUrl }),
  });
  return { left: left !== null, leftInDatabase: databaseUrl };
}

/** From here on what is in that database is this restore's. */
export function noteDatabase(dataDirectory: string, databaseUrl: string): void {
  writeMark(dataDirectory, { ...readMark(dataDirectory)!, databaseUrl });
}

/** As if it had not begun. */
export function undoRestore(config: NodeConfig): void {
  removeEarlier(config);
  endRestore(config.dataDirectory);
}

/** The last step of a restore. */
export function endRestore(dataDirectory: string): void {
  rmSync(join(dataDirectory, MARK));
}

function removeEarlier({ dataDirectory, clusterKeyFile }: NodeConfig): Mark | null {
  const left = readMark(dataDirectory);
  if (!left) return null;
  for (const made of MADE.map((name) => join(dataDirectory, name))) {
    rmSync(made, { recursive: true, force: true });
    removeDrafts(made);
  }
  // It was not there when that restore began.
  if (left.clusterKeyFile === clusterKeyFile) {
    removeDrafts(clusterKeyFile);
    rmSync(clusterKeyFile, { force: true });
  }
  return left;
}

function readMark(dataDirectory: string): Mark | null {
  const file = join(dataDirectory, MARK);
  if (!existsSync(file)) return null;
  const parsed = mark.safeParse(parseJson(readFileSync(file, 'utf8')));
  if (parsed.success) return parsed.data;
  throw new NodeError(`${file} is damaged: empty the folder, and restore again`);
}

function writeMark(dataDirectory: string, left: Mark): void {
  // On the disk before anything else: also after a power cut no node starts on half of it.
  writePrivateFile(join(dataDirectory, MARK), `${JSON.stringify(left, null, 2)}\n`);
}
