import { readFileSync } from 'node:fs';

/** Running and not a zombie. */
export function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** Signals those that still run; never a process that is already gone. */
export function signal(pids: (number | null | undefined)[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    if (!pid) continue;
    try {
      process.kill(pid, name);
    } catch {
      // Gone meanwhile.
    }
  }
}
