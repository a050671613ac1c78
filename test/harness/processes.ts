import { readdirSync, readFileSync, readlinkSync } from 'node:fs';

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

/** Processes that work in that folder or below, e.g. PostgreSQL's own children. */
export function processesIn(folder: string): number[] {
  const pids = readdirSync('/proc').map(Number).filter(Number.isInteger);
  return pids.filter((pid) => {
    try {
      const cwd = readlinkSync(`/proc/${pid}/cwd`);
      return cwd === folder || cwd.startsWith(`${folder}/`);
    } catch {
      // Gone meanwhile, or another user's.
      return false;
    }
  });
}
