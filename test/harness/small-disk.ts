import { execFileSync } from 'node:child_process';
import { closeSync, mkdirSync, openSync, rmSync, statfsSync, writeSync } from 'node:fs';
import { join } from 'node:path';

/** Only root can mount. */
export const canMount = process.getuid?.() === 0;

const CHUNK = Buffer.alloc(256 * 1024, 1);
const SLOW_BELOW = 16 * 1024 * 1024;
const SLOW_STEP = 1024 * 1024;
/** In one go: whoever measures in this process is held up so long. */
const FAST_STEP = 8 * 1024 * 1024;
const SLOW_EVERY_MS = 125;

/** A file system of its own in memory, mounted over a folder, that can be filled to the last byte. */
export class SmallDisk {
  readonly folder: string;
  readonly #filler: string;
  #filling: NodeJS.Timeout | undefined;

  private constructor(folder: string) {
    this.folder = folder;
    this.#filler = join(folder, 'filler');
  }

  static mount(folder: string, sizeMiB: number): SmallDisk {
    mkdirSync(folder, { recursive: true, mode: 0o711 });
    const options = `size=${sizeMiB}m,mode=0711`;
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'countersign-test', folder]);
    return new SmallDisk(folder);
  }

  get freeBytes(): number {
    const { bavail, bsize } = statfsSync(this.folder);
    return bavail * bsize;
  }

  /** Fills up, at 8 MiB/s towards the end, and stays full until {@link makeRoom}. */
  fill(): void {
    clearTimeout(this.#filling);
    const isFast = this.freeBytes > SLOW_BELOW;
    this.#take(isFast ? FAST_STEP : SLOW_STEP);
    this.#filling = setTimeout(() => this.fill(), isFast ? 0 : SLOW_EVERY_MS);
  }

  makeRoom(): void {
    clearTimeout(this.#filling);
    this.#filling = undefined;
    rmSync(this.#filler, { force: true });
  }

  unmount(): void {
    clearTimeout(this.#filling);
    execFileSync('umount', ['-l', this.folder]);
  }

  #take(bytes: number): void {
    const file = openSync(this.#filler, 'a');
    try {
      for (let left = bytes; left > 0; left -= CHUNK.length) writeSync(file, CHUNK);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    } finally {
      closeSync(file);
    }
  }
}
