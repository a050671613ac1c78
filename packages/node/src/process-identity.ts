import { readFileSync } from 'node:fs';

/**
 * What tells a process from every other of this machine, also from a later one with its number:
 * boot, number and start time. Undefined when no such process runs (a zombie does not).
 */
export function processIdentity(pid: number): string | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
    // proc(5): the second field is the name in brackets, which may hold brackets and blanks.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state] = fields;
    const startTicks = fields[19];
    if (state === 'Z' || state === 'X' || !startTicks) return undefined;
    return `${bootId()}.${pid}.${startTicks}`;
  } catch {
    return undefined;
  }
}

function bootId(): string {
  return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').slice(0, 8);
}
