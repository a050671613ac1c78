const BAR_WIDTH = 30;
const REDRAW_MS = 200;
const LINE_EVERY_MS = 5000;

/** How far an import is, on stderr: a bar on a terminal, a line now and then elsewhere. */
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
    const now = performance.now();
    if (now - this.#shownAt < (this.#stream.isTTY ? REDRAW_MS : LINE_EVERY_MS)) return;
    this.#shownAt = now;
    const perSecond = Math.round((doneUsers * 1000) / Math.max(1, now - this.#startedAt));
    const text = `${doneUsers} users, ${perSecond}/s`;
    if (!this.#stream.isTTY) this.#stream.write(`${text}\n`);
    else this.#stream.write(`\r\u001b[K${this.#bar(readBytes)}${text}`);
  }

  /** Takes the bar away, so that a line can be printed. */
  clear(): void {
    if (this.#stream.isTTY) this.#stream.write('\r\u001b[K');
  }

  #bar(readBytes: number): string {
    if (!this.#sizeBytes) return '';
    const part = Math.min(1, readBytes / this.#sizeBytes);
    const filled = Math.round(part * BAR_WIDTH);
    return `[${'#'.repeat(filled)}${'.'.repeat(BAR_WIDTH - filled)}] ${Math.floor(part * 100)} %  `;
  }
}
