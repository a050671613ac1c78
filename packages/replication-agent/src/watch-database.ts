import { pingDatabase, type Database } from '@countersign/database';

const EVERY_MS = 500;
const PING_TIMEOUT_MS = 1000;
/** A master whose PostgreSQL is silent for this long resigns. */
export const DATABASE_SILENT_MS = 3000;

/** Knows for how long this node's PostgreSQL has not answered. */
export class DatabaseWatch {
  #lastOkAt = performance.now();

  get silentForMs(): number {
    return performance.now() - this.#lastOkAt;
  }

  get isSilent(): boolean {
    return this.silentForMs > DATABASE_SILENT_MS;
  }

  async run(db: Database, signal: AbortSignal, onSilent: () => void): Promise<void> {
    while (!signal.aborted) {
      const startedAt = performance.now();
      if (await pingDatabase(db, PING_TIMEOUT_MS)) this.#lastOkAt = performance.now();
      else if (this.isSilent) onSilent();
      const rest = EVERY_MS - (performance.now() - startedAt);
      await new Promise((resolve) => setTimeout(resolve, Math.max(50, rest)));
    }
  }
}
