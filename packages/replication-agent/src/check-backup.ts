import { fine, quote, warning, type Finding } from '@countersign/doctor/finding';
import { readBackupStatus } from '@countersign/operations';
import type { AgentConfig } from './config.ts';

const HOUR_MS = 3_600_000;

/**
 * How old this node's last planned backup is, and what became of the next. Wrong from twice the interval on, or where
 * the last try failed. A node that plans none is told how: others may make them, which it does not know.
 */
export function checkBackup(
  config: Pick<AgentConfig, 'backup' | 'backupStatusFile'>,
  nowMs: number,
): Finding[] {
  const { backup, backupStatusFile } = config;
  const { last, problem, byHandAt } = readBackupStatus(backupStatusFile);
  if (!backup) {
    const byHand =
      byHandAt === null ? 'nor was one made by hand' : `the last by hand is of ${byHandAt}`;
    const detail = `this node plans no backups, ${byHand}`;
    const fix =
      'plan them at two nodes ("backup" in the configuration: docs/operating.md, "Backups"); now: countersign backup FILE';
    return [{ ...fine('backup', detail), fix }];
  }
  const { directory, everyHours } = backup;
  const ageMs = last ? nowMs - Date.parse(last.at) : Infinity;
  const age = last
    ? `the last backup is of ${last.at} (${(ageMs / HOUR_MS).toFixed(1)} h ago)`
    : 'no backup was made yet';
  const detail = `${age}, one is due every ${everyHours} h into ${directory}`;
  if (ageMs <= 2 * everyHours * HOUR_MS && !problem) return [fine('backup', detail)];
  const why = problem ? `: ${problem.text}` : '';
  const folder = quote(directory);
  const fix = `countersign status; ls -ld ${folder}; df -h ${folder}; until it works: countersign backup FILE, into another folder`;
  return [warning('backup', `${detail}${why}`, fix)];
}
