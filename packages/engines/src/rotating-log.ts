import { closeSync, fstatSync, openSync, renameSync, writeSync } from 'node:fs';

export interface LogRotation {
  /** A file that has reached this is set aside at the end of its line. */
  maxBytes: number;
  /** Files in all: the one that is written and `.1`, `.2` …, the newest first. */
  files: number;
}

/** 250 MB per log at most. */
export const logRotation: LogRotation = { maxBytes: 50_000_000, files: 5 };

const newline = 0x0a;
// What never ends its line is cut all the same.
const longestLineBytes = 1_000_000;

/**
 * Appends to a log file that is set aside before it grows too large; no line is lost or split by
 * that. It never throws once it is open: what a full disk refuses is counted, and told in the log
 * as soon as there is room.
 * Throws when the file cannot be opened for another reason than a full disk.
 */
export class RotatingLog {
  readonly #path: string;
  readonly #rotation: LogRotation;
  #fd: number | null = null;
  #sizeBytes = 0;
  #endsLine = true;
  #lostBytes = 0;

  constructor(path: string, rotation: LogRotation = logRotation) {
    this.#path = path;
    this.#rotation = rotation;
    try {
      this.#open();
    } catch (error) {
      if (!isFull(error)) throw error;
    }
  }

  write(chunk: string | Uint8Array): void {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    const lineEnd = this.#isDue() && !this.#endsLine ? bytes.indexOf(newline) + 1 : 0;
    if (lineEnd > 0) this.#append(bytes.subarray(0, lineEnd));
    if (this.#isDue() && (this.#endsLine || this.#isOverdue())) this.#rotate();
    this.#append(bytes.subarray(lineEnd));
  }

  close(): void {
    if (this.#fd !== null) closeSync(this.#fd);
    this.#fd = null;
  }

  #isDue(): boolean {
    return this.#sizeBytes >= this.#rotation.maxBytes;
  }

  #isOverdue(): boolean {
    return this.#sizeBytes >= this.#rotation.maxBytes + longestLineBytes;
  }

  #open(): number {
    this.#fd = openSync(this.#path, 'a', 0o640);
    this.#sizeBytes = fstatSync(this.#fd).size;
    return this.#fd;
  }

  #append(bytes: Uint8Array): void {
    if (bytes.length === 0) return;
    let written = 0;
    try {
      const fd = this.#fd ?? this.#open();
      if (this.#lostBytes > 0) this.#tellLost(fd);
      while (written < bytes.length) written += writeSync(fd, bytes, written);
    } catch {
      this.#lostBytes += bytes.length - written;
    }
    this.#sizeBytes += written;
    if (written > 0) this.#endsLine = bytes[written - 1] === newline;
  }

  #tellLost(fd: number): void {
    const start = this.#endsLine ? '' : '\n';
    const line = `${start}[${this.#lostBytes} bytes of this log could not be written]\n`;
    this.#sizeBytes += writeSync(fd, line);
    this.#lostBytes = 0;
  }

  #rotate(): void {
    try {
      for (let age = this.#rotation.files - 1; age >= 1; age -= 1) {
        renameIfThere(age === 1 ? this.#path : `${this.#path}.${age - 1}`, `${this.#path}.${age}`);
      }
    } catch {
      // Goes on in the same file, which is better than in none.
      return;
    }
    this.close();
    this.#sizeBytes = 0;
    this.#endsLine = true;
  }
}

function renameIfThere(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
  }
}

function isFull(error: unknown): boolean {
  const { code } = error as NodeJS.ErrnoException;
  return code === 'ENOSPC' || code === 'EDQUOT';
}
