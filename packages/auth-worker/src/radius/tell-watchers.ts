import type { RadiusSeen } from '@countersign/api';
import {
  isRadiusWatched,
  NOTE_MAX_BYTES,
  tellRadiusWatchers,
  type Database,
} from '@countersign/database';
import type { DatabaseGate } from '../database-gate.ts';

/** Lines that wait to be told; what is beyond is counted. */
const LINES_MAX = 1000;
/** Of what never became a request: anybody can send that, and leaves room for the others. */
const REFUSED_MAX = 100;
const TELL_EVERY_MS = 100;
const NOTE_HEAD_BYTES = 100;
const LINE_MAX_BYTES = NOTE_MAX_BYTES - NOTE_HEAD_BYTES;

/** What one worker tells at once; without lines it says that it is there. */
export type WatchNote = { worker: number; number: number; lost: number; lines: RadiusSeen[] };

/** Tells whoever watches, on whichever worker of this node, what this worker sees. Nothing while nobody does. */
export class WatchTeller implements AsyncDisposable {
  readonly #options: { db: Database; gate: DatabaseGate; worker: number };
  #isWatched = false;
  #lines: string[] = [];
  /** Of these lines. */
  #refused = 0;
  #lost = 0;
  #notes = 0;
  #telling: Promise<void> = Promise.resolve();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: { db: Database; gate: DatabaseGate; worker: number }) {
    this.#options = options;
  }

  get isWatched(): boolean {
    return this.#isWatched;
  }

  /** Looks whether anybody watches, and tells them that this worker is there. Never rejects. */
  async look(): Promise<void> {
    const { db, gate } = this.#options;
    this.#isWatched = await gate.pass(() => isRadiusWatched(db)).catch(() => false);
    if (this.#isWatched) await this.#tell();
    else this.#forget();
  }

  add(seen: RadiusSeen): void {
    if (!this.#isWatched) return;
    const isRefused = seen.tookMs === null;
    if (this.#lines.length >= LINES_MAX || (isRefused && this.#refused >= REFUSED_MAX)) {
      this.#lost += 1;
      return;
    }
    if (isRefused) this.#refused += 1;
    this.#lines.push(fit(seen));
    this.#timer ??= setTimeout(() => {
      this.#timer = null;
      void this.#tell();
    }, TELL_EVERY_MS).unref();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#isWatched = false;
    this.#forget();
    await this.#telling;
  }

  /** One after the other: what a slow database does not take waits in the lines. */
  #tell(): Promise<void> {
    this.#telling = this.#telling.then(() => this.#tellNow());
    return this.#telling;
  }

  async #tellNow(): Promise<void> {
    const { db, gate } = this.#options;
    const lines = this.#lines.splice(0);
    this.#refused = 0;
    const lost = this.#lost;
    this.#lost = 0;
    try {
      const notes = this.#pack(lines, lost);
      await gate.pass(() => tellRadiusWatchers(db, notes));
    } catch {
      this.#lost += lost + lines.length;
    }
  }

  #pack(lines: readonly string[], lost: number): string[] {
    const packs: string[][] = [[]];
    let size = 0;
    for (const line of lines) {
      const bytes = Buffer.byteLength(line) + 1;
      if (size + bytes > LINE_MAX_BYTES) {
        packs.push([]);
        size = 0;
      }
      packs.at(-1)!.push(line);
      size += bytes;
    }
    const { worker } = this.#options;
    return packs.map((pack, index) => {
      this.#notes += 1;
      const head = { worker, number: this.#notes, lost: index === 0 ? lost : 0 };
      return `${JSON.stringify(head).slice(0, -1)},"lines":[${pack.join(',')}]}`;
    });
  }

  #forget(): void {
    if (this.#timer) clearTimeout(this.#timer);
    this.#timer = null;
    this.#lines = [];
    this.#refused = 0;
    this.#lost = 0;
  }
}

function fit(seen: RadiusSeen): string {
  const json = JSON.stringify(seen);
  if (Buffer.byteLength(json) < LINE_MAX_BYTES) return json;
  return JSON.stringify({ ...seen, attributes: null });
}
