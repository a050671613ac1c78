import { once } from 'node:events';
import { ProblemError, type RadiusPorts, type RadiusWatchLine } from '@countersign/api';
import { watchRadius, type Database, type RadiusWatching } from '@countersign/database';
import type { WatchNote } from './tell-watchers.ts';

const WATCHERS_MAX = 8;
/** Workers look twice a second whether anybody watches. */
const WORKERS_WAIT_MS = 2500;
const QUIET_MS = 10_000;

type Watcher = { hear(note: WatchNote): void };

/** Whoever watches the node's RADIUS ports at this worker: all of them hear over one pair of connections. */
export class RadiusWatchers implements AsyncDisposable {
  readonly #options: { db: Database; node: string; workers: number };
  readonly #watchers = new Set<Watcher>();
  readonly #closing = new AbortController();
  #shared: Promise<RadiusWatching> | null = null;

  constructor(options: { db: Database; node: string; workers: number }) {
    this.#options = options;
  }

  async watch({ signal, onLine }: Parameters<RadiusPorts['watch']>[0]): Promise<void> {
    if (this.#watchers.size >= WATCHERS_MAX) {
      const detail = `At most ${WATCHERS_MAX} watch at once here.`;
      throw new ProblemError(429, 'too_many_watchers', detail);
    }
    const lines = new WatcherLines(this.#options, onLine);
    this.#watchers.add(lines);
    try {
      const { lost } = await (this.#shared ??= this.#begin());
      const over = AbortSignal.any([signal, lost, this.#closing.signal]);
      if (!over.aborted) {
        lines.begin();
        await once(over, 'abort');
      }
    } catch (cause) {
      throw new ProblemError(503, 'not_ready', 'Nothing can be heard here now.', { cause });
    } finally {
      lines.end();
      this.#watchers.delete(lines);
      if (this.#watchers.size === 0) await this.#endShared();
    }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    await this.#endShared();
  }

  #begin(): Promise<RadiusWatching> {
    const shared = watchRadius(this.#options.db, (text) => this.#hear(text));
    const forget = () => {
      if (this.#shared === shared) this.#shared = null;
    };
    const endWhenLost = ({ lost, end }: RadiusWatching) => {
      // Who comes then begins another.
      const over = () => {
        forget();
        void end();
      };
      if (lost.aborted) over();
      else lost.addEventListener('abort', over, { once: true });
    };
    shared.then(endWhenLost, forget);
    return shared;
  }

  async #endShared(): Promise<void> {
    const shared = this.#shared;
    this.#shared = null;
    await shared?.then(({ end }) => end()).catch(() => undefined);
  }

  #hear(text: string): void {
    const note = JSON.parse(text) as WatchNote;
    for (const watcher of this.#watchers) watcher.hear(note);
  }
}

class WatcherLines implements Watcher {
  readonly #node: string;
  readonly #workers: number;
  readonly #onLine: (line: RadiusWatchLine) => void;
  readonly #heard = new Set<number>();
  #hasBegun = false;
  #waiting: NodeJS.Timeout | undefined;
  #quiet: NodeJS.Timeout | undefined;

  constructor(
    { node, workers }: { node: string; workers: number },
    onLine: (line: RadiusWatchLine) => void,
  ) {
    this.#node = node;
    this.#workers = workers;
    this.#onLine = onLine;
  }

  begin(): void {
    this.#waiting = setTimeout(() => this.#tellBegun(), WORKERS_WAIT_MS);
    this.#quiet = setInterval(() => this.#onLine({ kind: 'quiet' }), QUIET_MS);
  }

  hear({ worker, lost, lines }: WatchNote): void {
    this.#heard.add(worker);
    if (!this.#hasBegun && this.#heard.size >= this.#workers) this.#tellBegun();
    for (const line of lines) this.#onLine(line);
    if (lost > 0) this.#onLine({ kind: 'lost', count: lost });
    if (lines.length > 0) this.#quiet?.refresh();
  }

  end(): void {
    clearTimeout(this.#waiting);
    clearInterval(this.#quiet);
  }

  #tellBegun(): void {
    if (this.#hasBegun) return;
    this.#hasBegun = true;
    clearTimeout(this.#waiting);
    const all = Array.from({ length: this.#workers }, (_, worker) => worker);
    const silent = all.filter((worker) => !this.#heard.has(worker));
    this.#onLine({ kind: 'watching', node: this.#node, workers: this.#workers, silent });
  }
}
