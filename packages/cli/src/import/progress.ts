const BAR_WIDTH = 30;
const REDRAW_MS = 200;
const LINE_EVERY_MS = 5000;

/** How far something is, on stderr: a bar on a terminal, a line now and then elsewhere. */
export class Progress {
  readonly #stream: NodeJS.WriteStream;
  readonly #sizeBytes: number | null;
  readonly #startedAt = performance.now();
  #shownAt = 0;

  /** `sizeBytes` of the file; null where it is not known. */
  constructor(stream: NodeJS.WriteStream, sizeBytes: number | null) {
    this.#stream = stream;
    this.#sizeBytes = sizeBytes;
    if (!stream.isTTY) this.#shownAt = performance.now();
  }

  show(readBytes: number, doneUsers: number): void {
    const elapsedMs = Math.max(1, performance.now() - this.#startedAt);
    const perSecond = Math.round((doneUsers * 1000) / elapsedMs);
    const part = this.#sizeBytes ? readBytes / this.#sizeBytes : null;
    this.draw(part, `${doneUsers} users, ${perSecond}/s`);
  }

  /** A bar for the part that is done, null where that is not known, and a text; not more often than is readable. */
  draw(part: number | null, text: string): void {
    const now = performance.now();
    if (now - this.#shownAt < (this.#stream.isTTY ? REDRAW_MS : LINE_EVERY_MS)) return;
    this.#shownAt = now;
    if (!this.#stream.isTTY) this.#stream.write(`${text}\n`);
    else this.#stream.write(`\r\u001b[K${barOf(part)}${text}`);
  }

  /** Takes the bar away, so that a line can be printed. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K');
  }
}

function barOf(part: number | null): string {
  if (part === null) return '';
  const done = Math.min(1, part);
  const filled = Math.round(done * BAR_WIDTH);
  return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${Math.floor(done * 100)} %  `;
}
