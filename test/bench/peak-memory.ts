import { readFileSync } from 'node:fs';

/** The most resident memory of a process, as the kernel counts it, looked at until it ends. */
export class PeakMemory {
  readonly #pid: number;
  readonly #timer: NodeJS.Timeout;
  #kilobytes = 0;

  constructor(pid: number) {
    this.#pid = pid;
    this.#timer = setInterval(() => this.#look(), 50);
  }

  /** In MB. */
  stop(): number {
    this.#look();
    clearInterval(this.#timer);
    return this.#kilobytes / 1024;
  }

  #look(): void {
    try {
      const status = readFileSync(`/proc/${this.#pid}/status`, 'utf8');
      const rss = Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0);
      this.#kilobytes = Math.max(this.#kilobytes, rss);
    } catch {
      // It has ended.
    }
  }
}
