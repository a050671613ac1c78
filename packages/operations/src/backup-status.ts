import { readFileSync, renameSync, writeFileSync } from 'node:fs';

/** What is known of this node's backups, over its restarts. Read by workers and by `doctor` too. */
export type BackupStatus = {
  /** The newest that was made as planned, on disk and read back. */
  last: { at: string; file: string; revision: number; sizeBytes: number; sha256: string } | null;
  /** Why none was made since; null: nothing went wrong. */
  problem: { at: string; text: string } | null;
  /** When somebody at the machine last took one to its end. */
  byHandAt: string | null;
};

/** Nothing known where there is no file, or no whole one: the next backup writes it anew. */
export function readBackupStatus(file: string): BackupStatus {
  const unknown = { last: null, problem: null, byHandAt: null };
  try {
    return { ...unknown, ...(JSON.parse(readFileSync(file, 'utf8')) as Partial<BackupStatus>) };
  } catch {
    return unknown;
  }
}

/** Since the newest of any kind; Infinity: there never was one. */
export function backupAgeSeconds({ last, byHandAt }: BackupStatus, nowMs: number): number {
  const times = [last?.at, byHandAt].filter((at) => typeof at === 'string');
  const newest = Math.max(-Infinity, ...times.map((at) => Date.parse(at)));
  return Math.max(0, nowMs - newest) / 1000;
}

export function writeBackupStatus(file: string, status: BackupStatus): void {
  writeFileSync(`${file}.tmp`, `${JSON.stringify(status, null, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.tmp`, file);
}
